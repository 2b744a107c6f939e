"""Where a step stands, what is open there, and how fast it learns."""

from __future__ import annotations

import numpy as np
import pytest

from supernet.phases import Phase, narrowed, place_of, rate_at
from supernet.spaces.lite_32 import LiteAt32
from supernet.step import sandwich

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
