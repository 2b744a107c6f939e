"""Examples of text, as kinds of data give them: one class for each sort of task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class LabelledTexts:
    """Texts of one split and their classes: `labels` int64 [n], numbers of `class_names`.

    `skipped` counts the rows that `skip_empty` left out of the file that was read.
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    skipped: int = 0


@dataclass(frozen=True, kw_only=True)
class RunningText:
    """One long text, of which a language model predicts each token from those before it."""

    text: str


@dataclass(frozen=True, kw_only=True)
class SentencePairs:
    """Sentences and their translations, of one split and in the order of the files.

    `skipped` counts the pairs that `skip_empty` left out of the files that were read.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    skipped: int = 0
