"""Devices: facts with their source, one TOML file each."""

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
]
