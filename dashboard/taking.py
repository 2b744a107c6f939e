"""Taking a pick away: one zip with all that belongs to it, the gate for CI, and the files one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from dashboard import shell
from dashboard.frames import kind_of
from dashboard.job_bar import begin_button
from dashboard.measuring import missing_format, target_of, to_write
from dashboard.names import file_name
from dashboard.stored import Stored, escaped, file_within
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.card import FORMATS
from edge_bench.choose.percentiles import P90
from edge_bench.choose.pick import Pick
from edge_bench.choose.snippets import TOKENIZER
from edge_bench.choose.takeaway import CARD, SCRIPT, Known, Takeaway, takeaway
from edge_bench.errors import NoCandidate
from edge_bench.files import Home
from edge_bench.records import Artifact, Candidate


def take_away(picked: Pick, records: Stored, home: Home) -> None:
    """Offer what belongs to a pick; where its file is not there, the command that writes it."""
    st.markdown("**Take it away**")
    known = Known(subnets=records.subnets, artifacts=records.artifacts, results=records.results)
    one = picked.recommended
    try:
        away = takeaway(picked, known, locate=partial(file_within, home))
    except NoCandidate:
        st.write("The picked file itself is not there yet. This command writes it:")
        st.code(pick_command(picked, records, home), language="shell")
        _write_button(one, records, home, form=None)
        _files(_stored_files(picked, records), home, None)
        return
    _download(
        f"Everything as one zip ({_kinds(away)}, card, script, gate)",
        away.zipped,
        file_name(f"{one.name}.zip"),
        key="zip",
        primary=True,
    )
    missing = missing_format(one, records, home)
    if missing:
        _write_button(one, records, home, form=missing)
    st.caption("In CI, where the zip is unpacked: status 0 passed, 3 failed, 4 too noisy to say.")
    st.code(away.gate, language="shell")
    with st.expander("The files one by one"):
        _files(_stored_files(picked, records), home, away)


def _write_button(one: Candidate, records: Stored, home: Home, *, form: str | None) -> None:
    """Let a file be written that is not there, in another format where one is named."""
    steps = to_write(one, records, home, form=form)
    what = f"{form or one.format}:{target_of(one)}"
    label = f"Write its {FORMATS[form or one.format]} file {'too' if form else 'now'}"
    begin_button(steps, home, key=f"write:{what}", title=one.name, label=label)


def pick_command(picked: Pick, records: Stored, home: Home) -> str:
    """Return the command that makes the same choice, and writes what it chooses."""
    one, budget = picked.recommended, picked.budget
    words = ["pick", "--device", one.device]
    # The command looks at one run: that of the network which the page recommends.
    words += [
        word for subnet in records.subnets if subnet.id == one.subnet for word in ("--run", subnet.run)
    ]
    limits = {
        "--max-latency-ms": budget.max_latency_ms,
        "--max-size-mb": budget.max_size_mb,
        "--max-peak-memory-mb": budget.max_peak_memory_mb,
    }
    for option, limit in limits.items():
        words += [] if limit is None else [option, f"{limit:.10g}"]
    words += ["--percentile", P90] if one.latency_is == P90 else []
    return shell.command([*words, "--preset", picked.preset], home)


def _kinds(away: Takeaway) -> str:
    endings = [name.rpartition(".")[2] for name in away.files]
    return " and ".join(f".{ending}" for ending in dict.fromkeys(endings) if ending in RUNTIMES)


def _stored_files(picked: Pick, records: Stored) -> list[Artifact]:
    """Return the network's files, the picked one first and then that of its steps."""
    one = picked.recommended
    own = [
        artifact
        for artifact in records.artifacts
        if artifact.id == one.artifact or (one.subnet is not None and artifact.subnet == one.subnet)
    ]
    return sorted(own, key=lambda file: (file.id != one.artifact, file.step_of != one.artifact))


def _files(files: list[Artifact], home: Home, away: Takeaway | None) -> None:
    with st.container(horizontal=True):
        for artifact in files:
            path = file_within(home, artifact.file)
            if path is not None:
                kind = kind_of(artifact.format, artifact.precision)
                of = " of steps" if artifact.step_of else ""
                label = f"{kind}{of}, {artifact.size_bytes / 1e6:.3g} MB"
                _download(label, path.read_bytes, path.name, key=artifact.id)
        if away is None:
            return
        for label, name in (("Model card", CARD), ("Script that runs it", SCRIPT)):
            _download(label, partial(away.texts.__getitem__, name), name, key=name)
        if TOKENIZER in away.files:
            _download("Tokenizer", away.files[TOKENIZER].read_bytes, TOKENIZER, key="tokenizer")


def _download(
    label: str, data: Callable[[], bytes | str], name: str, *, key: str, primary: bool = False
) -> None:
    st.download_button(
        escaped(label),
        data=data,
        file_name=file_name(name),
        mime="application/octet-stream",
        key=f"download-{key}",
        help=escaped(name),
        on_click="ignore",
        type="primary" if primary else "secondary",
    )
