"""From a stored network to a model file: formats, int8, and the check that both answer alike."""

# Here, since commands must know them before they load torch.
FORMATS = "converters.formats"
SOURCES = "converters.sources"
ENCODINGS = "converters.encodings"
PRECISIONS = ("fp32", "int8")
