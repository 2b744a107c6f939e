"""Devices: facts with their source, one TOML file each, and the predictors that come with them."""

from device_profiles.fitted import predicted_devices, predictor_documents
from device_profiles.profile import (
    DeviceProfile,
    Fact,
    LatencySource,
    ProfileError,
    Published,
    UnknownDevice,
    load,
    names,
)

__all__ = [
    "DeviceProfile",
    "Fact",
    "LatencySource",
    "ProfileError",
    "Published",
    "UnknownDevice",
    "load",
    "names",
    "predicted_devices",
    "predictor_documents",
]
