"""Train once, cut many models, put them on a device, measure them honestly, pick one, and see why."""

__version__ = "0.1.0"

__all__ = ["__version__"]
