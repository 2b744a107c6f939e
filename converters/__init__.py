"""From a stored network to a model file: formats, int8, and the check that both answer alike."""
