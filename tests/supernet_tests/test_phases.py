"""Where a step stands, what is open there, and how fast it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from supernet.distillation import label_loss, student_loss
from supernet.phases import Phase, narrowed, place_of, rate_at
from supernet.run import Training
from supernet.spaces.lite_32 import LiteAt32
from supernet.step import gather_gradients, networks_of, sandwich
from supernet.tasks._trainees import initialised

SPACE = LiteAt32().build(input_channels=1, classes=10)
PHASES = (Phase(name="largest", epochs=2, open=("resolution",)), Phase(name="all", epochs=3))


def test_steps_are_counted_through_the_phases() -> None:
    places = [place_of(PHASES, step, steps_per_epoch=4) for step in (0, 7, 8, 19)]
    assert [(p.phase.name, p.number, p.step, p.steps) for p in places] == [
        ("largest", 0, 0, 8),
        ("largest", 0, 7, 8),
        ("all", 1, 0, 12),
        ("all", 1, 11, 12),
    ]
    with pytest.raises(IndexError):
        place_of(PHASES, 20, steps_per_epoch=4)


def test_what_a_phase_keeps_closed_stays_at_its_maximum() -> None:
    generator = np.random.default_rng(0)
    space = narrowed(SPACE, Phase(name="kernel", epochs=1, open=("kernel",)))
    archs = [space.sample(generator) for _ in range(30)]
    assert all(SPACE.contains(arch) for arch in archs)
    assert {len(arch.blocks) for arch in archs} == {9}
    assert {block.expand for arch in archs for block in arch.blocks} == {4}
    assert {block.kernel for arch in archs for block in arch.blocks} == {3, 5}
    assert {arch.resolution for arch in archs} == {32}
    assert narrowed(SPACE, PHASES[1]) == SPACE


def test_a_step_trains_the_largest_the_smallest_and_random_ones() -> None:
    archs = sandwich(SPACE, 2, np.random.default_rng(0))
    assert archs[:2] == (SPACE.largest(), SPACE.smallest())
    assert len(set(archs)) == 4
    assert sandwich(narrowed(SPACE, PHASES[0]), 2, np.random.default_rng(0)) == (SPACE.largest(),)


def test_the_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [rate_at(step, 100, peak=2.0, warmup=0.25) for step in range(100)]
    assert max(rates) == pytest.approx(2.0) and int(np.argmax(rates)) == 24
    assert rates[0] == pytest.approx(2.0 / 25) and rates[-1] == pytest.approx(0.0)
    assert all(np.diff(rates[:25]) > 0) and all(np.diff(rates[24:]) < 0)
    assert rate_at(0, 1, peak=1.0, warmup=0.0) >= 0


def test_without_decay_the_rate_stays_at_its_peak() -> None:
    rates = [rate_at(step, 100, peak=2.0, warmup=0.25, decay="none") for step in range(100)]
    assert rates[:24] == [rate_at(step, 100, peak=2.0, warmup=0.25) for step in range(24)]
    assert set(rates[24:]) == {2.0}


def test_phases_without_a_rate_share_one_curve_and_one_with_a_rate_begins_another() -> None:
    phases = (
        Phase(name="a", epochs=1),
        Phase(name="b", epochs=2),
        Phase(name="c", epochs=1, learning_rate=0.1),
        Phase(name="d", epochs=1),
    )
    places = [place_of(phases, step, steps_per_epoch=2) for step in range(10)]
    assert [(p.curve.name, p.curve_step, p.curve_steps) for p in places] == [
        *(("a", step, 6) for step in range(6)),
        *(("c", step, 4) for step in range(4)),
    ]


def test_a_phase_may_open_some_of_the_largest_choices() -> None:
    phase = Phase(name="x", epochs=1, open=("depth", "expand"), choices={"depth": 2, "kernel": 2})
    stage = narrowed(SPACE, phase).stages[0]
    assert (stage.depths, stage.expands, stage.kernels) == ((2, 3), (2, 3, 4), (5,))


def test_with_a_frozen_teacher_a_step_trains_random_networks_alone() -> None:
    phase = Phase(name="x", epochs=1, teacher="frozen", random_subnets=5)
    archs = networks_of(SPACE, phase, Training(), np.random.default_rng(0))
    assert len(archs) == 5 and len(set(archs)) == 5
    assert SPACE.largest() not in archs and SPACE.smallest() not in archs


def test_a_step_gathers_the_mean_of_its_networks_gradients() -> None:
    network = initialised(SPACE, 0)
    archs = sandwich(SPACE, 1, np.random.default_rng(0))
    inputs, labels = torch.randn(8, 1, 16, 16), torch.arange(8)
    phase, training = PHASES[1], Training(distillation=0.0)
    gathered = {}
    for networks in (archs, *((arch,) for arch in archs)):
        network.zero_grad(set_to_none=True)
        gather_gradients(network, networks, inputs, labels, phase=phase, training=training)
        gradient = network.classifier.weight.grad
        assert gradient is not None
        gathered[len(gathered)] = gradient.clone()
    assert torch.allclose(gathered[0], (gathered[1] + gathered[2] + gathered[3]) / 3, atol=1e-6)


def test_what_is_taught_weighs_the_teacher_and_the_labels_as_stated() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(6, 4, generator=generator) for _ in range(2))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])

    def loss(teacher_weight: float, label_weight: float) -> float:
        return float(
            student_loss(
                logits,
                labels,
                teacher,
                teacher_weight=teacher_weight,
                label_weight=label_weight,
                smoothing=0.1,
            )
        )

    taught = float(-(teacher.softmax(1) * logits.log_softmax(1)).sum(1).mean())
    labelled = float(label_loss(logits, labels, smoothing=0.1))
    assert loss(1, 0) == pytest.approx(taught) and loss(0, 1) == pytest.approx(labelled)
    assert loss(0.7, 0.5) == pytest.approx(0.7 * taught + 0.5 * labelled)
