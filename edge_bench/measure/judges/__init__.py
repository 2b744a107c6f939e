"""How good a text model's files are at their task, measured by running them: one file a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from edge_bench import variants
from edge_bench.data import TextSource
from edge_bench.records.subnet import Metric, Split, Step, TextInput

# The folder whose files are the judges, each called as its task.
JUDGES = __name__


@dataclass(frozen=True, kw_only=True)
class Files:
    """What belongs to a text model: the network's file, that of its step, its tokenizer and its classes.

    `step_record` is the step's record, where there is a step; `runtime` runs both files.
    """

    network: Path
    runtime: str
    tokenizer: Path
    step: Path | None = None
    step_record: Step | None = None
    class_names: tuple[str, ...] = ()


class Judge(ABC):
    """Measures the quality of a text model's files; a variant's fields are its options."""

    @abstractmethod
    def judge(self, files: Files, *, text: TextInput, data: TextSource, split: Split) -> Metric:
        """Return the quality on one split, by running the files in the sandbox.

        Args:
            files: the model.
            text: how texts become its inputs.
            data: the examples.
            split: which of them.

        Raises:
            ConfigError: the data is of another task, or a file that is needed is not given.
            DataError: the data or the tokenizer cannot be read, the tokenizer is not the model's, the
                classes are others, or a text is too long and not to be cut.
            InvalidModel, ModelCrashed: a file is no model of the task, or the runtime died of it.
        """


def judge_of(task: str) -> type[Judge]:
    """Return the judge of a task; `UnknownVariant` where there is none."""
    return variants.load(Judge, JUDGES, task)
