"""Measuring a candidate, or writing its file, from a page: the commands for it, or why there are none."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from dashboard import shell
from dashboard.jobs import Step
from dashboard.stored import Stored, file_within
from edge_bench import variants
from edge_bench.choose.candidates import RUNTIMES as USUAL
from edge_bench.files import Home
from edge_bench.measure.runtimes import RUNTIMES
from edge_bench.records import THIS_MACHINE, Artifact, Candidate, Subnet, TransformerSpace

# What a command could take for an option, or for a path, is not handed to it.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+=-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The commands that do something, or in their place why they cannot and the command that would help."""

    steps: tuple[Step, ...] = ()
    why_not: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was known of a candidate before it was measured: it says how good the prediction was."""

    target: str
    device: str
    candidate: Candidate


def target_of(one: Candidate) -> str:
    """Return the id that a candidate's file has, or will have once it is exported."""
    return one.artifact or f"{one.subnet}-{one.format}-{one.precision}"


def to_measure(one: Candidate, records: Stored, home: Home, *, own: Collection[str]) -> Steps:
    """Return what measures a candidate on its device: an export where it has no file, and a benchmark.

    Args:
        one: the candidate.
        records: what is stored.
        home: where files lie.
        own: names of devices that jobs can be sent to.
    """
    target = target_of(one)
    if one.device != THIS_MACHINE and one.device not in own:
        return Steps(
            why_not=f"{one.device} is known by what others measured or published; it is no device of yours "
            "that a file could be sent to. If you have one, add it under a name of its own, and then "
            "measure there:",
            command=shell.command(["devices", "add", "NAME", "--ssh", "USER@HOST"], home)
            + "\n"
            + shell.bench([target], home, device="NAME"),
        )
    written = to_write(one, records, home)
    if written.why_not:
        return written
    where = () if one.device == THIS_MACHINE else ("--device", one.device)
    # A runtime that somebody else measured with need not be one of ours.
    known = one.runtime.replace("-", "_") in variants.names(RUNTIMES)
    how = ("--runtime", one.runtime) if known and one.source != "imported" else ()
    if not all(map(_PLAIN.fullmatch, (target, one.device, one.runtime))):
        return Steps(why_not="Its name holds signs that are not handed to a command.")
    place = "on this machine" if one.device == THIS_MACHINE else f"on {one.device}"
    bench = Step(
        words=("bench", target, *where, *how), does=f"measuring {place}", tidies=one.device != THIS_MACHINE
    )
    return Steps(steps=(*written.steps, bench))


def to_write(one: Candidate, records: Stored, home: Home, *, form: str | None = None) -> Steps:
    """Return what writes a candidate's file, or one of another format; nothing where its own is there."""
    artifact = _artifact(one, records) if form is None else None
    if artifact is not None and file_within(home, artifact.file) is not None:
        return Steps()
    subnet = next((subnet for subnet in records.subnets if subnet.id == one.subnet), None)
    if subnet is None or file_within(home, subnet.program) is None:
        return _nothing_to_write_from(one, subnet, home)
    encoding = ("--encoding", artifact.encoding) if artifact and artifact.encoding != "dense" else ()
    words = ("export", subnet.id, "--format", form or one.format, "--precision", one.precision, *encoding)
    if not _PLAIN.fullmatch(subnet.id):
        return Steps(why_not="Its name holds signs that are not handed to a command.")
    return Steps(steps=(Step(words=words, does="writing its file"),))


def missing_format(one: Candidate, records: Stored, home: Home) -> str | None:
    """Return a usual format in which a network has no file of its precision yet; None where it has all."""
    if one.subnet is None:
        return None
    there = {
        file.format
        for file in records.artifacts
        if file.subnet == one.subnet and file_within(home, file.file) is not None
    }
    return next((form for form in USUAL if form not in there), None)


def to_learn(one: Candidate, records: Stored, home: Home) -> tuple[str, str]:
    """Return how a measurement comes to teach the predictor, in words, and the command for it."""
    subnet = next((subnet for subnet in records.subnets if subnet.id == one.subnet), None)
    if subnet is not None and isinstance(subnet.space, TransformerSpace) and one.device == THIS_MACHINE:
        return (
            "The predictor of text models learns from what is measured of their files:",
            shell.command(["fit", "--run", subnet.run], home),
        )
    return (
        "A predictor of latency learns from surveys of many networks, not from one file. This surveys "
        "them anew and fits it again:",
        shell.fit(home, device=one.device),
    )


def _artifact(one: Candidate, records: Stored) -> Artifact | None:
    target = target_of(one)
    return next((artifact for artifact in records.artifacts if artifact.id == target), None)


def _nothing_to_write_from(one: Candidate, subnet: Subnet | None, home: Home) -> Steps:
    if subnet is None:
        return Steps(
            why_not="Its file is gone, and it was made elsewhere. Import it again:",
            command=shell.command(["import", "FILE"], home),
        )
    return Steps(
        why_not="It has no file, and the network that it would be written from is gone. Cut it again:",
        command=shell.command(["extract", subnet.run], home),
    )
