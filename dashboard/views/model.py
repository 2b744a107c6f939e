"""Model: one network or file, block by block, from its data to its files and what was measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from dashboard import words
from dashboard.architecture import architecture_html, drawn_blocks, steps_html
from dashboard.benchmark_frames import minute_of, results_frame
from dashboard.charts import shown
from dashboard.columns import LATENCY_COLUMNS
from dashboard.controls import column_config, is_dark
from dashboard.frames import family_of, kind_of
from dashboard.graph import MOST_DRAWN, graph_figure, kinds_text, operator_frame, told_columns
from dashboard.shell import command
from dashboard.stored import Stored, escaped, file_within, stored
from dashboard.trained import run_of
from dashboard.views import View
from edge_bench.errors import EdgeBenchError
from edge_bench.files import Home
from edge_bench.measure.operator_list import FileOperator, operators_in
from edge_bench.records import Artifact, BenchmarkResult, Metric, PlainSpace, SearchSpace, Subnet
from edge_bench.records.quality import metric_word, told, value_text
from edge_bench.runs import Run

NETWORK, FILE = "network", "file"
DIGITS_TOLD = 12
GRAPH_HEIGHT = 560


class Model(View):
    """What it shows is of one subnet and its files, or of one file that was made elsewhere."""

    title = "Model"
    place = 5

    def show(self, home: Home) -> None:
        records = stored(home)
        networks = _networks(records) if records else []
        if records is None or not networks:
            st.subheader("No model yet")
            st.write("The store holds no network and no file. Either of these brings some:")
            st.code("make quickstart", language="shell")
            st.code(command(["extract", "RUN"], home), language="shell")
            st.code(command(["import", "net.onnx", "--data", "FOLDER"], home), language="shell")
            st.caption(f"home: {escaped(str(home.root))}")
            return
        _follow_file_link(records)
        chosen = st.selectbox("Network, or file made elsewhere", networks, key=NETWORK, bind="query-params")
        subnet = next((one for one in records.subnets if one.id == chosen), None)
        files = [one for one in records.artifacts if _owner(one, records) == chosen]
        results = _results(records, files)
        _heading(subnet, files)
        _architecture(subnet)
        _provenance(subnet, files, results, home)
        _files(files, home)
        _measurements(results, home)
        _graph(files, home)


def _networks(records: Stored) -> list[str]:
    """Return the ids of subnets and of files that were made elsewhere, the newest first."""
    made = [(one.created, one.id) for one in records.subnets]
    made += [(one.created, one.id) for one in records.artifacts if _owner(one, records) == one.id]
    return [identity for _, identity in sorted(made, reverse=True)]


def _owner(artifact: Artifact, records: Stored) -> str:
    """Return the id of the subnet that a file is of, or of the file itself, of which a step is a part."""
    if artifact.subnet is not None and any(one.id == artifact.subnet for one in records.subnets):
        return artifact.subnet
    return artifact.step_of or artifact.id


def _follow_file_link(records: Stored) -> None:
    """Choose the network of the file that a link names, where it names no network."""
    linked = next((one for one in records.artifacts if one.id == st.query_params.get(FILE)), None)
    if linked is not None and NETWORK not in st.query_params and NETWORK not in st.session_state:
        st.session_state[NETWORK] = _owner(linked, records)


def _results(records: Stored, files: Sequence[Artifact]) -> list[BenchmarkResult]:
    ours, digests = {one.id for one in files}, {one.digest for one in files}
    found = [
        one
        for one in records.results
        if one.artifact in ours or (one.artifact is None and one.digest in digests)
    ]
    return sorted(found, key=lambda one: one.created, reverse=True)


def _heading(subnet: Subnet | None, files: Sequence[Artifact]) -> None:
    name = subnet.id if subnet else files[0].name
    st.subheader(escaped(name), anchor=False)
    metrics = subnet.metrics if subnet else files[0].metrics
    task = (subnet.task if subnet else files[0].task).replace("_", " ")
    qualities = ", ".join(f"{told(metric)} ({metric.split})" for metric in metrics)
    st.markdown(escaped(f"{task}: {qualities}" if qualities else task))


def _architecture(subnet: Subnet | None) -> None:
    st.markdown("**Architecture**")
    if subnet is None:
        st.write("It was made elsewhere, so its blocks are not known. Its operators are, below.")
        return
    images = isinstance(subnet.space, SearchSpace) or (
        isinstance(subnet.space, PlainSpace) and subnet.preprocessing is not None
    )
    try:
        blocks = drawn_blocks(subnet.space, subnet.arch)
    except EdgeBenchError as error:
        st.warning(escaped(error.message))
        return
    st.html(architecture_html(blocks, unit="px" if images else "tokens" if subnet.text else "wide"))


def _provenance(
    subnet: Subnet | None, files: Sequence[Artifact], results: Sequence[BenchmarkResult], home: Home
) -> None:
    st.markdown("**Provenance** · from data to file")
    data = subnet.data if subnet else files[0].data or {}
    steps: list[tuple[str, Sequence[str], str]] = [
        ("Data", [f"{key}: {value}" for key, value in data.items()] or ["not told"], "")
    ]
    if subnet:
        run, why = _run(subnet, home)
        address = f"families?{urlencode({'run': subnet.run})}" if run else ""
        steps += [
            ("Run", [subnet.run, *(_of_run(run) if run else [why])], address),
            ("Technique", [family_of(subnet.technique), *_zeros(subnet)], ""),
            (
                "Subnet",
                [
                    f"{subnet.params:,} parameters",
                    f"{subnet.macs:,} MACs",
                    f"digest {subnet.digest[:DIGITS_TOLD]}",
                    minute_of(subnet.created),
                ],
                "",
            ),
        ]
    kinds = sorted({kind_of(one.format, one.precision) for one in files})
    devices = sorted({one.device for one in results})
    newest = max((one.created for one in files), default="")
    steps += [
        ("Files", [f"{len(files)} in all", *kinds, minute_of(newest)] if files else ["none yet"], ""),
        (
            "Measurements",
            [f"{len(results)} in all", *devices, minute_of(results[0].created)]
            if results
            else ["none yet"],
            "",
        ),
    ]
    st.html(steps_html(steps))


def _run(subnet: Subnet, home: Home) -> tuple[Run | None, str]:
    try:
        return run_of(home, subnet.run), ""
    except EdgeBenchError:
        return None, "its folder cannot be read here"


def _of_run(run: Run) -> list[str]:
    steps = f", {run.outcome.steps:,} steps" if run.outcome else ", not finished"
    versions = [f"{name} {one}" for name, one in run.versions.items() if name in ("edge_bench", "torch")]
    return [
        f"{run.epochs:,} epochs{steps}",
        f"{run.examples:,} examples, seed {run.config.get('seed', 0)}",
        ", ".join(versions),
    ]


def _zeros(subnet: Subnet) -> list[str]:
    return [f"{100 * subnet.sparsity:.3g} % of the weights zero"] if subnet.sparsity else []


def _files(files: Sequence[Artifact], home: Home) -> None:
    st.markdown("**Files**")
    if not files:
        st.write("It is not exported yet. This writes and checks its files:")
        st.code(command(["export", st.session_state[NETWORK]], home), language="shell")
        return
    rows = []
    for one in files:
        parity = one.parity
        here = file_within(home, one.file) is not None
        rows.append(
            {
                "name": one.name,
                "kind": kind_of(one.format, one.precision) + (" of steps" if one.step_of else ""),
                "encoding": one.encoding,
                **_qualities(one.metrics),
                "size_kb": one.size_bytes / 1e3,
                "difference": parity.max_abs_error if parity else None,
                "allowed": parity.tolerance if parity else None,
                "border": parity.border_max_abs_error if parity else None,
                "digest": one.digest[:DIGITS_TOLD],
                "created": minute_of(one.created),
                "file": Path(one.file).name if here else "not there",
            }
        )
    number = st.column_config.NumberColumn
    st.dataframe(
        pd.DataFrame(rows).dropna(axis="columns", how="all"),
        hide_index=True,
        column_config={
            "size_kb": number("size kB", format="%.4g"),
            "difference": number(
                "parity",
                format="%.2e",
                help="largest difference of a logit from the network",
            ),
            "allowed": number("allowed", format="%.0e", help="above it there would be no file"),
            "border": number("parity at borders", format="%.2e"),
        },
        placeholder="–",
        key="files",
    )


def _measurements(results: Sequence[BenchmarkResult], home: Home) -> None:
    st.markdown("**Measurements**")
    if not results:
        st.write("None of its files is measured yet. This measures all that are not:")
        st.code(command(["bench", "--all"], home), language="shell")
        return
    links = [f"benchmarks?{urlencode({'result': one.id})}" for one in results]
    frame = results_frame(results)
    frame.insert(0, "link", links)
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            **column_config(LATENCY_COLUMNS),
            "link": st.column_config.LinkColumn("benchmark", display_text="open"),
        },
        placeholder="–",
        key="measurements",
    )


def _graph(files: Sequence[Artifact], home: Home) -> None:
    if not files:
        return
    st.markdown("**Graph of a file** · read from its bytes, nothing is loaded")
    called = {one.id: one for one in files}
    chosen = called[st.selectbox("File", list(called), key=FILE, bind="query-params")]
    path = file_within(home, chosen.file)
    if path is None:
        st.warning("The file is gone, or does not lie under the home folder, and is not read.")
        return
    try:
        operators = _operators(str(path), path.stat().st_mtime_ns)
    except (EdgeBenchError, OSError) as error:
        st.warning(escaped(str(error)))
        return
    st.markdown(f"{len(operators):,} operators: {escaped(kinds_text(operators))}")
    on_graph, on_table = st.columns([2, 3], gap="medium")
    figure = graph_figure(operators, dark=is_dark())
    high = min(GRAPH_HEIGHT, int(figure.layout.height) + 60)
    with on_graph, st.container(height=high):
        shown(figure, words.graph(operators, kinds_text(operators)), key="graph")
    number = st.column_config.NumberColumn
    on_table.dataframe(
        told_columns(operator_frame(operators)),
        hide_index=True,
        height=high,
        column_config={
            "number": number("#"),
            "reads": st.column_config.TextColumn(help="the operators whose outputs it reads"),
            "constants": number(help="weights and other constants that it reads"),
            "output_kb": number("writes kB", format="%.4g", help="its first output, batch 1"),
        },
        placeholder="–",
        key="operators",
    )
    cut = f" The first {MOST_DRAWN} are drawn." if len(operators) > MOST_DRAWN else ""
    st.caption(
        "From the input at the top to the output at the bottom; an operator stands below all that it "
        f"reads, and dotted lines go past others. The table lists the same.{cut}"
    )


@st.cache_resource(max_entries=20, show_spinner="reading the file")
def _operators(path: str, changed: int) -> tuple[FileOperator, ...]:
    return operators_in(Path(path))


def _qualities(metrics: Sequence[Metric]) -> dict[str, str]:
    """Return what was reached on each split, by its name."""
    return {str(one.split): f"{metric_word(one.name)} {value_text(one.name, one.value)}" for one in metrics}
