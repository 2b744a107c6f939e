"""Advice on zeros: speed is promised only where kernels skip them, and what is missing is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import device_profiles
from edge_bench.choose.sparse_speed import CONDITIONS, Advice, Sparse, advise, processor_of
from edge_bench.records import operators
from supernet.models.lenet import Lenet
from supernet.models.mlp import Mlp
from supernet.models.resnet import Resnet
from supernet.spaces.lite import Lite
from supernet.spaces.mobilenet_v3 import MobilenetV3

ARM = "ARMv8-A, 64 bits"


def lite(channels: int = 3, sparsity: float = 0.8, **options: Any) -> Sparse:
    space = Lite(**{"kernels": (3, 5), **options}).build(input_channels=channels, classes=10)
    return Sparse(operators=operators(space, space.largest()), sparsity=sparsity)


def broken(told: Advice) -> list[str]:
    return [name for name, finding in told.findings.items() if not finding.holds]


def test_a_lite_network_of_many_zeros_is_faster_on_arm_in_litert() -> None:
    told = advise(lite(), "litert", ARM)
    assert (told.verdict, broken(told)) == ("faster", [])
    assert set(told.findings) == {one.name for one in CONDITIONS}


@pytest.mark.parametrize("isa", [ARM, "x86-64", "riscv64", None])
def test_no_speed_is_promised_in_onnx_runtime(isa: str | None) -> None:
    assert advise(lite(), "onnxruntime", isa).verdict == "size only"


@pytest.mark.parametrize("isa", ["x86-64", "x86_64", "AMD64"])
def test_no_speed_is_promised_on_x86(isa: str) -> None:
    assert advise(lite(sparsity=0.99), "litert", isa).verdict == "size only"


@pytest.mark.parametrize("isa", [None, "riscv64"])
def test_nothing_is_promised_where_the_processor_is_not_known(isa: str | None) -> None:
    assert advise(lite(), "litert", isa).verdict == "unknown"


@pytest.mark.parametrize(
    ("network", "condition", "change"),
    [
        (lite(sparsity=2 / 3), "zeros", "more than 67%"),
        (lite(kernels=(3, 5, 7)), "depthwise kernels", "kernels = [3, 5]"),
        (lite(stem_stride=1), "stem", "stem_stride = 2"),
        (lite(channels=1), "stem", "3 channels"),
        (replace(lite(), precision="int8"), "precision", "fp32"),
    ],
)
def test_what_keeps_a_network_dense_is_named_with_its_remedy(
    network: Sparse, condition: str, change: str
) -> None:
    told = advise(network, "litert", ARM)
    assert told.verdict == "size only" and broken(told) == [condition] and condition in told.reason
    assert change in told.findings[condition].change


def test_a_squeeze_excite_keeps_a_network_dense() -> None:
    space = MobilenetV3(kernels=(3, 5)).build(input_channels=3, classes=10)
    told = advise(Sparse(operators=operators(space, space.largest()), sparsity=0.9), "litert", ARM)
    assert "squeeze-excite" in broken(told) and "lite" in told.findings["squeeze-excite"].change


def test_a_large_classifier_that_stays_dense_is_warned_of() -> None:
    small = advise(lite(sparsity=0.8), "litert", ARM).findings["zeros"]
    space = Lite(kernels=(3, 5)).build(input_channels=3, classes=1000)
    large = advise(Sparse(operators=operators(space, space.smallest()), sparsity=0.8), "litert", ARM)
    assert "classifier" not in small.found
    assert large.findings["zeros"].holds and "must be pruned too" in large.findings["zeros"].found


def test_networks_of_whole_convolutions_stay_dense() -> None:
    for model in (Resnet(), Lenet()):
        layers = tuple(model.operators(channels=3, classes=10))
        told = advise(Sparse(operators=layers, sparsity=0.95), "litert", ARM)
        assert told.verdict == "size only" and "convolutions" in broken(told)


@pytest.mark.parametrize("layers", [tuple(Mlp().operators(channels=1, classes=10)), ()])
def test_a_network_without_convolutions_is_told_so_in_one_line(layers: tuple[Any, ...]) -> None:
    told = advise(Sparse(operators=layers, sparsity=0.95), "litert", ARM)
    assert told.verdict == "size only" and "no convolution" in told.reason and not told.findings


def test_every_profile_that_tells_an_instruction_set_tells_a_known_one() -> None:
    profiles = [device_profiles.load(name) for name in device_profiles.names()]
    told = {profile.id: processor_of(profile.isa.value) for profile in profiles if profile.isa}
    assert {told["raspberry-pi-4"], told["google-pixel-1"]} == {"arm"}
    assert told["intel-xeon-gold-6226"] == "x86" and "other" not in told.values()
