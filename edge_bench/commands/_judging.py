"""The quality of a file that is benchmarked: on which data, seen how, and what was assumed for it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.commands import Context
from edge_bench.commands._seeing import OPTIONS, labels_of, seeing_of
from edge_bench.commands.train import FOLDER, data_table
from edge_bench.data import data_name
from edge_bench.errors import ConfigError
from edge_bench.measure.adoption import Seeing, as_found, judge
from edge_bench.measure.inspection import check_exists, runtime_for
from edge_bench.measure.judges import judged as judged_text
from edge_bench.measure.playing import played
from edge_bench.records import Artifact, Metric, quality
from edge_bench.store import ResultStore

# Metrics, and sentences on how they were measured.
Quality = tuple[tuple[Metric, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The data to measure quality on, and how images become inputs and outputs classes."""

    data: Mapping[str, Any]
    seeing: Seeing
    labels: Sequence[str]

    def judged(
        self, file: Path, artifact: Artifact | None, runtime: str | None, context: Context
    ) -> Quality:
        """Return the quality on the test split by running the file, and a sentence on how.

        Of a text model that is both files' together, told with the network.

        Raises:
            EdgeBenchError: as `adoption.judge`, or as `judges.judged` of a text model.
        """
        check_exists(file)
        runtime = runtime or runtime_for(file)
        if artifact and artifact.text:
            return self._judged_text(artifact, runtime, context)
        if artifact and artifact.observation:
            return self._played(artifact, runtime, context)
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

    def _judged_text(self, artifact: Artifact, runtime: str, context: Context) -> Quality:
        if artifact.step_of is not None:
            return (), (f"its quality is that of '{artifact.step_of}', which it belongs to",)
        if self.labels or self.seeing != Seeing():
            raise ConfigError(f"{OPTIONS} are for images; '{artifact.name}' takes texts")
        with context.store() as store:
            data = own_table(self.data, artifact, store)
            metrics = judged_text(
                artifact,
                store.artifacts(),
                home=context.home,
                data=data,
                splits=("test",),
                runtime=runtime,
            )
        [metric], text = metrics, artifact.text
        assert text is not None
        of = "tokens" if metric.name == quality.PERPLEXITY else "examples"
        longer = ", longer ones cut" if text.truncate else ""
        return metrics, (
            f"{quality.told(metric)}, of {metric.examples} test {of} of {data_name(data)}: "
            f"texts of up to {text.length} tokens{longer}",
        )

    def _played(self, artifact: Artifact, runtime: str, context: Context) -> Quality:
        if self.labels or self.seeing != Seeing():
            raise ConfigError(f"{OPTIONS} are for images; '{artifact.name}' takes observations")
        with context.store() as store:
            data = own_table(self.data, artifact, store)
        metric = played(context.home.absolute(artifact.file), data, "test", runtime=runtime)
        seen = artifact.observation
        assert seen is not None
        return (metric,), (
            f"{quality.told(metric)}, the mean of {metric.examples} test episodes of {seen.environment}",
        )

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


def own_table(given: Mapping[str, Any], artifact: Artifact, store: ResultStore) -> dict[str, Any]:
    """Return the `[data]` table of a text model or policy: what is given, with its own data's options.

    A folder that does not show its kind is of the kind that the model learned from.
    """
    subnet = next((one for one in store.subnets() if one.id == artifact.subnet), None)
    own = artifact.data or (subnet.data if subnet else {})
    if own and given["kind"] in (own["kind"], FOLDER):
        return {**own, **given, "kind": own["kind"]}
    return dict(given)


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
