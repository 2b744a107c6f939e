"""What a run folder and a probe's folder hold, read as data: no network is built and nothing is loaded.

Names come from a link or a listing, so they are checked, and a file is read only if it lies under the home
folder. A run may be training meanwhile: a last line without its end is being written, and no damage.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from edge_bench.documents import digest, from_document
from edge_bench.errors import ConfigError, TrainingError, did_you_mean
from edge_bench.files import Home
from edge_bench.records import AnySpace, ArchConfig, Metric
from edge_bench.records.position import PositionFindings

RUN_FILE, LOG_FILE, SUMMARY_FILE, JUDGED_FILE = "run.json", "log.jsonl", "summary.json", "judged.jsonl"
POSITION = "position"
WITHOUT_PADDING = "-without-padding"
# A run's name has at most 64 characters, its digest 8, an architecture's key 12.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LEARNED = "training_"
_LARGEST = "largest_"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A line of `judged.jsonl`: a subnet's metric on the selection split and how long that took.

    `key` is the architecture's, `weights` the digest of the checkpoint it was judged with.
    """

    key: str
    arch: ArchConfig
    metric: Metric
    seconds: float
    calibration_images: int
    weights: str


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line of `log.jsonl`: means over an epoch that ended with `step`.

    `learned` is what was reached on training data where that is told (`training_accuracy`), `more` whatever
    other figures there are.
    """

    time: str
    phase: str
    epoch: int
    step: int
    loss: float
    learning_rate: float
    learned: tuple[str, float] | None = None
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Lines(Generic[T]):
    """The lines of a file that could be read, and a sentence for each that could not."""

    found: tuple[T, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `summary.json` says of a finished run.

    `quality` is the metric of the largest network on the selection split, by name; `techniques` are the
    facts that each technique told of the network that is judged.
    """

    steps: int
    seconds: float
    quality: tuple[str, float] | None
    techniques: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder, by its name: what was to be trained and, if that has ended, what came of it."""

    folder: str
    config: Mapping[str, Any]
    phases: tuple[tuple[str, int], ...]
    space: AnySpace
    arch: ArchConfig | None
    examples: int
    versions: Mapping[str, str]
    outcome: Outcome | None

    @property
    def name(self) -> str:
        return str(self.config.get("name", self.folder))

    @property
    def epochs(self) -> int:
        return sum(epochs for _, epochs in self.phases)

    @property
    def techniques(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of each technique, by name."""
        told: Mapping[str, Mapping[str, Any]] = self.config.get("techniques", {})
        return told

    @property
    def pruned(self) -> Mapping[str, Mapping[str, Any]]:
        """The facts of the techniques that pruned, by name; none of a run that has not ended."""
        facts = self.outcome.techniques if self.outcome else {}
        return {name: told for name, told in facts.items() if isinstance(told.get("pruned"), int | float)}

    @property
    def training_key(self) -> str:
        """A digest that runs share which differ in name, seed, kept weights and pruning alone."""
        config = {key: value for key, value in self.config.items() if key not in ("name", "seed")}
        training = {key: value for key, value in config.get("training", {}).items() if key != "keep"}
        kept = {name: told for name, told in self.techniques.items() if name not in self.pruned}
        return digest({**config, "training": training, "techniques": kept})


def name_without_padding(name: str) -> str:
    """Return the name of a run's control without padding; at most 64 characters, as all names."""
    return f"{name[: 63 - len(WITHOUT_PADDING)]}{WITHOUT_PADDING}"


def run_names(home: Home) -> list[str]:
    """Return the names of the run folders, those changed last first."""
    folders = [file.parent for file in home.runs.glob(f"*/{RUN_FILE}")]
    named = [folder for folder in folders if _NAME.fullmatch(folder.name)]
    return [folder.name for folder in sorted(named, key=_changed, reverse=True)]


def run_folder(home: Home, name: str) -> Path:
    """Return the folder of a run by its whole name.

    Raises:
        ConfigError: it is no name of a folder under the home's runs; the nearest is told.
    """
    folder = home.runs / name
    if _NAME.fullmatch(name) and (folder / RUN_FILE).is_file():
        return _inside(home, folder)
    raise ConfigError(
        f"there is no run '{name}' in '{home.runs}'.{did_you_mean(name, run_names(home))}",
        hint="edge-bench train RUN.toml makes one",
    )


def stamp(home: Home, name: str) -> tuple[tuple[int, int], ...]:
    """Return sizes and times of a run's files: what was read of them holds while this stays."""
    folder = run_folder(home, name)
    told = []
    for file in (RUN_FILE, SUMMARY_FILE, LOG_FILE, JUDGED_FILE):
        try:
            state = (folder / file).stat()
        except OSError:
            told.append((0, 0))
        else:
            told.append((state.st_mtime_ns, state.st_size))
    return tuple(told)


def read_run(home: Home, name: str) -> Run:
    """Read a run folder's `run.json` and, where it has ended, `summary.json`.

    Raises:
        ConfigError: no such run.
        TrainingError: a file is damaged; it is named.
    """
    folder = run_folder(home, name)
    path = folder / RUN_FILE
    told = _document(home, path)
    try:
        return Run(
            folder=name,
            config=from_document(dict[str, Any], told.get("config"), where="config"),
            phases=tuple(_phase(one) for one in from_document(list[Any], told.get("phases", []))),
            space=from_document(AnySpace, told.get("search_space"), where="search_space"),  # type: ignore[arg-type]
            arch=from_document(ArchConfig, told["arch"], where="arch") if "arch" in told else None,
            examples=from_document(int, told.get("images"), where="images"),
            versions=from_document(dict[str, str], told.get("versions", {}), where="versions"),
            outcome=_outcome(home, folder / SUMMARY_FILE),
        )
    except ConfigError as error:
        raise _damaged(path, error.message) from error


