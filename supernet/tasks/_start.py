"""The finished run that another one goes on from (`[start]`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from edge_bench.errors import ConfigError
from edge_bench.files import Home
from edge_bench.records import ArchConfig, parse_arch
from edge_bench.records.notation import FORMS
from edge_bench.runs import read_judgements
from edge_bench.store import ResultStore
from supernet import checkpoint
from supernet.run import CHECKPOINT_FILE, RunConfig, RunRecord, find_run, read_record
from supernet.tasks import Task, task_of


@dataclass(frozen=True, kw_only=True)
class Started:
    """A finished run, its task opened to judge, its trained network, and the architecture to keep of it."""

    record: RunRecord
    task: Task
    network: nn.Module
    arch: ArchConfig

    def check_classes(self, class_names: tuple[str, ...]) -> None:
        """Raise a `ConfigError` where the data has other classes than the run was trained on."""
        if class_names != self.record.class_names:
            raise ConfigError(
                f"the data has the classes {', '.join(class_names)}; run '{self.record.config.name}' was "
                f"trained on {', '.join(self.record.class_names)}"
            )


def started(config: RunConfig, home: Home) -> Started:
    """Open the run that `config` goes on from.

    Raises:
        ConfigError: there is no such run, it is not finished or of another task, or `keep` names
            no network.
        InvalidArch: the run has no such network.
    """
    start = config.start
    assert start is not None
    folder = find_run(start.run, home)
    record = read_record(folder)
    if record.config.task != config.task:
        raise ConfigError(
            f"[start] run '{folder.name}' is for {record.config.task}, the data for {config.task}"
        )
    path = folder / CHECKPOINT_FILE
    progress = checkpoint.read_progress(path, run=record.digest)
    if progress is None or not progress.finished:
        raise ConfigError(f"[start] run '{folder.name}' is not finished", hint="train it to its end first")
    judged = {one.key: one.arch for one in read_judgements(folder)}
    arch = judged.get(start.keep.removeprefix(f"{folder.name}-"))
    arch = arch or _cut(start.keep, home)
    arch = arch or parse_arch(start.keep, record.search_space, only=record.arch)
    if arch is None:
        raise ConfigError(
            f"[start] keep is '{start.keep}'; it may be {FORMS}, or the id of a subnet "
            "that was extracted from it"
        )
    record.check(arch)
    task = task_of(record.config.task).of_run(record, home, folder)
    network = task.judged(partial(checkpoint.restore, path))
    return Started(record=record, task=task, network=network, arch=arch)


def _cut(identity: str, home: Home) -> ArchConfig | None:
    """Return the architecture of a subnet in the store; one that `--arch` named was never judged."""
    if not home.has_store:
        return None
    with ResultStore(home.store_url) as store:
        return next((one.arch for one in store.subnets() if one.id == identity), None)
