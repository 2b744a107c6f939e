"""What the sandbox's child gives up before anything heavy is imported. Standard library only."""

from __future__ import annotations

import ctypes
import sys

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def leave_network() -> bool:
    """Move this process where there is no network interface; return whether the system let it.

    Linux lets root do so, and others where unprivileged user namespaces are on, as long as the process
    has one thread: so this comes before numpy, whose libraries start some. Costs about a millisecond.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (OSError, AttributeError):
        return False
    return any(unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK))
