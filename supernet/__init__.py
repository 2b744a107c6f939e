"""Training one network that contains many, and cutting them out."""
