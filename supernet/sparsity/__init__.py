"""Unstructured sparsity: which weights stand (`masks`), and networks that train under masks (`masked`)."""
