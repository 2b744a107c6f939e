"""Keeping converters quiet: their logs, progress lines and warnings would drown what the user asked for."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Let no library write to stdout or stderr inside the block; our own progress bar still may.

    Logs are disabled, warnings ignored, and stdout is dropped. What C++ writes past Python goes to
    file descriptor 2, which leads nowhere meanwhile; `sys.stderr` keeps its way to the terminal.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _native_silenced():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _native_silenced() -> Iterator[None]:
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    python_side = sys.stderr
    sys.stderr.flush()
    with os.fdopen(terminal, "w", encoding="utf-8", closefd=False, buffering=1) as stderr:
        if _is_descriptor_2(python_side):
            sys.stderr = stderr
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            sys.stderr = python_side
            os.close(nowhere)
    os.close(terminal)


def _is_descriptor_2(stream: object) -> bool:
    try:
        return getattr(stream, "fileno", lambda: -1)() == 2
    except (OSError, ValueError):
        return False
