"""Devices: facts with their source, one TOML file each."""
