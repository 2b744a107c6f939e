"""list, show, add, profile and remove devices; serve those that poll, and see their jobs"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import device_profiles
from device_profiles import DeviceProfile, ProfileError
from edge_bench.choose.reasons import told_threads
from edge_bench.choose.shipped import UNTOLD, shipped
from edge_bench.commands import Command, Context, Outcome, table
from edge_bench.commands._predictor_rows import predictor_row
from edge_bench.devices.queue import LEASE_S, JobQueue
from edge_bench.devices.registry import Device, Registry, ago
from edge_bench.devices.transports import Reach, transport_of
from edge_bench.documents import to_document
from edge_bench.errors import ConfigError, MissingExtra
from edge_bench.measure.environment import fingerprint
from edge_bench.network import check_certificate
from edge_bench.records import FittedPredictor
from edge_bench.store import ResultStore
from edge_bench.tokens import new_token

READ_HERE = "read on the spot"
LEGEND = (
    "predicted: networks of any space, from what others measured (batch N: N images)",
    "error:     mean on whole networks that were not used to fit, or * on blocks",
    "imported:  whole models, by edge-bench import",
    "published: networks of other search spaces only",
)
RANGES = {
    "input_size": "maps of side",
    "input_channels": "channels",
    "mid_channels": "middle channels",
    "kernel": "kernel",
    "squeezed_channels": "squeezed channels",
    "h_swish": "h-swish",
}
PORT = 8642
# Which options belong to which action; given with another one they are refused.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "list": (),
    "show": (),
    "add": ("ssh", "agent", "port", "python", "identity"),
    "remove": (),
    "serve": ("host", "port", "lease_seconds", "certificate", "key"),
    "jobs": (),
    "cancel": (),
    "profile": ("budget_minutes", "run", "space", "runtimes", "threads"),
}


class Devices(Command):
    """Profiles are files in `device_profiles/devices`; own devices are kept in the store."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "action", nargs="?", choices=tuple(OPTIONS), default="list", help="default: list"
        )
        parser.add_argument("device", metavar="NAME", nargs="?", help="a device; for cancel, a job")
        add = parser.add_argument_group("add NAME")
        add.add_argument("--ssh", metavar="USER@HOST", help="a device that this machine reaches by ssh")
        add.add_argument("--agent", action="store_true", help="a device that polls: shows its token, once")
        add.add_argument(
            "--python", metavar="PATH", help="the Python there that has edge-bench (default: python3)"
        )
        add.add_argument("--identity", metavar="FILE", type=Path, help="the private key to use")
        serve = parser.add_argument_group("serve")
        serve.add_argument("--host", help="address to listen on (default: 127.0.0.1, this machine alone)")
        serve.add_argument(
            "--lease-seconds",
            type=float,
            metavar="S",
            help="how long a silent device keeps a job (default: 60)",
        )
        serve.add_argument("--certificate", metavar="FILE", type=Path, help="serve https (PEM)")
        serve.add_argument("--key", metavar="FILE", type=Path, help="the certificate's private key")
        profile = parser.add_argument_group(
            "profile [NAME]", "NAME is this-machine or a device of your own"
        )
        profile.add_argument(
            "--budget-minutes", type=float, metavar="M", help="measure no longer (default: 10)"
        )
        profile.add_argument("--run", help="the run whose search space is meant (default: the newest)")
        profile.add_argument(
            "--space",
            metavar="NAME",
            help="a search space as it is by default, for 3 channels and 1000 classes",
        )
        profile.add_argument("--runtimes", metavar="NAME,NAME", help="default: onnxruntime,litert")
        profile.add_argument("--threads", type=int, help="default: 1")
        parser.add_argument("--port", type=int, help=f"of ssh, or to listen on (default: {PORT})")

    def run(self, options: argparse.Namespace, context: Context) -> Outcome:
        _check(options)
        actions: dict[str, Callable[[argparse.Namespace, Context], Outcome]] = {
            "list": _list,
            "show": lambda given, _: _show(given.device),
            "add": _add,
            "remove": _remove,
            "serve": _serve,
            "jobs": _jobs,
            "cancel": _cancel,
            "profile": _profile,
        }
        return actions[options.action](options, context)


