"""A training run as a TOML file, and the folder it leaves: configuration, log, checkpoint."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from edge_bench import config, variants
from edge_bench.data import ControlSource, DataSource, ImageSource, open_data
from edge_bench.documents import digest, from_document, to_document
from edge_bench.errors import ConfigError, InvalidArch, TrainingError, did_you_mean
from edge_bench.files import Home, runs_called
from edge_bench.records import AnySpace, ArchConfig, ObservationInput, Preprocessing, SearchSpace, TextInput
from edge_bench.runs import LOG_FILE as LOG_FILE
from edge_bench.runs import RUN_FILE as RUN_FILE
from edge_bench.runs import SUMMARY_FILE as SUMMARY_FILE
from edge_bench.text.vocabularies import PACKAGE as VOCABULARIES
from edge_bench.text.vocabularies import Vocabulary, open_vocabulary
from supernet.phases import DIMENSIONS, Phase
from supernet.schedules import Schedule
from supernet.spaces import Space
from supernet.training_step import TrainingStep

if TYPE_CHECKING:
    from supernet.models import Model
    from supernet.pretraining import Pretraining
    from supernet.techniques import Technique

SPACES, SCHEDULES, TECHNIQUES = "supernet.spaces", "supernet.schedules", "supernet.techniques"
MODELS, PRETRAINING = "supernet.models", "supernet.pretraining"
CHECKPOINT_FILE, TEACHER_FILE = "checkpoint.safetensors", "teacher.safetensors"
KEPT_FILE = "kept-{step}.safetensors"
TOKENIZER_FILE = "tokenizer.json"
DEFAULT_SCHEDULE = {"kind": "sandwich"}
IMAGES, CONTROL = "image_classification", "control"
# Of labels, where a run gives none.
SMOOTHING = 0.1

V = TypeVar("V")


@dataclass(frozen=True, kw_only=True)
class Training:
    """The `[training]` table.

    `batch_size` is the sum over all processes. Each goes through its part in micro-batches of at most
    `micro_batch_size` images (0: at once) and sums their gradients: what a step takes of memory follows
    from them, and batch norms have the statistics of one at a time. `warmup` is the share of a
    learning-rate curve's steps in which the rate rises from zero; from there it falls to zero along a
    cosine, or stays where `decay` is "none". `weight_decay` spares biases and batch norms.
    `random_subnets` are drawn for each step beside the largest and the smallest; `distillation` is the
    weight of the teacher's answer, against that of the labels, in what the others learn. `average` is the
    decay of the moving average of the weights, which is what is judged and cut (0: the weights
    themselves). RMSprop smooths squared gradients by 0.99. `threads` of 0 means every core this process
    may use. An epoch goes through all examples unless `epoch_steps` gives it a number of steps. Gradients
    are scaled down to a norm of `clip_norm` (0: never). `label_smoothing` is the task's own where it is
    not given: 0.1, and 0 for a language model. `truncate` cuts off texts that are longer than the
    network's sequence, which is an error else. On CUDA, layers compute in bfloat16 unless
    `mixed_precision` is false; on the CPU never. `synchronise_batch_norm` takes batch statistics over all
    processes. `checkpoint_steps` of 0 saves at the end of each epoch only. `keep` names points of
    training ("20it", "3ep", "3ep20it") whose weights are kept as they were behind that step, for others
    to begin from. `until` ends the run at such a point; its learning rates are those of all `epochs`.
    """

    epochs: int = 20
    batch_size: int = 32
    micro_batch_size: int = 0
    optimizer: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = 4e-3
    momentum: float = 0.9
    weight_decay: float = 0.02
    label_smoothing: float | None = None
    warmup: float = 0.25
    decay: Literal["cosine", "none"] = "cosine"
    random_subnets: int = 2
    distillation: float = 0.25
    average: float = 0.0
    augmentation: Literal["as_data", "none", "crop", "crop_flip"] = "as_data"
    mixed_precision: bool = True
    synchronise_batch_norm: bool = True
    threads: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_steps: int = 0
    epoch_steps: int = 0
    clip_norm: float = 0.0
    truncate: bool = False
    tensorboard: bool = False
    keep: tuple[str, ...] = ()
    until: str = ""

    def steps_per_epoch(self, examples: int) -> int:
        """Return how many steps an epoch of so many examples has."""
        return self.epoch_steps or examples // min(self.batch_size, examples)


@dataclass(frozen=True, kw_only=True)
class Start:
    """The `[start]` table: a finished run whose weights this one begins with.

    `keep` says which of its networks is kept: of a text model by its layers (`largest`, `d3`, `0,2,4`,
    `d3/1` of encoder and decoder), of a supernet by an architecture (`largest`, `d2-e3-k3@24`) or the id of
    a subnet that was extracted. The new run's network is just that, so that nothing tells there was more,
    and nothing is cut twice. Its tokens, or how images become inputs, are those of the run it begins from.
    """

    run: str
    keep: str = "largest"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run file. `[space]`, `[data]`, `[schedule]`, `[model]` and `[tokenizer]` name a `kind` and hold
    that kind's options; `[techniques.NAME]` holds those of a technique, and `[pretraining.NAME]` those of
    what the training examples are changed to.

    A run on images trains a `[space]`: the schedule makes phases of `training.epochs`; `[[phases]]` take
    the place of both. Or it trains one network without choices, a `[model]`, or goes on from another run
    (`[start]`), in one phase. So does a run on text, a `[model]` on the tokens of a `[tokenizer]`, and a
    run in environments.
    """

    name: str
    seed: int = 0
    space: Mapping[str, Any] = field(default_factory=lambda: {"kind": "lite_32"})
    data: Mapping[str, Any] = field(default_factory=lambda: {"kind": "digits"})
    schedule: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_SCHEDULE))
    training: Training = field(default_factory=Training)
    phases: tuple[Phase, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    techniques: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    start: Start | None = None
    pretraining: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """What is learned, as the data says; `ConfigError` names an unknown kind of data."""
        return self.open_data().task

    @property
    def elastic(self) -> bool:
        """Whether the run trains a search space: it is on images, and names neither model nor start."""
        return self.task == IMAGES and not self.model and self.start is None

    @property
    def planned(self) -> tuple[Phase, ...]:
        """The phases that training goes through, in order."""
        training = self.training
        if not self.elastic:
            return (Phase(name="all", epochs=training.epochs),)
        return self.phases or self.open_schedule().phases(
            epochs=training.epochs, learning_rate=training.learning_rate
        )

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of the values that differ from their defaults."""
        return digest(self._chosen(), length=8)

    def folder(self, home: Home) -> Path:
        """Return where this run lies."""
        return home.runs / f"{self.name}-{self.digest}"

    def open_space(self) -> Space:
        """Return the `[space]` variant; `ConfigError` names an unknown kind or option."""
        return open_space(self.space)

    def open_data(self) -> DataSource:
        """Return the `[data]` variant; `ConfigError` names an unknown kind or option."""
        return open_data(self.data)

    def open_model(self) -> Model:
        """Return the `[model]` variant; `ConfigError` names an unknown kind or option."""
        return open_model(self.model)

    def open_tokenizer(self) -> Vocabulary:
        """Return the `[tokenizer]` variant; `ConfigError` names an unknown kind or option."""
        return open_vocabulary(self.tokenizer)

    def open_techniques(self) -> dict[str, Technique]:
        """Return each `[techniques.NAME]`, in the order they begin; `ConfigError` names an unknown one or
        option.
        """
        from supernet.techniques import Technique

        opened = {
            name: _open(Technique, TECHNIQUES, f"techniques.{name}", {"kind": name, **options})
            for name, options in self.techniques.items()
        }
        return dict(sorted(opened.items(), key=lambda one: not one[1].replaces_layers))

    def open_pretraining(self) -> dict[str, Pretraining]:
        """Return each `[pretraining.NAME]` by name, sorted; `ConfigError` names an unknown one."""
        from supernet.pretraining import Pretraining

        return {
            name: _open(Pretraining, PRETRAINING, f"pretraining.{name}", {"kind": name, **options})
            for name, options in sorted(self.pretraining.items())
        }

    def open_schedule(self) -> Schedule:
        """Return the `[schedule]` variant; `ConfigError` names an unknown kind or option."""
        return _open(Schedule, SCHEDULES, "schedule", self.schedule)

    def _chosen(self) -> dict[str, Any]:
        chosen = _non_defaults(self)
        opened: dict[str, Any] = {"data": self.open_data()}
        if self.task == IMAGES and self.training.label_smoothing == SMOOTHING:
            # Once the default itself, and so no part of a run's name.
            chosen["training"].pop("label_smoothing")
        if self.elastic:
            opened |= {"space": self.open_space(), "schedule": self.open_schedule()}
        if self.model:
            opened["model"] = self.open_model()
        if self.tokenizer:
            opened["tokenizer"] = self.open_tokenizer()
        for table, variant in opened.items():
            chosen[table] = {"kind": getattr(self, table)["kind"], **_non_defaults(variant)}
        if chosen.get("schedule") == DEFAULT_SCHEDULE:
            del chosen["schedule"]
        if self.techniques:
            chosen["techniques"] = {
                name: _non_defaults(technique) for name, technique in self.open_techniques().items()
            }
        if self.pretraining:
            chosen["pretraining"] = {
                name: _non_defaults(kind) for name, kind in self.open_pretraining().items()
            }
        return chosen


def load_run(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run file and check all of it; no effects.

    Args:
        path: the TOML file.
        overrides: `training.batch_size=64` and the like.

    Raises:
        ConfigError: what cannot be used, the nearest key or the valid choices named.
    """
    return checked(config.load(RunConfig, path, overrides=overrides))


def checked(run: RunConfig) -> RunConfig:
    """Return `run` with the paths of its tables made absolute, or raise a `ConfigError`."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", run.name):
        raise ConfigError(
            f"name is '{run.name}'; it must be 1 to 64 letters, digits, dots, dashes or underscores"
        )
    for table in ("data", "tokenizer", "model"):
        given = getattr(run, table)
        if "path" in given:
            # Later commands find what is there again from any folder.
            path = str(Path(str(given["path"])).expanduser().absolute())
            changed: dict[str, Any] = {table: {**given, "path": path}}
            run = dataclasses.replace(run, **changed)
    _check_tables(run)
    _check_training(run)
    _check_network(run)
    return run


def _check_network(run: RunConfig) -> None:
    """Raise a `ConfigError` where the options of a space or model make no network."""
    source = run.open_data()
    channels = max(1, _channels_if_known(source)) if isinstance(source, ImageSource) else 0
    if run.elastic:
        run.open_space().build(input_channels=channels, classes=2)
    elif run.model:
        from supernet.models import ImageModel, TextModel

        model = run.open_model()
        if isinstance(model, ImageModel):
            model.space(channels=channels, classes=2)
        elif isinstance(model, TextModel):
            model.space(vocabulary=4, outputs=2)
        else:
            model.check()
    if isinstance(source, ControlSource):
        source.check()


def _check_tables(run: RunConfig) -> None:
    """Raise a `ConfigError` for a table that the run's data has no use for, or lacks."""
    task, defaults = run.task, RunConfig(name="default")
    of_images, of_text = ("space", "schedule", "phases"), ("tokenizer",)
    others = {IMAGES: of_text, CONTROL: (*of_images, *of_text)}
    for table in others.get(task, of_images):
        if getattr(run, table) != getattr(defaults, table):
            raise ConfigError(
                f"[{table}] is given, but the data is for {task.replace('_', ' ')}",
                hint=f"remove [{table}], or name other [data]",
            )
    if run.model and run.start:
        raise ConfigError(
            "[model] and [start] are both given; [start] brings the network of the run it begins from",
            hint="remove one of them",
        )
    for table in ("space", "schedule", "phases"):
        if not run.elastic and getattr(run, table) != getattr(defaults, table):
            raise ConfigError(
                f"[{table}] is given, but a run of one network ([model] or [start]) has none",
                hint=f"remove [{table}], or train a supernet without [model] and [start]",
            )
    techniques = run.open_techniques()
    for name, technique in techniques.items():
        if task not in technique.tasks:
            raise ConfigError(f"[techniques.{name}] is not for {task.replace('_', ' ')}")
        technique.check_run(run)
        for other, reason in technique.excludes.items():
            if other in techniques:
                raise ConfigError(
                    f"[techniques.{name}] and [techniques.{other}] cannot be used together: {reason}",
                    hint="remove one of them",
                )
    _check_pretraining(run, task)
    if task != IMAGES and run.training.micro_batch_size:
        raise ConfigError(
            f"training.micro_batch_size is for images, and the data is for {task.replace('_', ' ')}",
            hint="lower training.batch_size to take less memory",
        )
    if task != IMAGES and not run.model and not run.start:
        raise ConfigError(
            f"a run for {task.replace('_', ' ')} needs either a [model] to begin with or a [start] to go "
            "on from",
            hint=f'e.g. [model] kind = "{"policy" if task == CONTROL else "encoder"}"',
        )
    if run.model:
        from supernet.models import TextModel

        model = run.open_model()
        if task not in model.tasks:
            fit = [one for one in variants.names(MODELS) if task in _model(one).tasks]
            raise ConfigError(
                f"[model] kind is '{run.model['kind']}', which is not for {task.replace('_', ' ')}",
                hint=f"for that there is {', '.join(fit)}",
            )
        if not isinstance(model, TextModel):
            return
        if model.own_tokens == bool(run.tokenizer):
            raise ConfigError(
                "[tokenizer] is given, but the model brings its own"
                if model.own_tokens
                else f'[tokenizer] must name a kind, e.g. kind = "{variants.names(VOCABULARIES)[0]}"'
            )
        if run.tokenizer:
            run.open_tokenizer()
    elif run.tokenizer:
        raise ConfigError("[tokenizer] is given, but [start] brings that of the run it begins from")


def _check_pretraining(run: RunConfig, task: str) -> None:
    for name, kind in run.open_pretraining().items():
        if task not in kind.tasks:
            others = "; it is for " + " and ".join(one.replace("_", " ") for one in kind.tasks)
            raise ConfigError(f"[pretraining.{name}] is not for {task.replace('_', ' ')}{others}")
        if run.elastic:
            raise ConfigError(
                f"[pretraining.{name}] is given, but a [space] is trained: its examples have many sizes",
                hint='name a [model], e.g. kind = "resnet"',
            )
        kind.check()


def _model(name: str) -> type[Model]:
    from supernet.models import Model

    return variants.load(Model, MODELS, name)


def open_model(table: Mapping[str, Any]) -> Model:
    """Return the model that a `[model]` table describes: `kind` and that kind's options."""
    # Imported here: a model is torch's, and a run file of a supernet names none.
    from supernet.models import Model

    return _open(Model, MODELS, "model", table)


def open_space(table: Mapping[str, Any]) -> Space:
    """Return the space that a `[space]` table describes: `kind` and that kind's options."""
    return _open(Space, SPACES, "space", table)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """`run.json`: the complete configuration, its phases, what was learned of the data, and versions.

    `images` is the number of training examples (images, or texts, pairs, windows) and `skipped` of those
    left out as unreadable. `text` says how a text becomes tokens; its `tokenizer` lies in the folder.
    `observation` says what a policy sees. `structure` is what the network of a `[model]` is made from
    beside its space; `model` is that table of the run this one began from, so that it can be opened
    without that run. `arch` is the one network that is trained, where there are no others in it.
    """

    config: RunConfig
    digest: str
    phases: tuple[Phase, ...] = ()
    search_space: AnySpace
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...]
    images: int
    skipped: int
    versions: Mapping[str, str]
    text: TextInput | None = None
    observation: ObservationInput | None = None
    structure: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    arch: ArchConfig | None = None

    def check(self, arch: ArchConfig) -> None:
        """Raise `InvalidArch` where `arch` is no network of this run."""
        self.search_space.check(arch)
        if self.arch not in (None, arch):
            raise InvalidArch(
                f"run '{self.config.name}' trained one network alone; the architecture is another one",
                hint="edge-bench extract RUN cuts the one it has",
            )

    @property
    def elastic_space(self) -> SearchSpace:
        """The search space of a run that trained all of it.

        Raises:
            ConfigError: the run trained one network, or is on text, whose depths are extracted and not
                searched for.
        """
        if self.arch:
            raise ConfigError(
                f"run '{self.config.name}' trained one network alone: there are no others to choose from",
                hint="edge-bench extract RUN cuts it",
            )
        if not isinstance(self.search_space, SearchSpace):
            raise ConfigError(
                f"run '{self.config.name}' is on text: its networks differ in their layers alone",
                hint="edge-bench extract RUN cuts its depths",
            )
        return self.search_space


