"""Training that is stopped behind a checkpoint, as Ctrl-C does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from supernet import checkpoint


def stopped(train: Callable[[], object], *, saves: int = 1) -> None:
    """Call what trains, and stop it behind the last of so many checkpoints; fail where it writes fewer."""
    save, saved = checkpoint.save, 0

    def save_or_stop(*arguments: Any) -> None:
        nonlocal saved
        save(*arguments)
        saved += 1
        if saved == saves:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "save", save_or_stop)
        with pytest.raises(KeyboardInterrupt):
            train()