def _check(options: argparse.Namespace) -> None:
    taken = {name for names in OPTIONS.values() for name in names}
    for name in sorted(taken - set(OPTIONS[options.action])):
        if getattr(options, name):
            raise ConfigError(f"--{name.replace('_', '-')} does not apply to devices {options.action}")
    if options.device and options.action in ("list", "serve"):
        raise ConfigError(
            f"devices {options.action} takes no name, '{options.device}' was given",
            hint=f"edge-bench devices show {options.device}",
        )
    if not options.device and options.action in ("add", "remove", "cancel"):
        wanted = "the id of a job" if options.action == "cancel" else "the name of a device"
        raise ConfigError(f"devices {options.action} needs {wanted}")
    if options.port is not None and not 0 <= options.port <= 65535:
        raise ConfigError("--port must be from 0 to 65535")


def _list(options: argparse.Namespace, context: Context) -> Outcome:
    profiles = [_load(name) for name in device_profiles.names()]
    rows = [_listed(one) for one in profiles]
    own = _own(context)
    document = {"devices": [_document(one) for one in profiles], "own": own}
    shown = [
        {
            "own device": one["name"],
            "by": one["transport"],
            "where": one["where"],
            "reachable": "yes" if one["reachable"] else "no",
            "last seen": ago(one["last_seen"], time.time()),
            "detail": one["detail"],
        }
        for one in own
    ]
    parts = [
        table(rows),
        *LEGEND,
        *([table(shown)] if shown else []),
        "next: edge-bench devices show ID, or edge-bench pick --device ID",
    ]
    return Outcome(document=document, text="\n".join(parts))


def _listed(profile: DeviceProfile) -> dict[str, Any]:
    """Return a row of the list; of several predictors the one that answers for single images."""
    answers = shipped(profile.id)
    single = [one for one in answers if one.batch == 1]
    told = _source(profile)
    if answers and not single:
        told = f"batch {answers[0].batch}"
    best = min(single or answers, key=lambda one: one.held_out.mape, default=None)
    return {
        "id": profile.id,
        "name": profile.name,
        "latencies": told,
        "error": _error(best) if best else None,
    }


def _error(fitted: FittedPredictor) -> str:
    percent = 100 * fitted.held_out.mape
    mark = "*" if fitted.held_out_unit == "block" else ""
    return f"{percent:.1f} %{mark}" if percent < 10 else f"{percent:.0f} %{mark}"


def _own(context: Context) -> list[dict[str, Any]]:
    """Return what is known of each own device, each asked whether it answers, all at once."""
    if not context.home.has_store:
        return []
    with context.store() as store:
        registry = Registry(store)
        devices = registry.all()
        with ThreadPoolExecutor(max_workers=16) as pool:
            reached = list(pool.map(lambda one: _reach(one, context, store), devices))
        for device, reach in zip(devices, reached, strict=True):
            if reach.reachable and device.transport != "agent":
                registry.seen(device.name)
        return [
            {
                "name": device.name,
                "transport": device.transport,
                "where": _where(device.address),
                "reachable": reach.reachable,
                "last_seen": device.last_seen,
                "detail": reach.detail,
            }
            for device, reach in zip(registry.all(), reached, strict=True)
        ]


def _reach(device: Device, context: Context, store: ResultStore) -> Reach:
    try:
        return transport_of(device, home=context.home, store=store).reach()
    except MissingExtra as error:
        return Reach(reachable=False, detail=f"{error.message}: {error.hint}")


