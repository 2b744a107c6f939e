"""Devices of one's own: a job goes out by a transport, one result comes back."""
