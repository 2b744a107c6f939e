"""Tokens that let somebody in: how one is made, read from a file, kept and compared."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
from pathlib import Path

from edge_bench.errors import ConfigError


def new_token() -> str:
    """Return a new token: 256 random bits as a text that goes into a header."""
    return secrets.token_urlsafe(32)


def sha256_of_token(token: str) -> str:
    """Return what is kept of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_token(token: str, sha256: str) -> bool:
    """Say whether a token is the one that `sha256` is kept of.

    Compared in constant time, and of hashes: how long it takes tells nothing.
    """
    return hmac.compare_digest(sha256_of_token(token), sha256)


def read_token(path: Path, *, hint: str) -> str:
    """Return the one line that a file holds.

    Args:
        path: the file; `~` is the user's home.
        hint: what to do where there is none.

    Raises:
        ConfigError: it cannot be read, or holds something else than one word that goes into a header.
    """
    try:
        token = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        raise ConfigError(f"the token in '{path}' cannot be read: {error}", hint=hint) from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"'{path}' holds no token: one line of letters and digits is expected", hint=hint)
    return token


def others_can_read(path: Path) -> bool:
    """Say whether users other than its owner can read a file."""
    return bool(path.expanduser().stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