def _add(options: argparse.Namespace, context: Context) -> Outcome:
    name = options.device
    if name in device_profiles.names():
        raise ConfigError(f"'{name}' is a profile", hint=f"choose a name of your own, such as my-{name}")
    if bool(options.ssh) == options.agent:
        raise ConfigError("devices add needs one of --ssh USER@HOST and --agent")
    if options.agent:
        for wrong in ("port", "python", "identity"):
            if getattr(options, wrong) is not None:
                raise ConfigError(f"--{wrong} does not apply to --agent: the device comes to us")
        token = new_token()
        with context.store() as store:
            Registry(store).add(Device(name=name, transport="agent"), token=token)
        text = (
            f"'{name}' is added. Its token, shown this once, goes into a file on the device:\n\n"
            f"  {token}\n\n"
            f"here:          edge-bench devices serve\n"
            f"on the device: edge-bench agent --controller http://THIS-MACHINE:{PORT} --token-file FILE\n"
            f"then:          edge-bench bench FILE --device {name}"
        )
        return Outcome(document={"device": {"name": name, "transport": "agent"}, "token": token}, text=text)
    device = Device(name=name, transport="ssh", address=_address(options))
    with context.store() as store:
        Registry(store).add(device)
    text = f"'{name}' is added.\nnext: edge-bench devices list, which asks whether it answers"
    return Outcome(document={"device": to_document(device)}, text=text)


def _address(options: argparse.Namespace) -> dict[str, Any]:
    user, _, host = options.ssh.rpartition("@")
    if not host or host.startswith("-") or any(letter.isspace() for letter in options.ssh):
        raise ConfigError(f"--ssh '{options.ssh}' is not of the form USER@HOST")
    if options.identity is not None and not options.identity.expanduser().is_file():
        raise ConfigError(f"--identity '{options.identity}' is no file")
    identity = None if options.identity is None else str(options.identity.expanduser().absolute())
    given = {
        "host": host,
        "user": user or None,
        "port": options.port,
        "python": options.python,
        "identity": identity,
    }
    return {key: value for key, value in given.items() if value is not None}


def _remove(options: argparse.Namespace, context: Context) -> Outcome:
    with context.store() as store:
        Registry(store).remove(options.device)
        cancelled = JobQueue(store).cancel_all(options.device)
    ended = f"; {cancelled} of its jobs were cancelled" if cancelled else ""
    text = f"'{options.device}' is removed{ended}. Its results stay."
    return Outcome(document={"removed": options.device, "cancelled_jobs": cancelled}, text=text)


def _serve(options: argparse.Namespace, context: Context) -> Outcome:
    from edge_bench.devices.serve import serve

    lease_s = LEASE_S if options.lease_seconds is None else options.lease_seconds
    if not 1 <= lease_s <= 86_400:
        raise ConfigError("--lease-seconds must be from 1 to 86400")
    check_certificate(options.certificate, options.key)
    with context.store() as store:
        serve(
            store,
            context.home,
            host=options.host or "127.0.0.1",
            port=PORT if options.port is None else options.port,
            lease_s=lease_s,
            certificate=options.certificate,
            key=options.key,
            say=context.say,
        )
    return Outcome(document={}, text="the controller has ended; jobs stay queued")


def _jobs(options: argparse.Namespace, context: Context) -> Outcome:
    with _queue(context) as queue:
        entries = queue.entries(options.device)
    told: list[dict[str, Any]] = [
        {
            "job": entry.job.id,
            "device": entry.device,
            "model": entry.job.model,
            "state": entry.state,
            "attempts": entry.attempts,
            "since": entry.changed,
            "result": entry.report if entry.state == "done" else None,
            "cause": entry.failure.message if entry.failure else None,
        }
        for entry in entries
    ]
    rows = [{**one, "since": ago(one["since"], time.time())} for one in told]
    columns = ["job", "device", "model", "state", "attempts", "since", "cause"]
    text = table(rows, columns=columns) if rows else "no job was queued"
    return Outcome(document={"jobs": told}, text=text)


def _cancel(options: argparse.Namespace, context: Context) -> Outcome:
    with _queue(context) as queue:
        entry = queue.cancel(options.device)
    text = f"job {entry.job.id} ({entry.job.model}, for '{entry.device}') is cancelled"
    return Outcome(document={"job": entry.job.id, "state": entry.state}, text=text)


def _profile(options: argparse.Namespace, context: Context) -> Outcome:
    from edge_bench.commands._profiling import profile

    return profile(options, context)