def read_record(folder: Path) -> RunRecord:
    """Read a run folder's `run.json`.

    Raises:
        TrainingError: it is missing or damaged.
    """
    path = folder / RUN_FILE
    try:
        return from_document(RunRecord, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise TrainingError(f"'{folder}' is no run folder: it holds no {RUN_FILE}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, ConfigError) as error:
        raise TrainingError(
            f"'{path}' cannot be read: {error}", hint="remove the run folder and train again"
        ) from error


def find_run(given: str, home: Home) -> Path:
    """Return the run folder that `given` means: a path, a folder's name under the home, or a run's name.

    Raises:
        ConfigError: no such run (the known ones are named), or several of that name.
    """
    path = Path(given).expanduser()
    if (path / RUN_FILE).is_file():
        return path.absolute()
    known = sorted(file.parent.name for file in home.runs.glob(f"*/{RUN_FILE}"))
    matching = runs_called(given, known)
    if len(matching) == 1:
        return home.runs / matching[0]
    if matching:
        raise ConfigError(f"'{given}' may be one of several runs: {', '.join(matching)}")
    listed = f"Known: {', '.join(known)}.{did_you_mean(given, known)}" if known else "There is none yet."
    raise ConfigError(f"there is no run '{given}'. {listed}", hint="edge-bench train RUN.toml makes one")


def record_document(record: RunRecord) -> str:
    """Return the text of `run.json`."""
    return json.dumps(to_document(record), indent=1, allow_nan=False) + "\n"


def _open(role: type[V], package: str, table: str, given: Mapping[str, Any]) -> V:
    options = dict(given)
    kind = options.pop("kind", None)
    if not isinstance(kind, str):
        known = variants.names(package)
        raise ConfigError(f'[{table}] must name a kind, e.g. kind = "{known[0]}"')
    return from_document(variants.load(role, package, kind), options, where=table)


def _check_training(run: RunConfig) -> None:
    table = run.training
    if run.phases and dict(run.schedule) != DEFAULT_SCHEDULE:
        raise ConfigError(
            "[[phases]] and [schedule] are both given; phases take the place of a schedule",
            hint="remove one of them",
        )
    phases = run.planned
    subnets = {phase.name: phase.random_subnets for phase in phases if phase.random_subnets is not None}
    frozen = [phase for phase in phases if phase.teacher == "frozen"]
    for key, value, least in (
        ("training.epochs", table.epochs, 1),
        ("training.batch_size", table.batch_size, 2),
        ("training.micro_batch_size", table.micro_batch_size, 0),
        ("training.random_subnets", table.random_subnets, 0),
        ("training.threads", table.threads, 0),
        ("training.checkpoint_steps", table.checkpoint_steps, 0),
        ("training.epoch_steps", table.epoch_steps, 0),
        ("seed", run.seed, 0),
        *((f"phases.{phase.name}.epochs", phase.epochs, 1) for phase in phases),
        *((f"phases.{name}.random_subnets", value, 0) for name, value in subnets.items()),
        *(
            (f"phases.{phase.name}: random subnets beside a frozen teacher", value, 1)
            for phase in frozen
            for value in (subnets.get(phase.name, table.random_subnets),)
        ),
        *(
            (f"phases.{phase.name}.choices.{name}", count, 1)
            for phase in phases
            for name, count in phase.choices.items()
        ),
    ):
        if value < least:
            raise ConfigError(f"{key} is {value}; it must be at least {least}")
    for key, share in (
        ("training.warmup", table.warmup),
        ("training.label_smoothing", table.label_smoothing or 0.0),
        ("training.distillation", table.distillation),
        ("training.momentum", table.momentum),
        *((f"phases.{p.name}.warmup", p.warmup) for p in phases if p.warmup is not None),
        *((f"phases.{p.name}.distillation", p.distillation) for p in phases if p.distillation is not None),
        *((f"phases.{p.name}.label_weight", p.label_weight) for p in phases if p.label_weight is not None),
    ):
        if not 0 <= share <= 1:
            raise ConfigError(f"{key} is {share:g}; it must lie between 0 and 1")
    if not 0 <= table.average < 1:
        raise ConfigError(f"training.average is {table.average:g}; it must be at least 0 and below 1")
    for point in (*table.keep, *((table.until,) if table.until else ())):
        TrainingStep.parse(point, steps_per_epoch=1)
    for phase in phases:
        for name in phase.choices:
            if name not in DIMENSIONS:
                raise ConfigError(
                    f"unknown key 'phases.{phase.name}.choices.{name}'. Known: {', '.join(DIMENSIONS)}."
                    f"{did_you_mean(name, DIMENSIONS)}"
                )
    rates = [table.learning_rate, *(p.learning_rate for p in phases if p.learning_rate is not None)]
    for rate in rates:
        if not rate > 0:
            raise ConfigError(f"learning_rate is {rate:g}; it must be above 0")
    for key, amount in (("weight_decay", table.weight_decay), ("clip_norm", table.clip_norm)):
        if amount < 0:
            raise ConfigError(f"training.{key} is {amount:g}; it must be at least 0")


def _channels_if_known(source: ImageSource) -> int:
    # Reading a configuration has no effects, so data that must be opened to tell is taken as RGB.
    return 3 if hasattr(source, "path") else source.channels()


def _non_defaults(value: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        given = getattr(value, item.name)
        default = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        if default is not dataclasses.MISSING and given == default:
            continue
        if dataclasses.is_dataclass(given) and type(given) is type(default):
            chosen[item.name] = _non_defaults(given)
        elif isinstance(given, tuple) and given and all(map(dataclasses.is_dataclass, given)):
            chosen[item.name] = [_non_defaults(one) for one in given]
        else:
            chosen[item.name] = to_document(given)
    return chosen
