"""What converters and their C++ parts say is kept from the user; what we say is not."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from converters.chatter import silenced


def test_no_library_is_heard_and_afterwards_everyone_is(capfd: pytest.CaptureFixture[str]) -> None:
    def chatter() -> None:
        print("chatter: print")  # noqa: T201
        os.write(2, b"chatter: C++\n")
        logging.getLogger("a.library").error("chatter: log")

    with silenced():
        chatter()
        warnings.warn("chatter: warning", stacklevel=1)
    assert capfd.readouterr() == ("", "")
    chatter()
    told = capfd.readouterr()
    assert "print" in told.out and "C++" in told.err
    with pytest.warns(UserWarning, match="heard again"):
        warnings.warn("heard again", stacklevel=1)


def test_progress_on_stderr_is_still_seen(capfd: pytest.CaptureFixture[str]) -> None:
    with silenced():
        print("progress", file=sys.stderr)  # noqa: T201
    assert capfd.readouterr().err == "progress\n"


def test_an_error_inside_leaves_nothing_silenced(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), silenced():
        raise RuntimeError
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
    assert logging.root.manager.disable < logging.CRITICAL
