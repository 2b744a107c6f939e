"""The accuracy of a file that is benchmarked: on which data, seen how, and what was assumed for it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.commands import Context
from edge_bench.commands._seeing import OPTIONS, labels_of, seeing_of
from edge_bench.commands.train import data_table
from edge_bench.data import data_name
from edge_bench.errors import ConfigError
from edge_bench.measure.adoption import Seeing, as_found, judge
from edge_bench.measure.inspection import check_exists, runtime_for
from edge_bench.records import Artifact, Metric

# Metrics, and sentences on how they were measured.
Quality = tuple[tuple[Metric, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The labelled data to measure accuracy on, and how images become inputs and outputs classes."""

    data: Mapping[str, Any]
    seeing: Seeing
    labels: Sequence[str]

    def judged(
        self, file: Path, artifact: Artifact | None, runtime: str | None, context: Context
    ) -> Quality:
        """Return the accuracy on the test split by running the file, and a sentence on how.

        Raises:
            EdgeBenchError: as `adoption.judge`.
        """
        check_exists(file)
        runtime = runtime or runtime_for(file)
        judged = judge(
            artifact or as_found(file, runtime=runtime),
            home=context.home,
            data=self.data,
            seeing=self.seeing,
            labels=self.labels,
            splits=("test",),
            runtime=runtime,
        )
        return judged.metrics, (self._told(judged, stored=bool(artifact and artifact.preprocessing)),)

    def _told(self, judged: Artifact, *, stored: bool) -> str:
        [metric], used = judged.metrics, judged.preprocessing
        assert used is not None
        given = self.seeing.mean is not None and self.seeing.std is not None
        whence = (
            "as given" if given else "as stored" if stored else "assumed: --mean and --std say otherwise"
        )
        return (
            f"accuracy {metric.value:.2%} of {metric.examples} test examples of {data_name(self.data)}: "
            f"{used.size} px, mean {_short(used.mean)}, std {_short(used.std)} ({whence})"
        )


def judging_of(options: argparse.Namespace) -> Judging | None:
    """Return what `--accuracy` asks for, or None where it is not given.

    Raises:
        ConfigError: no such data, or options that say how to measure what is not asked for.
    """
    seeing, labels = seeing_of(options), labels_of(options)
    if options.accuracy:
        return Judging(data=data_table(options.accuracy), seeing=seeing, labels=labels)
    if labels or seeing != Seeing():
        raise ConfigError(f"{OPTIONS} say how to measure accuracy: name the data, --accuracy")
    return None


def _short(values: Sequence[float]) -> str:
    return ",".join(f"{value:.4g}" for value in dict.fromkeys(values))
