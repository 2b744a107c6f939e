"""The page of one model, run without a browser: blocks, provenance, files, measurements and graph."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from pages import opened
from streamlit.testing.v1 import AppTest

from dashboard.architecture import architecture_html, drawn_blocks, steps_html
from dashboard.graph import graph_figure, levels, operator_frame
from dashboard.stored import JOINER, escaped
from edge_bench.errors import InvalidModel
from edge_bench.files import Home
from edge_bench.measure.operator_list import FileOperator, operators_in
from edge_bench.measure.tflite_operators import NAMES
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    RecurrentSpace,
    SearchSpace,
    Subnet,
    TransformerSpace,
    macs_of,
    operators,
)
from edge_bench.store import Record, ResultStore

Put = Callable[[Iterable[Record]], Home]
NASTY = "<script>alert(1)</script> [l](http://evil.example)"


def page(**link: str) -> AppTest:
    return opened(AppTest.from_function(_model_page, default_timeout=120), link)


@pytest.fixture
def measured(records: list[Record]) -> Subnet:
    """A subnet of the store that has files and measurements."""
    with_files = {one.subnet for one in records if isinstance(one, Artifact)}
    return next(one for one in records if isinstance(one, Subnet) and one.id in with_files)


def test_an_empty_store_says_how_to_fill_it(home: Home) -> None:
    assert [one.value for one in page().code] == [
        "make quickstart",
        f"edge-bench extract RUN --home {home.root}",
        f"edge-bench import net.onnx --data FOLDER --home {home.root}",
    ]
    assert not home.root.exists(), "looking makes no file"


def test_what_a_network_lacks_names_the_command_that_makes_it(records: list[Record], put: Put) -> None:
    subnets = [one for one in records if isinstance(one, Subnet)]
    home = put(subnets)
    shown = page(network=subnets[3].id)
    assert [one.value for one in shown.code] == [
        f"edge-bench export {subnets[3].id} --home {home.root}",
        f"edge-bench bench --all --home {home.root}",
    ]


def test_a_link_names_a_network_and_shows_its_blocks_files_and_measurements(
    records: list[Record], filled: Home, measured: Subnet
) -> None:
    shown = page(network=measured.id)
    assert _plain(shown.subheader[0].value) == measured.id
    drawing, steps = (one.proto.body for one in shown.get("html"))
    assert drawing.count('scope="row"') == len(drawn_blocks(measured.space, measured.arch))
    for word in ("kind: digits", measured.run, "once-for-all", measured.digest[:12], "2026-01-01"):
        assert word in steps
    files = [one for one in records if isinstance(one, Artifact) and one.subnet == measured.id]
    assert sorted(shown.dataframe[0].value["name"]) == sorted(one.name for one in files)
    links = list(shown.dataframe[1].value["link"])
    ids = {one.id for one in files}
    results = [one.id for one in records if isinstance(one, BenchmarkResult) and one.artifact in ids]
    assert sorted(links) == sorted(f"benchmarks?result={one}" for one in results)


def test_a_link_to_a_file_chooses_its_network(
    records: list[Record], filled: Home, measured: Subnet
) -> None:
    file = [one for one in records if isinstance(one, Artifact) and one.subnet == measured.id][-1]
    shown = page(file=file.id)
    assert shown.selectbox(key="network").value == measured.id
    assert shown.selectbox(key="file").value == file.id


def test_a_file_made_elsewhere_is_a_model_of_its_own(records: list[Record], put: Put) -> None:
    one = next(record for record in records if isinstance(record, Artifact))
    theirs = replace(one, id="theirs", subnet=None, data={"kind": "folder", "path": "/pictures"})
    put([*records, theirs])
    shown = page(network="theirs")
    assert "made elsewhere" in _told(shown)
    assert "path: /pictures" in shown.get("html")[0].proto.body


def test_the_graph_lists_the_operators_of_a_file(
    records: list[Record], filled: Home, measured: Subnet, tiny_onnx: Path, tiny_tflite: Path
) -> None:
    files = [one for one in records if isinstance(one, Artifact) and one.subnet == measured.id]
    for source, kind in ((tiny_onnx, "MatMul"), (tiny_tflite, "FULLY_CONNECTED")):
        file = next(one for one in files if one.file.endswith(source.suffix))
        shutil.copy(source, filled.absolute(file.file))
        shown = page(file=file.id)
        table = shown.dataframe[2].value
        assert list(table["operator"]) == [kind]
        assert list(table["reads"]) == ["input"]
        assert list(table["constants"]) == [1]
        assert f"1 operators: 1 {kind}" in _told(shown)


def test_a_file_that_is_no_model_is_told_and_the_rest_is_shown(filled: Home, measured: Subnet) -> None:
    shown = page(network=measured.id)
    assert "is not" in _plain(shown.warning[0].value)
    assert len(shown.dataframe) == 2


@pytest.mark.parametrize("place", ["../secret.onnx", "/etc/passwd", "artifacts/../../secret.onnx"])
def test_a_file_outside_the_home_is_not_read(
    place: str, records: list[Record], put: Put, measured: Subnet, tmp_path: Path, tiny_onnx: Path
) -> None:
    put(one for one in records if not isinstance(one, Artifact))
    shutil.copy(tiny_onnx, tmp_path / "secret.onnx")
    one = next(one for one in records if isinstance(one, Artifact) and one.subnet == measured.id)
    home = Home(tmp_path / "home")
    _add(home, replace(one, file=place))
    shown = page(network=measured.id)
    assert "does not lie under the home folder" in _plain(shown.warning[0].value)
    assert list(shown.dataframe[0].value["file"]) == ["not there"]


def test_a_link_inside_the_home_that_leads_out_is_not_read(
    records: list[Record], filled: Home, measured: Subnet, tmp_path: Path, tiny_onnx: Path
) -> None:
    one = next(one for one in records if isinstance(one, Artifact) and one.subnet == measured.id)
    path = filled.absolute(one.file)
    path.unlink()
    path.symlink_to(shutil.copy(tiny_onnx, tmp_path / "secret.onnx"))
    shown = page(file=one.id)
    assert "does not lie under the home folder" in _plain(shown.warning[0].value)


def test_names_with_markup_are_harmless(records: list[Record], put: Put, measured: Subnet) -> None:
    hostile = [
        replace(one, technique=NASTY, data={"kind": NASTY}) if one == measured else one for one in records
        if isinstance(one, Subnet)
    ]  # fmt: skip
    theirs = next(one for one in records if isinstance(one, Artifact))
    put([*hostile, replace(theirs, id="theirs", name=NASTY, subnet=None)])
    drawn = "".join(one.proto.body for one in page(network=measured.id).get("html"))
    assert "&lt;script&gt;" in drawn and "<script" not in drawn
    shown = page(network="theirs")
    assert shown.subheader[0].value == escaped(NASTY)


def test_blocks_add_up_to_the_operators_of_the_network(measured: Subnet) -> None:
    assert isinstance(measured.space, SearchSpace)
    blocks = drawn_blocks(measured.space, measured.arch)
    listed = operators(measured.space, measured.arch)
    assert sum(one.macs for one in blocks) == sum(one.macs for one in listed)
    assert sum(one.weights for one in blocks) == sum(one.weights for one in listed)
    named = [one for one in blocks if one.name.startswith("block ")]
    assert len(named) == len(measured.arch.blocks)
    for row, block in zip(named, measured.arch.blocks, strict=True):
        assert f"expand {block.expand}, {block.kernel}×{block.kernel} depthwise" in row.what
    for before, after in zip(blocks, blocks[1:], strict=False):
        assert (before.output_width, before.output_side) == (after.input_width, after.input_side)


@pytest.mark.parametrize(
    "space",
    [
        TransformerSpace(
            name="t", vocabulary=50, length=8, width=16, heads=2, hidden=32, outputs=50, encoder_layers=3,
            decoder_layers=2,
        ),
        RecurrentSpace(name="r", vocabulary=50, length=8, width=16, layers=2, outputs=50),
    ],
)  # fmt: skip
def test_layers_of_text_models_add_up_too(space: TransformerSpace | RecurrentSpace) -> None:
    arch = space.smallest()
    blocks = drawn_blocks(space, arch)
    assert sum(one.macs for one in blocks) == macs_of(space, arch)
    assert [one.name for one in blocks][:: len(blocks) - 1] == ["embedding", "head"]


def test_bars_are_in_proportion_and_read_aloud_as_a_table(measured: Subnet) -> None:
    blocks = drawn_blocks(measured.space, measured.arch)
    drawing = architecture_html(blocks, unit="px")
    widths = [
        float(one) for one in re.findall(r'eb-bar" aria-hidden="true" style="width:([\d.]+)%', drawing)
    ]
    most = max(one.macs for one in blocks)
    assert widths[::2] == pytest.approx([100 * one.macs / most for one in blocks], abs=0.06)
    assert max(widths[1::2]) == 100
    assert 'aria-describedby="eb-told"' in drawing and drawing.count('scope="col"') == 7


def test_a_step_escapes_what_it_tells() -> None:
    drawn = steps_html([(NASTY, [NASTY], 'x" onclick="alert(1)')])
    assert "<script" not in drawn and 'onclick="' not in drawn


def test_a_graph_places_each_operator_below_all_that_it_reads() -> None:
    diamond = [
        _operator("Conv", ["x"], "a"),
        _operator("Relu", ["a"], "b"),
        _operator("Conv", ["b"], "c"),
        _operator("Add", ["a", "c"], "d"),
    ]
    assert levels(diamond) == [0, 1, 2, 3]
    assert list(operator_frame(diamond)["reads"]) == ["input", "#0", "#1", "#0, #2"]
    figure = graph_figure(diamond, dark=False)
    solid, dotted = figure.data[:2]
    assert len(solid.x) == 3 * 3 and len(dotted.x) == 5
    assert sorted(text for trace in figure.data[2:] for text in trace.text) == [
        "0 Conv", "1 Relu", "2 Conv", "3 Add",
    ]  # fmt: skip


def test_every_operator_of_tflite_has_its_name() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    known = {name: number for name, number in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    assert {name: NAMES.index(name) for name in known} == known


def test_operators_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pickle"
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(InvalidModel, match=r"neither \.onnx nor \.tflite"):
        operators_in(path)


def _model_page() -> None:
    from dashboard.views.model import Model
    from edge_bench.files import default_home

    Model().show(default_home())


def _add(home: Home, *records: Record) -> None:
    with ResultStore(home.store_url) as store:
        store.add(*records)


def _operator(kind: str, inputs: list[str], output: str) -> FileOperator:
    return FileOperator(kind=kind, inputs=tuple(inputs), constants=0, outputs=(output,))


def _told(shown: AppTest) -> str:
    return "".join(_plain(one.value) for one in shown.markdown)


def _plain(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown.replace("**", "")).replace(JOINER, "")
