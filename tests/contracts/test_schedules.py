"""What every schedule must do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench import variants
from supernet.phases import DIMENSIONS, place_of
from supernet.run import SCHEDULES
from supernet.schedules import Schedule, allotted

NAMES = variants.names(SCHEDULES)


@pytest.fixture(params=NAMES)
def schedule(request: pytest.FixtureRequest) -> Schedule:
    return variants.load(Schedule, SCHEDULES, request.param)()


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 20, 605])
def test_phases_last_as_long_as_was_asked_and_the_last_opens_everything(
    schedule: Schedule, epochs: int
) -> None:
    phases = schedule.phases(epochs=epochs, learning_rate=0.1)
    assert sum(phase.epochs for phase in phases) == epochs
    assert all(phase.epochs >= 1 for phase in phases)
    assert set(phases[-1].open) == set(DIMENSIONS) and not phases[-1].choices
    assert len({phase.name for phase in phases}) == len(phases)


def test_what_is_open_stays_open(schedule: Schedule) -> None:
    phases = schedule.phases(epochs=605, learning_rate=0.1)
    for before, after in zip(phases, phases[1:], strict=False):
        assert set(before.open) <= set(after.open)


def test_the_largest_network_learns_before_it_teaches(schedule: Schedule) -> None:
    first = schedule.phases(epochs=605, learning_rate=0.1)[0]
    assert first.open == ("resolution",) and first.teacher == "in_place"


def test_every_step_has_a_place_on_a_curve_that_ends_with_the_run(schedule: Schedule) -> None:
    phases = schedule.phases(epochs=30, learning_rate=0.1)
    places = [place_of(phases, step, steps_per_epoch=2) for step in range(60)]
    assert all(0 <= place.curve_step < place.curve_steps for place in places)
    assert places[-1].curve_step == places[-1].curve_steps - 1


@given(
    st.integers(1, 2000),
    st.lists(st.floats(0, 10), min_size=1, max_size=8).filter(lambda shares: sum(shares) > 0),
)
def test_epochs_are_split_without_loss_and_near_their_shares(epochs: int, shares: list[float]) -> None:
    lengths = allotted(epochs, shares)
    assert sum(lengths) == epochs and min(lengths) >= 0 and lengths[-1] >= 1
    exact = [epochs * share / sum(shares) for share in shares]
    # The last phase takes an epoch where its share gives it none.
    assert all(abs(one - other) < 2 for one, other in zip(lengths, exact, strict=True))
