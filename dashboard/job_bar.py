"""What the server does in the background, told on top of a page, and the buttons that begin it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import streamlit as st

from dashboard.frames import milliseconds
from dashboard.jobs import Job, Jobs
from dashboard.measuring import Before, Steps, target_of, to_learn, to_measure
from dashboard.stored import Stored, candidates_of, escaped
from edge_bench.files import Home
from edge_bench.records import Candidate

# While something runs its progress is looked at every second, else whether another tab began something.
BUSY_S, IDLE_S = 1.0, 5.0
# It stays in view below the navigation: who began something may have scrolled far down to do so.
STYLE = """<style>
[data-testid=stLayoutWrapper]:has(.st-key-under-way) {
  position: sticky; top: 3.75rem; z-index: 99; backdrop-filter: blur(1.5rem);
}
</style>"""
# What commands say where nobody watches a progress bar: the name of a loop and how long it is.
_LOOP = re.compile(r"\w+ \(\d+\)")


def jobs_of(home: Home) -> Jobs:
    """Return the jobs of this server, the same for each session and tab."""
    return _jobs(str(home.root.absolute()))


def job_bar(records: Stored, home: Home) -> None:
    """Show what runs, waits or has ended, and follow it; the page is shown again when that changes."""
    jobs = jobs_of(home)
    # Before what is shown, so that nothing is missed in between.
    version = jobs.version
    busy = any(job.active for job in jobs.all())
    st.fragment(_followed, run_every=BUSY_S if busy else IDLE_S)(jobs, version, records, home)


def measure_button(
    one: Candidate, records: Stored, home: Home, *, own: Collection[str], label: str, primary: bool = False
) -> None:
    """Let a candidate be measured now; where it cannot be, say why, and what would help."""
    steps = to_measure(one, records, home, own=own)
    note = Before(target=target_of(one), device=one.device, candidate=one)
    begin_button(
        steps,
        home,
        key=f"measure:{one.device}:{note.target}",
        title=one.name,
        label=label,
        note=note,
        primary=primary,
    )


def begin_button(
    asked: Steps,
    home: Home,
    *,
    key: str,
    title: str,
    label: str,
    note: Before | None = None,
    primary: bool = False,
) -> None:
    """Let something be done in the background, unless it is under way; where it cannot be, say why."""
    if asked.why_not:
        with st.expander(f"{label}: not from here"):
            st.write(escaped(asked.why_not))
            if asked.command:
                st.code(asked.command, language="shell")
        return
    jobs = jobs_of(home)
    known = jobs.about(key)
    under_way = known is not None and known.active
    pressed = st.button(
        escaped(label),
        key=key,
        disabled=under_way,
        help="it is under way: see the top of the page" if under_way else None,
        type="primary" if primary else "secondary",
    )
    if pressed:
        jobs.add(key, title, asked.steps, note=note)
        st.rerun()


@st.cache_resource(show_spinner=False)
def _jobs(root: str) -> Jobs:
    return Jobs(Home(Path(root)))


def _followed(jobs: Jobs, version: int, records: Stored, home: Home) -> None:
    if jobs.version != version:
        st.rerun()
    told = jobs.all()
    if any(job.active for job in told):
        st.html(STYLE)
        with st.container(key="under-way"):
            for job in told:
                if job.active:
                    with st.container(border=True, horizontal=True, vertical_alignment="center"):
                        st.markdown(_under_way(job))
                        st.button("Cancel", key=f"cancel-{job.id}", on_click=jobs.cancel, args=(job.id,))
    for job in told:
        if not job.active:
            with st.container(border=True, horizontal=True, vertical_alignment="center"):
                with st.container():
                    _tell_end(job, records, home)
                st.button("Dismiss", key=f"dismiss-{job.id}", on_click=jobs.dismiss, args=(job.id,))


def _under_way(job: Job) -> str:
    if job.state == "queued":
        return f"**{escaped(job.title)}** · waits for what runs to end"
    told = [job.does]
    if len(job.steps) > 1:
        told[0] = f"step {job.step + 1} of {len(job.steps)}: {job.does}"
    if job.progress is not None:
        told.append(job.progress.stage)
        told += [f"block {job.progress.blocks}"] if job.progress.blocks else []
    elif job.said and not _LOOP.fullmatch(job.said):
        told.append(job.said)
    told.append(f"{job.elapsed_s:.0f} s")
    return f"**{escaped(job.title)}** · {escaped(' · '.join(told))}"


def _tell_end(job: Job, records: Stored, home: Home) -> None:
    name = escaped(job.title)
    if job.state == "cancelled":
        st.markdown(f"**{name}** · cancelled")
    elif job.state == "failed":
        st.error(f"**{name}** · {escaped(job.does)} failed: {escaped(job.message)}")
        if job.hint:
            st.caption(escaped(job.hint))
    elif isinstance(job.note, Before):
        _tell_measured(job.note, records, home)
    else:
        st.markdown(f"**{name}** · done: {escaped(job.does)}")


def _tell_measured(before: Before, records: Stored, home: Home) -> None:
    """Say what was measured, how good the prediction was, and how the predictor comes to know."""
    found = candidates_of(records, before.device)
    now = next((one for one in found if one.artifact == before.target), None)
    name = escaped(before.candidate.name)
    if now is None or now.source != "measured":
        st.markdown(f"**{name}** · measured, but its store has no such measurement any more")
        return
    span = f"{milliseconds(now.latency_low_ms)} to {milliseconds(now.latency_high_ms)}"
    told = f"measured: {milliseconds(now.latency_ms)} ({span}), {now.verdict}."
    was = before.candidate
    if was.source != "predicted":
        st.markdown(f"**{name}** · {escaped(told)}")
        return
    inside = was.latency_low_ms <= now.latency_ms <= was.latency_high_ms
    low, high = milliseconds(was.latency_low_ms), milliseconds(was.latency_high_ms)
    told += (
        f" Predicted were {milliseconds(was.latency_ms)} ({low} to {high}): it lies "
        f"{'within' if inside else 'outside of'} that."
    )
    st.markdown(f"**{name}** · {escaped(told)}")
    words, command = to_learn(was, records, home)
    with st.expander("What the predictor learns from it"):
        st.write(escaped(words))
        st.code(command, language="shell")
