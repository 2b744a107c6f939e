"""What judges of text models share."""

from __future__ import annotations

from edge_bench.data import TextSource
from edge_bench.errors import ConfigError, DataError
from edge_bench.files import sha256_of
from edge_bench.measure.judges import Files
from edge_bench.records.subnet import TextInput
from edge_bench.text.tokenizer import Tokenizer


def tokenizer_of(files: Files, text: TextInput) -> Tokenizer:
    """Return the model's tokenizer.

    Raises:
        DataError: its file is not there, is no tokenizer, or is not the one that the model was made with.
    """
    tokenizer = Tokenizer.load(files.tokenizer)
    if text.digest and sha256_of(files.tokenizer) != text.digest:
        raise DataError(
            f"'{files.tokenizer}' is not the tokenizer that the model was made with",
            hint="its tokens would mean something else: export the model again",
        )
    return tokenizer


def mismatch(data: TextSource, task: str) -> ConfigError:
    """Return the error for data of which a task can make nothing."""
    return ConfigError(f"the data is for {data.task}; {task} cannot be judged on it")
