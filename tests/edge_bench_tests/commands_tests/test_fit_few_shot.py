"""`edge-bench fit --device NEW --from DEVICES`: chosen, measured, fitted, stored, and asked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_bench import errors
from edge_bench.choose.costs import NetworkLatency, latency_table
from edge_bench.choose.encoding import Encoding
from edge_bench.choose.few_shot import Sampling, choose_networks, fit_transfer, sources_of
from edge_bench.choose.fitting import fit_predictor, network_latencies, predict, source_column
from edge_bench.cli import main
from edge_bench.documents import from_document, to_document
from edge_bench.files import Home
from edge_bench.records import FittedPredictor, Preprocessing, SearchSpace, Subnet, macs_of
from edge_bench.store import ResultStore
from supernet.spaces.lite_32 import LiteAt32

FEW = ("--samples", "5", "--held-out", "2", "--runtimes", "onnxruntime")


def board(space: SearchSpace, *, device: str = "board", share: float = 1.0) -> FittedPredictor:
    """A predictor of another device, where a network takes as long as its MACs tell."""
    archs = Encoding(space).decode(np.unique(Encoding(space).sample(60, np.random.default_rng(0)), axis=0))
    latencies = [1 + share * macs_of(space, arch) / 1e6 for arch in archs]
    half = len(archs) // 2
    return fit_predictor(
        space,
        archs[:half],
        latencies[:half],
        kind="ridge",
        device=device,
        runtime="onnxruntime",
        threads=1,
        held_out_archs=archs[half:],
        held_out_latencies_ms=latencies[half:],
    )


def fitted_to(
    space: SearchSpace, sources: tuple[FittedPredictor, ...], sampling: Sampling
) -> FittedPredictor:
    """Fit a device that takes 1.3 times as long as the first source."""
    archs = [*sampling.samples, *sampling.held_out]
    latencies = 1.3 * network_latencies(sources[0], space, archs)
    return fit_transfer(
        space, sources, sampling, latencies.tolist(), device="new", runtime="onnxruntime", threads=1
    )


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return LiteAt32(stem_stride=2, widths=(8, 12), strides=(1, 2), stem_width=8, head_width=24).build(
        input_channels=1, classes=5
    )


@pytest.fixture
def subnet(space: SearchSpace) -> Subnet:
    """A subnet that nobody trained: its space is what counts."""
    arch = space.largest()
    return Subnet(
        id="tiny",
        run="tiny-run",
        technique="once_for_all",
        space=space,
        arch=arch,
        program="runs/tiny/tiny.pt2",
        digest="0" * 64,
        params=1,
        macs=macs_of(space, arch),
        task="classification",
        metrics=(),
        class_names=tuple("01234"),
        preprocessing=Preprocessing(size=arch.resolution, channels=1, mean=(0.5,), std=(0.3,)),
        data={"kind": "digits"},
        created="2024-05-21T00:00:00+00:00",
    )


@pytest.fixture
def stored(subnet: Subnet, home: Home) -> FittedPredictor:
    """A subnet in the store, so that its space is known, and a predictor of `board`."""
    predictor = board(subnet.space)
    with ResultStore(home.store_url) as store:
        store.add(subnet, predictor)
    return predictor


def test_a_new_device_is_measured_told_from_another_and_stored(
    stored: FittedPredictor, home: Home, subnet: Subnet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--from", "board", *FEW, "--json", "--quiet"]) == errors.OK
    (told,) = json.loads(capsys.readouterr().out)["predictors"]
    assert (told["device"], told["from"], told["fitted"]) == ("this-machine", [stored.id], 5)
    assert told["held_out"]["networks"] == 2
    uncertain = [one["uncertainty_left"] for one in told["samples"]]
    assert uncertain == sorted(uncertain, reverse=True)
    assert len({one["arch"] for one in told["samples"]}) == 5
    with ResultStore(home.store_url) as store:
        (kept,) = store.predictors(device="this-machine")
    prediction = predict(kept, subnet.space, subnet.arch)
    assert 0 < prediction.low_ms <= prediction.latency_ms <= prediction.high_ms


def test_people_see_what_was_chosen_and_how_far_it_errs(
    stored: FittedPredictor, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--samples", "5", "--held-out", "0", "--runtimes", "onnxruntime")
    assert main(["fit", "--from", "board", *few, "--quiet"]) == errors.OK
    text = capsys.readouterr().out
    assert "told from board and 5 measured networks" in text
    assert "uncertainty left" in text and "leaving each sample out in turn" in text
    assert "next: edge-bench pick --device this-machine" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--samples", "10"), "--from which devices tell it"),
        (("--from", "this-machine"), "stands under --device and under --from"),
        (("--from", "tablet"), "no predictor of device 'tablet'"),
        (("--from", "board", "--samples", "2"), "--samples must be 5 or more"),
        (("--from", "board", "--device", "nobody"), "'nobody' is no device of yours"),
        (("--from", "board", "--nets", "20"), "--nets does not go with --from"),
        (("--from", "board", "--compare"), "--compare does not go with --from"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    stored: FittedPredictor, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *arguments, "--runtimes", "onnxruntime", "--quiet"]) == errors.ConfigError.status
    assert told in capsys.readouterr().err


def test_what_is_stored_holds_all_it_needs_of_other_devices(space: SearchSpace) -> None:
    sources = (board(space), board(space, device="phone", share=3.0))
    sampling = choose_networks(space, sources, samples=8, held_out=5, seed=1)
    fitted = fitted_to(space, sources, sampling)
    again = from_document(FittedPredictor, json.loads(json.dumps(to_document(fitted))))
    arch = space.largest()
    assert predict(again, space, arch) == predict(fitted, space, arch)
    assert fitted.held_out.mape < 0.05


def test_a_search_is_given_the_latency_that_is_predicted(space: SearchSpace) -> None:
    sources = (board(space),)
    fitted = fitted_to(space, sources, choose_networks(space, sources, samples=8, held_out=0, seed=1))
    encoding = Encoding(space)
    table = latency_table(encoding, fitted)
    assert isinstance(table, NetworkLatency) and source_column(sources[0]) in table.columns
    rows = encoding.sample(20, np.random.default_rng(2))
    predicted = [predict(fitted, space, arch).latency_ms for arch in encoding.decode(rows)]
    assert table(rows) == pytest.approx(predicted)


def test_held_out_networks_are_none_of_the_samples(space: SearchSpace) -> None:
    sampling = choose_networks(space, (board(space),), samples=10, held_out=10, seed=3)
    assert not {one.key for one in sampling.samples} & {one.key for one in sampling.held_out}


def test_the_newest_predictor_of_the_runtime_is_taken(space: SearchSpace) -> None:
    first = board(space)
    other = replace(first, id="other", runtime="litert", created="2100-01-01T00:00:00+00:00")
    newer = replace(first, id="newer", created="2099-01-01T00:00:00+00:00")
    found = sources_of([first, other, newer], ["board"], space, runtime="onnxruntime")
    assert [one.id for one in found] == ["newer"]
