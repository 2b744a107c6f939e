"""Latency by depth: a base and a price a layer, from the files of a few depths."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.choose.depths import (
    MeasuredDepth,
    answering_depths,
    fit_depths,
    layer_prices_ms,
    predicted_bytes,
    predicted_depth,
)
from edge_bench.documents import from_document, to_document
from edge_bench.errors import NotFittedError
from edge_bench.records import FittedPredictor, TransformerSpace
from edge_bench.records.prediction import Unit

SPACE = TransformerSpace(
    name="any",
    vocabulary=20,
    length=32,
    width=8,
    heads=2,
    hidden=16,
    outputs=20,
    encoder_layers=6,
    decoder_layers=6,
)
DEPTHS = ((6, 6), (6, 3), (3, 6), (3, 3), (1, 1), (2, 5))


def fit(
    prices_ms: tuple[float, float, float], depths: Sequence[tuple[int, int]] = DEPTHS, **more: str
) -> FittedPredictor:
    base, encoder, decoder = prices_ms
    measured = [
        MeasuredDepth(
            arch=SPACE.spread({"encoder": e, "decoder": d}),
            latency_ms=base + e * encoder + d * decoder,
            size_bytes=1000 + 100 * e + 200 * d,
        )
        for e, d in depths
    ]
    return fit_depths(
        SPACE, measured, unit="network", device="a-board", runtime="onnxruntime", precision="fp32"
    )


price = st.floats(0.01, 10)


@settings(deadline=None, max_examples=25)
@given(prices_ms=st.tuples(price, price, price), encoder=st.integers(1, 6), decoder=st.integers(1, 6))
def test_any_depth_is_told_from_a_few(
    prices_ms: tuple[float, float, float], encoder: int, decoder: int
) -> None:
    fitted = from_document(FittedPredictor, to_document(fit(prices_ms)))
    arch = SPACE.spread({"encoder": encoder, "decoder": decoder})
    told = predicted_depth(fitted, SPACE, arch)
    assert told.latency_ms == pytest.approx(
        prices_ms[0] + encoder * prices_ms[1] + decoder * prices_ms[2], rel=1e-4
    )
    assert told.warning == ""
    assert predicted_bytes(fitted, SPACE, arch) == 1000 + 100 * encoder + 200 * decoder
    assert fitted.held_out.networks == len(DEPTHS) and fitted.held_out.mape < 1e-3


def test_the_prices_of_layers_are_told_apart() -> None:
    assert layer_prices_ms(fit((1.0, 0.5, 0.25))) == pytest.approx(
        {"base": 1.0, "encoder_layers": 0.5, "decoder_layers": 0.25}
    )


def test_a_depth_beyond_those_measured_is_warned_of() -> None:
    fitted = fit((1.0, 0.5, 0.25), [(1, 1), (1, 3), (3, 1), (3, 3)])
    assert "encoder_layers is 6" in predicted_depth(fitted, SPACE, SPACE.largest()).warning


@pytest.mark.parametrize(
    ("depths", "said"),
    [
        ([(6, 6), (3, 3), (1, 1)], "3 depths of networks of 'any' are there to fit on; 4 are needed"),
        ([(6, 6), (3, 3), (2, 2), (1, 1)], "do not tell encoder_layers and decoder_layers apart"),
    ],
)
def test_too_few_depths_are_told(depths: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(NotFittedError, match=said) as error:
        fit((1.0, 0.5, 0.25), depths)
    assert "export" in error.value.hint


def test_a_predictor_answers_for_its_own_kind_of_file_only() -> None:
    fitted = fit((1.0, 0.5, 0.25))

    def answer(unit: Unit = "network", runtime: str = "onnxruntime", precision: str = "fp32") -> bool:
        found = answering_depths([fitted], SPACE, runtime=runtime, precision=precision, unit=unit)
        return found is fitted

    assert answer()
    assert not answer(unit="step") and not answer(runtime="litert") and not answer(precision="int8")
