"""Search spaces: what their options mean, and what is said of options that make no space."""

from __future__ import annotations

import dataclasses

import pytest

from edge_bench import variants
from edge_bench.documents import from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.records import SearchSpace, operators
from supernet.run import open_space
from supernet.spaces import Space
from supernet.spaces.lite import Lite
from supernet.spaces.mobilenet_v3 import MobilenetV3


@pytest.mark.parametrize("kind", variants.names("supernet.spaces"))
def test_every_space_builds_with_its_defaults_and_survives_its_document(kind: str) -> None:
    space = variants.load(Space, "supernet.spaces", kind)().build(input_channels=3, classes=10)
    assert from_document(SearchSpace, to_document(space)) == space
    assert space.name == kind


def test_mobilenet_v3_is_the_once_for_all_space() -> None:
    # Cai et al.: 7371 options a stage, five stages, 25 resolutions; 565 MMACs at 10 classes, 7.7 M
    # parameters at 1000 were measured on the authors' own network.
    assert MobilenetV3().build(input_channels=3, classes=10).size() == 7371**5 * 25
    macs = {c: _sum(MobilenetV3().build(input_channels=3, classes=c), "macs") for c in (10, 1000)}
    assert macs[10] == pytest.approx(565e6, rel=0.01)
    weights = _sum(MobilenetV3().build(input_channels=3, classes=1000), "weights")
    assert weights == pytest.approx(7.7e6, rel=0.02)


@pytest.mark.parametrize("variant", [Lite, MobilenetV3])
def test_the_width_multiplier_multiplies_every_width(variant: type[Lite] | type[MobilenetV3]) -> None:
    plain = variant().build(input_channels=3, classes=10)
    doubled = variant(width_multiplier=2.0).build(input_channels=3, classes=10)
    assert doubled.stem_width == 2 * plain.stem_width
    assert doubled.head_width == 2 * plain.head_width
    assert doubled.feature_width == 2 * plain.feature_width
    assert [s.width for s in doubled.stages] == [2 * s.width for s in plain.stages]


def test_lite_has_nothing_that_quantizes_badly() -> None:
    space = Lite().build(input_channels=1, classes=10)
    kinds = {(op.kind, op.activation) for op in operators(space, space.largest())}
    assert {activation for _, activation in kinds} <= {"relu6", None}
    assert "squeeze_excite" not in {kind for kind, _ in kinds}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernels": (3, 4)}, "kernels holds 4; valid choices: 3, 5, 7"),
        ({"kernels": (5, 3)}, "ascending order"),
        ({"expands": (0, 2)}, "expands holds 0; valid choices: 1 to 8"),
        ({"depths": ()}, "depths is []"),
        ({"strides": (1, 2)}, "strides lists 2 stages and widths lists 3"),
        ({"strides": (1, 2, 3)}, "strides holds 3; valid choices: 1, 2"),
        ({"resolutions": (4, 32)}, "resolutions holds 4, but the strides shrink a map 8 times"),
        ({"width_multiplier": 0.0}, "width_multiplier is 0"),
        ({"widths": (), "strides": ()}, "widths is empty"),
        ({"widths": (0, 8, 8)}, "widths holds 0"),
        ({"divisor": 3}, "divisor holds 3; valid choices: 1, 2, 4, 8, 16, 32"),
    ],
)
def test_an_option_that_makes_no_space_is_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        dataclasses.replace(Lite(), **options).build(input_channels=1, classes=10)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_an_unknown_option_or_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown key 'space.width'.*Did you mean 'widths'"):
        open_space({"kind": "lite", "width": [8]})
    with pytest.raises(ConfigError, match="unknown space 'light'.*Did you mean 'lite'"):
        open_space({"kind": "light"})
    with pytest.raises(ConfigError, match="must name a kind"):
        open_space({})


def _sum(space: SearchSpace, what: str) -> int:
    return sum(getattr(operator, what) for operator in operators(space, space.largest()))
