"""How good a text model's files are at their task, measured by running them: one file a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench import variants
from edge_bench.data import TextSource, open_texts
from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.measure.inspection import runtime_for
from edge_bench.records.artifact import Artifact
from edge_bench.records.subnet import AnyStep, Metric, Split, TextInput

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
    step_record: AnyStep | None = None
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


def files_of(
    artifact: Artifact, artifacts: Sequence[Artifact], *, home: Home, runtime: str | None = None
) -> Files:
    """Return the files of a stored text model, that of its step found among all stored artifacts.

    Raises:
        ConfigError: the record does not say how texts become inputs, or is that of a step alone.
    """
    text = artifact.text
    if text is None:
        raise ConfigError(
            f"nothing is known of how texts become the inputs of '{artifact.name}'",
            hint="its quality can be measured where edge-bench exported it, with its tokenizer",
        )
    if artifact.step_of is not None:
        raise ConfigError(
            f"'{artifact.name}' only generates a token; its quality is that of the whole model",
            hint=f"name the network: {artifact.step_of}",
        )
    network = home.absolute(artifact.file)
    step = next((one for one in artifacts if one.step_of == artifact.id), None)
    return Files(
        network=network,
        runtime=runtime or runtime_for(network),
        tokenizer=home.absolute(text.tokenizer),
        step=home.absolute(step.file) if step else None,
        step_record=artifact.step,
        class_names=artifact.class_names,
    )


def judged(
    artifact: Artifact,
    artifacts: Sequence[Artifact],
    *,
    home: Home,
    data: Mapping[str, Any],
    splits: Sequence[Split],
    runtime: str | None = None,
) -> tuple[Metric, ...]:
    """Return the quality of a stored text model on splits of the data that a `[data]` table describes.

    Raises:
        EdgeBenchError: as `files_of`, `edge_bench.data.open_texts` and `Judge.judge`.
    """
    files = files_of(artifact, artifacts, home=home, runtime=runtime)
    assert artifact.text is not None
    judge, source = judge_of(artifact.task)(), open_texts(data)
    return tuple(judge.judge(files, text=artifact.text, data=source, split=split) for split in splits)
