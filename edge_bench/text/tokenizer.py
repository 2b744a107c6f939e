"""Text to numbers of tokens and back, by a tokenizer of the `tokenizers` library in one JSON file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers

from edge_bench.errors import DataError
from edge_bench.files import write_text

# Of every tokenizer that is trained here, in this order: the numbers 0 to 3.
PAD, BEGIN, END, UNKNOWN = 0, 1, 2, 3
SPECIAL_TOKENS = ("<pad>", "<begin>", "<end>", "<unknown>")
# What tokenizers made elsewhere call padding, the begin of a text and its end.
AROUND = (
    SPECIAL_TOKENS[:3],
    ("[PAD]", "[CLS]", "[SEP]"),
    ("<pad>", "<s>", "</s>"),
    ("<pad>", "<bos>", "<eos>"),
)

# The library's threads would make it complain of every fork that follows; one thread is quick enough.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Tokenizer:
    """Turns texts into numbers of tokens and back. `vocabularies/` trains one; `load` reads any.

    What a text says is never taken for a special token: "<end>" in it is five characters. Neither is a
    special token added, nor a text padded or cut off, whatever the tokenizer's file says: the caller
    does that, as a network's `TextInput` tells.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        inner.encode_special_tokens = True
        inner.no_padding()
        inner.no_truncation()
        self._inner = inner

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read a tokenizer's JSON file.

        Raises:
            DataError: no such file, or one that is no tokenizer.
        """
        try:
            document = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DataError(
                f"there is no tokenizer file '{path}'",
                hint="name a tokenizer.json of the `tokenizers` library",
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"tokenizer file '{path}' cannot be read: {error}") from error
        return cls.of_json(document, where=str(path))

    @classmethod
    def of_json(cls, document: str, *, where: str) -> Tokenizer:
        """Read what `to_json` gave; `where` is for the message of the `DataError` that it may raise."""
        try:
            _check_merges(json.loads(document))
            tokenizer = cls(tokenizers.Tokenizer.from_str(document))
            # An Old Persian letter, to see that the token of what is unknown is there.
            tokenizer.encode("\U000103a0")
            return tokenizer
        # The library raises plain exceptions.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"'{where}' is no tokenizer of the `tokenizers` library: {reason}",
                hint="name a tokenizer.json of the `tokenizers` library",
            ) from error

    def save(self, path: Path) -> None:
        """Write the JSON file, whole or not at all; equal tokenizers give equal bytes."""
        write_text(path, self.to_json())

    def to_json(self) -> str:
        """Return the JSON document that `load` reads."""
        return self._inner.to_str(pretty=False)

    @property
    def digest(self) -> str:
        """The SHA-256 of the file that `save` writes, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def size(self) -> int:
        """How many tokens there are; the largest number is one less."""
        return max(self._inner.get_vocab(with_added_tokens=True).values()) + 1

    def number(self, token: str) -> int | None:
        """Return the number of a token by its name, or None."""
        return self._inner.token_to_id(token)

    def around(self) -> tuple[int, int, int]:
        """Return the numbers of padding, of the begin of a text and of its end.

        Raises:
            DataError: the tokenizer has none of the names that `AROUND` lists.
        """
        for names in AROUND:
            pad, begin, end = map(self.number, names)
            if pad is not None and begin is not None and end is not None:
                return pad, begin, end
        known = "; or ".join(", ".join(names) for names in AROUND)
        raise DataError(
            "the tokenizer has no tokens for padding, begin and end of a text",
            hint=f"it must have {known}",
        )

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens, without any around them."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return what `encode` returns of each text, in one go."""
        encoded = self._inner.encode_batch(list(texts), add_special_tokens=False)
        return [list(one.ids) for one in encoded]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; special ones among them say nothing."""
        return self._inner.decode([int(token) for token in tokens], skip_special_tokens=True)


def _check_merges(document: Any) -> None:
    """Refuse merges without the prefix they should have: the library cuts it off unseen, and may crash."""
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict):
        raise ValueError("it holds no model")
    prefix = model.get("continuing_subword_prefix")
    if model.get("type", "BPE") != "BPE" or not prefix:
        return
    for merge in model["merges"]:
        if not (merge.split(" ") if isinstance(merge, str) else merge)[1].startswith(prefix):
            raise ValueError(f"merge {merge} lacks the prefix '{prefix}'")
