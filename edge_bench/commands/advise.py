"""say whether zeros will save time on a device, and what to change, before a sparse network is trained"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import device_profiles
from device_profiles import ProfileError
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.sparse_speed import CONDITIONS, Advice, Sparse, advise
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands.extract import arch_of
from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.files import Home
from edge_bench.records import (
    THIS_MACHINE,
    AnySpace,
    ArchConfig,
    Artifact,
    BenchmarkResult,
    Operator,
    PlainSpace,
    SearchSpace,
    Subnet,
    operators,
)


class Advise(Command):
    """Zeros are one by one, as pruning by magnitude leaves them. Nothing is trained and nothing measured:
    what is said follows from the network's layers and from what each runtime has kernels for.
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "network",
            metavar="SUBNET|ARTIFACT|RUN",
            help="a subnet, an exported file, a run or RUN:ARCH, or a run file (.toml) that is not trained "
            "yet; of a run the largest network",
        )
        parser.add_argument("--device", default=THIS_MACHINE, help=f"default: {THIS_MACHINE}")
        parser.add_argument(
            "--sparsity",
            type=_share,
            metavar="S",
            help="the share of zeros, from 0 to 1 (default: what a subnet has)",
        )

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        with context.store() as store:
            subnets = {one.id: one for one in store.subnets()}
            artifacts = {one.id: one for one in store.artifacts()}
            results = store.results()
        name, space, arch, found = _network(options.network, subnets, artifacts, context.home)
        sparsity = options.sparsity if options.sparsity is not None else found
        if not sparsity:
            raise ConfigError(f"'{name}' has no zeros yet; how many shall it have?", hint="--sparsity 0.8")
        isa = _isa(options.device, results)
        file = artifacts.get(options.network)
        network = Sparse(
            operators=_operators(space, arch),
            sparsity=sparsity,
            precision=file.precision if file else "fp32",
        )
        told = [advise(network, runtime, isa) for runtime in RUNTIMES.values()]
        return _outcome(name, options.device, isa, sparsity, told)


def _share(given: str) -> float:
    try:
        share = float(given)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"'{given}' is no share between 0 and 1; e.g. 0.8")
    return share


def _network(
    given: str, subnets: dict[str, Subnet], artifacts: dict[str, Artifact], home: Home
) -> tuple[str, AnySpace, ArchConfig, float]:
    """Return the name, space and architecture of what is named, and the share of zeros it has."""
    file = artifacts.get(given)
    if file and (file.subnet or "") not in subnets:
        raise ConfigError(
            f"'{given}' was made elsewhere: its layers are not known here",
            hint="name a network that edge-bench trained, or a run file of one like it",
        )
    subnet = subnets.get((file and file.subnet) or given)
    if subnet is not None:
        return subnet.id, subnet.space, subnet.arch, subnet.sparsity
    path = Path(given).expanduser()
    if path.suffix == ".toml":
        from supernet.run import load_run
        from supernet.tasks import task_of

        config = load_run(path)
        space = task_of(config.open_data().task).begun(config, home, config.folder(home)).space
        return config.name, space, space.largest(), 0.0
    from supernet.run import find_run, read_record

    run, _, arch = given.partition(":")
    try:
        record = read_record(find_run(run, home))
    except ConfigError as error:
        raise ConfigError(
            f"there is no subnet, artifact or run '{given}'.{did_you_mean(given, [*subnets, *artifacts])}",
            hint=error.hint or "edge-bench results list --kind subnet; or name a run file (.toml)",
        ) from error
    space = record.search_space
    if arch:
        return given, space, arch_of(arch, space, list(subnets.values()), only=record.arch), 0.0
    return record.config.name, space, record.arch or space.largest(), 0.0


def _operators(space: AnySpace, arch: ArchConfig) -> tuple[Operator, ...]:
    """Return the layers of a network for images; of one for text none are told."""
    return operators(space, arch) if isinstance(space, (SearchSpace, PlainSpace)) else ()


def _isa(device: str, results: Iterable[BenchmarkResult]) -> str | None:
    """Return a device's instruction set: as read here, as measured there, or as its profile tells it.

    Raises:
        ConfigError: nothing is known of such a device; the nearest is named.
    """
    if device == THIS_MACHINE:
        from edge_bench.measure.environment import fingerprint

        return str(fingerprint()["machine"])
    seen = [one for one in results if one.device == device]
    machines = [str(one.environment["machine"]) for one in seen if one.environment.get("machine")]
    if machines:
        return machines[-1]
    try:
        profile = device_profiles.load(device)
    except ProfileError as error:
        if seen:
            return None
        raise ConfigError(str(error), hint="edge-bench devices list") from error
    return profile.isa.value if profile.isa else None


def _outcome(name: str, device: str, isa: str | None, sparsity: float, told: list[Advice]) -> Outcome:
    rows: list[dict[str, Any]] = [
        {"runtime": one.runtime, "zeros give": one.verdict, "why": one.reason, "source": one.source}
        for one in told
    ]
    lines = [
        f"{name} with {sparsity:.1%} zeros on {device} ({isa or 'its instruction set is not known'})",
        table(rows),
    ]
    findings = next((one.findings for one in told if one.findings), {})
    if findings:
        checked = [
            {
                "condition": one.name,
                "asks for": one.asks,
                "found": findings[one.name].found,
                "holds": "yes" if findings[one.name].holds else "no",
                "change": findings[one.name].change,
            }
            for one in CONDITIONS
        ]
        lines += ["For sparse kernels in litert:", table(checked)]
    if any(one.verdict == "faster" for one in told):
        lines.append("next: train it sparsely, then edge-bench export --format tflite --encoding sparse")
    lines.append(
        "On every runtime: zeros shrink the compressed file, and channels or neurons that are dead can be "
        "cut out (edge-bench export --encoding compact)."
    )
    document = {
        "network": name,
        "device": device,
        "isa": isa,
        "sparsity": sparsity,
        "advice": [
            {
                "runtime": one.runtime,
                "verdict": one.verdict,
                "reason": one.reason,
                "source": one.source,
                "conditions": [
                    {
                        "name": condition.name,
                        "asks": condition.asks,
                        "source": condition.source,
                        "found": one.findings[condition.name].found,
                        "holds": one.findings[condition.name].holds,
                        "change": one.findings[condition.name].change,
                    }
                    for condition in CONDITIONS
                    if condition.name in one.findings
                ],
            }
            for one in told
        ],
    }
    return Outcome(document=document, text="\n".join(lines))
