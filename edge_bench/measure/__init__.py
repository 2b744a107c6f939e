"""What happens on a device: opening a model file, running it, and saying what the number is worth."""