def read_log(home: Home, name: str) -> Lines[LogLine]:
    """Read what a run has logged so far; `ConfigError` where there is no such run."""
    return read_lines(_inside(home, run_folder(home, name) / LOG_FILE), _log_line)


def read_judged(home: Home, name: str) -> Lines[Judgement]:
    """Read what was judged of a run's networks with its last weights; `ConfigError` as in `read_log`."""
    lines = read_lines(_inside(home, run_folder(home, name) / JUDGED_FILE), judgement)
    newest = {one.key: one for one in lines.found if one.weights == lines.found[-1].weights}
    return Lines(found=tuple(newest.values()), damaged=lines.damaged)


def read_lines(path: Path, parse: Callable[[Any], T]) -> Lines[T]:
    """Read a file of one JSON document a line; nothing where there is no file.

    Args:
        path: the file.
        parse: makes something of a document, or raises `ConfigError`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Lines()
    except OSError as error:
        return Lines(damaged=(f"'{path.name}' cannot be read: {error.strerror}",))
    found: list[T] = []
    damaged: list[str] = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        try:
            found.append(parse(json.loads(line)))
        except (ConfigError, ValueError, RecursionError) as error:
            if line.endswith(b"\n"):
                damaged.append(f"'{path.name}', line {number}: {error}")
    return Lines(found=tuple(found), damaged=tuple(damaged))


def judgement(told: Any) -> Judgement:
    """Return a line of `judged.jsonl`; `ConfigError` where it is none."""
    return from_document(Judgement, told)


def read_judgements(folder: Path) -> tuple[Judgement, ...]:
    """Return what the whole lines of a run folder's `judged.jsonl` say; nothing where there is no file."""
    return read_lines(folder / JUDGED_FILE, judgement).found


def read_positions(home: Home) -> Lines[PositionFindings]:
    """Read what probes of position have found, by the names of the networks."""
    found: list[PositionFindings] = []
    damaged: list[str] = []
    for path in sorted((home.probes / POSITION).glob("*.json"), key=lambda path: path.stem):
        try:
            found.append(from_document(PositionFindings, _document(home, path)))
        except (ConfigError, TrainingError) as error:
            damaged.append(f"'{path.name}': {error.message}")
    return Lines(found=tuple(found), damaged=tuple(damaged))


def _log_line(told: Any) -> LogLine:
    told = from_document(dict[str, Any], told)
    time, phase = (from_document(str, told.pop(key, None), where=key) for key in ("time", "phase"))
    epoch, step = (from_document(int, told.pop(key, None), where=key) for key in ("epoch", "step"))
    numbers = from_document(dict[str, float], told)
    for key, value in numbers.items():
        if not math.isfinite(value):
            raise ConfigError(f"{key} is {value}; it must be finite")
    missing = [key for key in ("loss", "learning_rate") if key not in numbers]
    if missing:
        raise ConfigError(f"missing key '{missing[0]}'")
    learned = next((key for key in numbers if key.startswith(_LEARNED)), None)
    return LogLine(
        time=time,
        phase=phase,
        epoch=epoch,
        step=step,
        loss=numbers.pop("loss"),
        learning_rate=numbers.pop("learning_rate"),
        learned=(learned.removeprefix(_LEARNED), numbers.pop(learned)) if learned else None,
        more=numbers,
    )


def _outcome(home: Home, path: Path) -> Outcome | None:
    if not path.is_file():
        return None
    told = _document(home, path)
    try:
        name = next((key for key in told if key.startswith(_LARGEST)), None)
        value = from_document(float, told[name], where=name) if name else None
        return Outcome(
            steps=from_document(int, told.get("steps"), where="steps"),
            seconds=from_document(float, told.get("seconds"), where="seconds"),
            quality=(name.removeprefix(_LARGEST), value) if name and value is not None else None,
            techniques=from_document(
                dict[str, dict[str, Any]], told.get("techniques", {}), where="techniques"
            ),
        )
    except ConfigError as error:
        raise _damaged(path, error.message) from error


def _phase(told: Any) -> tuple[str, int]:
    told = from_document(dict[str, Any], told, where="phases")
    name = from_document(str, told.get("name"), where="phases.name")
    return name, from_document(int, told.get("epochs"), where="phases.epochs")


def _document(home: Home, path: Path) -> dict[str, Any]:
    try:
        told = json.loads(_inside(home, path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"'{path}' cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(told, dict):
        raise _damaged(path, "it holds no table")
    return told


def _damaged(path: Path, why: str) -> TrainingError:
    return TrainingError(f"'{path}' cannot be read: {why}", hint="remove it and make it again")


def _inside(home: Home, path: Path) -> Path:
    """Return `path` with links followed, or raise `ConfigError` where it leads out of the home folder."""
    real = path.resolve()
    if not real.is_relative_to(home.root.resolve()):
        raise ConfigError(f"'{path}' leads out of the home folder; it is not read")
    return real


def _changed(folder: Path) -> int:
    try:
        return max((folder / name).stat().st_mtime_ns for name in (RUN_FILE, LOG_FILE))
    except OSError:
        return 0
