"""The whole way in a browser: from a device to a zip whose model gives the accuracy that was told."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import PATIENCE_MS, served, settle
from drawn_digits import share_right
from playwright.sync_api import Page, expect

from edge_bench import cli, errors
from edge_bench.choose.candidates import RUNTIMES
from edge_bench.choose.features import features
from edge_bench.choose.fitting import fit_predictor
from edge_bench.files import Home
from edge_bench.records import FittedPredictor, SearchSpace
from edge_bench.store import ResultStore

pytestmark = pytest.mark.browser

# Exporting and measuring, on a machine that does other things too.
MEASURED_MS = 300_000
OTHER = "other-board"


@pytest.fixture(scope="module")
def home(trained: tuple[Path, Home], tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with subnets of a tiny run, none of them exported, and predictors of two devices."""
    run, theirs = trained
    home = Home(tmp_path_factory.mktemp("journey") / "home")
    shutil.copytree(theirs.root, home.root)
    words = ["extract", run.name, "--count", "2", "--screen", "3", "--home", str(home.root)]
    assert cli.main(words) == errors.OK
    with ResultStore(home.store_url) as store:
        space = store.subnets()[0].space
        assert isinstance(space, SearchSpace)
        store.add(
            *(
                predictor(space, device, runtime, slower)
                for runtime in RUNTIMES.values()
                for device, slower in (("this-machine", 1.0), (OTHER, 5.0))
            )
        )
    return home


def predictor(space: SearchSpace, device: str, runtime: str, slower: float) -> FittedPredictor:
    """Return a predictor of made-up latencies, within some 10 %."""
    generator = np.random.default_rng(3)
    drawn = {arch.key: arch for arch in (space.sample(generator) for _ in range(40))}
    archs = list(drawn.values())
    latencies = [
        slower * (0.02 + 1e-7 * features(space, arch)["macs"]) * generator.normal(1, 0.04) for arch in archs
    ]
    return fit_predictor(
        space,
        archs[8:],
        latencies[8:],
        kind="non_negative",
        device=device,
        runtime=runtime,
        threads=1,
        held_out_archs=archs[:8],
        held_out_latencies_ms=latencies[:8],
    )


@pytest.fixture(scope="module")
def address(home: Home) -> Iterator[str]:
    with served(home) as place:
        yield place


def test_from_a_device_to_a_model_that_is_as_good_as_it_was_told(
    address: str, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page(f"{address}/pick?device={OTHER}")
    card = page.get_by_role("radio", name="this-machine")
    expect(page.get_by_role("radio", name=OTHER)).to_be_checked()
    expect(page.get_by_text("no device of yours")).to_be_hidden()
    page.get_by_role("radio", name=OTHER).press("ArrowLeft")
    settle(page)
    expect(card).to_be_checked()
    slider = page.get_by_role("slider")
    slider.press("ArrowLeft")
    settle(page)
    page.get_by_text("balanced", exact=True).click()
    settle(page)
    page.get_by_text("accuracy", exact=True).first.click()
    settle(page)
    expect(page.get_by_text("meets the budget").first).to_be_visible()
    best = page.locator("h3").inner_text()
    assert points(page) == (0, 4), "nothing is measured yet"

    page.get_by_role("button", name="Measure it now").press("Enter")
    bar = page.get_by_text(re.compile(r"step 1 of 2: writing its file"))
    expect(bar).to_be_visible()
    page.reload()
    expect(bar.or_(page.get_by_text("step 2 of 2"))).to_be_visible()
    other_tab = open_page(f"{address}/pick")
    expect(other_tab.get_by_role("button", name="Cancel")).to_be_visible()
    told = page.get_by_text(re.compile(r"measured: .* ms \("))
    expect(told).to_be_visible(timeout=MEASURED_MS)
    settle(page)
    assert points(page)[0] == 1, "what was hollow is filled"
    expect(other_tab.get_by_text(re.compile(r"measured: .* ms \("))).to_be_visible(timeout=PATIENCE_MS)

    # The measured file may be slower than was predicted, and than the same network's of the other format.
    page.goto(f"{address}/pick")
    settle(page)
    picked = page.locator("h3").inner_text()
    assert picked.rsplit("-", 2)[0] == best.rsplit("-", 2)[0], "it is as accurate as before"
    accuracy = float(page.get_by_test_id("stMetricValue").first.inner_text().rstrip(" %")) / 100
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Everything as one zip").click()
    assert waiting.value.suggested_filename == f"{picked}.zip"
    with zipfile.ZipFile(waiting.value.path()) as archive:
        archive.extractall(tmp_path / "taken")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    right = share_right(tmp_path / "taken" / "run_model.py", pictures)
    assert right == pytest.approx(accuracy, abs=5e-5)
    gate = page.get_by_test_id("stCode").filter(has_text="edge-bench check").inner_text()
    assert gate.strip() in (tmp_path / "taken" / "check.sh").read_text(encoding="utf-8")


def points(page: Page) -> tuple[int, int]:
    """Return how many points of the chart are measured and how many there are."""
    forms: list[str] = page.locator(".js-plotly-plot").evaluate(
        "chart => chart.data.filter(trace => trace.customdata).flatMap(trace => [...trace.marker.symbol])"
    )
    return sum("open" not in form for form in forms), len(forms)