@contextmanager
def _queue(context: Context) -> Iterator[JobQueue]:
    with context.store() as store:
        yield JobQueue(store)


def _where(address: Mapping[str, Any]) -> str:
    if "host" not in address:
        return "asks us"
    user = f"{address['user']}@" if "user" in address else ""
    port = f":{address['port']}" if "port" in address else ""
    return f"{user}{address['host']}{port}"


def _show(name: str | None) -> Outcome:
    if name is None:
        known = ", ".join(device_profiles.names())
        raise ConfigError(f"devices show needs the id of a device. Known: {known}")
    profile = _load(name)
    document = _document(profile)
    rows = [
        {"fact": fact, "value": _told(told["value"]), "source": told["source"]}
        for fact, told in document["facts"].items()
    ]
    lines = [f"{profile.name} ({profile.id}); latencies: {_source(profile)}"]
    lines += [table(rows)] if rows else ["  no fact with a source is known"]
    for fitted in shipped(profile.id):
        lines += _fitted_lines(fitted)
    if profile.reported_as:
        lines.append(f"reported as: {', '.join(profile.reported_as)}")
    lines += [f"published: {one.what}\n  {one.source}" for one in profile.published]
    return Outcome(document={"device": document}, text="\n".join(lines))


def _fitted_lines(fitted: FittedPredictor) -> list[str]:
    """Return what is told of a predictor that comes with a device."""
    errors, unit = fitted.held_out, f"{fitted.held_out_unit}s"
    runtime = "a runtime that is not told" if fitted.runtime == UNTOLD else fitted.runtime
    images = "1 image" if fitted.batch == 1 else f"{fitted.batch} images"
    held = f"; 90 % interval holds {100 * errors.coverage:.0f} %" if errors.coverage is not None else ""
    return [
        f"predictor: {fitted.id}",
        f"  for {images} at once, {fitted.precision}, {runtime}, {told_threads(fitted.threads)}",
        f"  fitted: {fitted.method}",
        f"  error on {errors.networks} {unit} held out: MAPE {100 * errors.mape:.1f} %, within ±10 % "
        f"{100 * errors.within_10_percent:.0f} %, Spearman {errors.spearman:.3f}{held}",
        f"  a price of MACs alone: MAPE {100 * fitted.baseline.mape:.1f} %",
        f"  range: {_range(fitted)}",
        f"  source: {fitted.source}",
    ]


def _range(fitted: FittedPredictor) -> str:
    """Return the range of the inverted residuals that were measured, and what else was."""
    kinds = {name.partition(".")[0] for name in fitted.validity}
    told = []
    for feature, words in RANGES.items():
        low, high = fitted.validity.get(f"inverted_residual.{feature}", (0.0, 0.0))
        told.append(f"{words} {low:g}" if low == high else f"{words} {low:g} to {high:g}")
    others = sorted(kind.replace("_", " ") for kind in kinds - {"inverted_residual"})
    return f"inverted residuals of {', '.join(told)}; besides them {', '.join(others)}"


def _load(name: str) -> DeviceProfile:
    try:
        return device_profiles.load(name)
    except ProfileError as error:
        raise ConfigError(str(error)) from error


def _document(profile: DeviceProfile) -> dict[str, Any]:
    """Return a device as one document, with this machine's facts where they are read on the spot."""
    if profile.read_here:
        facts = {key: {"value": value, "source": READ_HERE} for key, value in fingerprint().items()}
    else:
        facts = {key: to_document(fact) for key, fact in profile.facts().items()}
    return {
        "id": profile.id,
        "name": profile.name,
        "latency_source": profile.latency_source,
        "read_here": profile.read_here,
        "facts": facts,
        "reported_as": list(profile.reported_as),
        "published": to_document(profile.published),
        "predictors": [predictor_row(fitted) for fitted in shipped(profile.id)],
    }


def _source(profile: DeviceProfile) -> str:
    return "none yet" if profile.latency_source == "none" else profile.latency_source


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
