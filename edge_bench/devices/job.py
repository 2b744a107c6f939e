"""What travels between a controller and a device: the job, and the report that answers it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from edge_bench import variants
from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, EdgeBenchError, error_of
from edge_bench.files import sha256_of
from edge_bench.measure.modes import Mode
from edge_bench.measure.onnx_file import survey_file
from edge_bench.measure.scenarios import Scenario
from edge_bench.records import Artifact, BenchmarkResult, Metric, Survey

VERSION = 1
# The first version that knows surveys: an older device is told to upgrade.
SURVEY_VERSION = 2
KNOWN_VERSION = SURVEY_VERSION
Measured = BenchmarkResult | Survey
MODES = "edge_bench.measure.modes"
SCENARIOS = "edge_bench.measure.scenarios"
V = TypeVar("V", Mode, Scenario)
# Under these names the file lies in a cache, on a machine that somebody else filled in.
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[^/\\\0]{1,200}\.[A-Za-z0-9_]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A mode or scenario as it travels: its name and its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(variant: Mode | Scenario) -> Choice:
        """Return what travels of a mode or scenario."""
        given = {one.name: getattr(variant, one.name) for one in fields(variant) if one.init}
        return Choice(name=variant.name, options=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to measure: what `measure.benchmark.benchmark` takes, by the same names and defaults."""

    runtime: str | None = None
    threads: int = 1
    batch: int | None = None
    length: int | None = None
    mode: Choice | None = None
    scenario: Choice | None = None
    precision_target: float = 0.02
    min_runs: int | None = None
    max_seconds: float | None = None
    profiled: bool = False
    metrics: tuple[Metric, ...] = ()
    notes: tuple[str, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """Return them as keyword arguments of `benchmark`.

        Raises:
            ConfigError: a mode or scenario that this edge-bench does not have, or not with these options.
        """
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            **given,
            "mode": _variant(Mode, MODES, self.mode),
            "scenario": _variant(Scenario, SCENARIOS, self.scenario),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyOptions:
    """How to visit the files of a bundle: what `measure.sandbox.survey` takes, by the same names.

    `space` goes into the answer: which search space the files are of.
    """

    space: str
    runtime: str
    threads: int
    rounds: int
    round_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One file to measure once on one device, in one way; or with `SurveyOptions` a bundle of many.

    The file travels beside it and is known by `digest`, its SHA-256; a model of several files cannot
    travel. `artifact` is the stored artifact that the file is, if it is one.

    Raises:
        ConfigError: a digest or a name under which no file may be kept.
    """

    id: str
    model: str
    digest: str
    size_bytes: int
    options: Options | SurveyOptions
    artifact: Artifact | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        if not _DIGEST.fullmatch(self.digest):
            raise ConfigError(f"'{self.digest[:80]}' is no SHA-256 in hexadecimal")
        if not _NAME.fullmatch(self.model):
            raise ConfigError(f"'{self.model[:80]}' is no name of a model file, such as model.onnx")

    @property
    def work(self) -> tuple[str, Options | SurveyOptions]:
        """What makes two jobs the same work: the file and how it is measured."""
        return self.digest, self.options


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as it travels: the name of its class in `edge_bench.errors`, and what it says."""

    kind: str
    message: str
    hint: str = ""

    @staticmethod
    def of(error: BaseException) -> Failure:
        """Return what travels of an error; of one that is our fault, its class and text."""
        if isinstance(error, EdgeBenchError):
            return Failure(kind=type(error).__name__, message=error.message, hint=error.hint)
        return Failure(kind="BenchmarkError", message=f"{type(error).__name__}: {error}")

    def error(self) -> EdgeBenchError:
        """Return the error again, of the same class."""
        return error_of(self.kind, self.message, self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a job ended on the device: one of `result` and `failure`.

    `id` is the result's, where there is one: uploaded twice, it is the same report.
    """

    id: str
    job: str
    lease: str
    result: Measured | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        if (self.result is None) == (self.failure is None):
            raise ConfigError("a report holds either a result or a failure")
        if self.result is not None and self.result.id != self.id:
            raise ConfigError(f"report '{self.id}' holds the result '{self.result.id}'")


def job_for(model: Path, options: Options, *, artifact: Artifact | None = None) -> Job:
    """Return a new job for a model file.

    Raises:
        ConfigError: its weights lie in other files.
        InvalidModel: it is no model of its ending.
    """
    beside = sorted(survey_file(model).external) if model.suffix.lower() == ".onnx" else []
    if beside:
        raise ConfigError(
            f"'{model.name}' keeps weights in '{beside[0]}'; only a model of one file travels to a device",
            hint="onnx.save(onnx.load(MODEL), ONE_FILE) puts them into it",
        )
    return _job(model, options, artifact=artifact)


def survey_job(bundle: Path, options: SurveyOptions) -> Job:
    """Return a new job for a bundle of model files (`devices/bundle.py`)."""
    return _job(bundle, options, version=SURVEY_VERSION)


def _job(
    file: Path,
    options: Options | SurveyOptions,
    *,
    artifact: Artifact | None = None,
    version: int = VERSION,
) -> Job:
    return Job(
        id=str(uuid.uuid4()),
        model=file.name,
        digest=sha256_of(file),
        size_bytes=file.stat().st_size,
        options=options,
        artifact=artifact,
        version=version,
    )


def read_job(document: Any) -> Job:
    """Read a job that another machine wrote.

    Raises:
        ConfigError: it is no job, or one that a later edge-bench wrote.
    """
    version = document.get("version", VERSION) if isinstance(document, dict) else VERSION
    if not isinstance(version, int) or version > KNOWN_VERSION:
        raise ConfigError(
            f"the job is of version {version}; the edge-bench on this device knows version {KNOWN_VERSION}",
            hint="pip install --upgrade edge-bench on the device",
        )
    return from_document(Job, document, where="job")


def _variant(role: type[V], package: str, choice: Choice | None) -> V | None:
    if choice is None:
        return None
    return from_document(variants.load(role, package, choice.name), dict(choice.options), where=choice.name)
