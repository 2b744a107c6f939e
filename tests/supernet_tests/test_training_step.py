"""Points of training as people name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bench.errors import ConfigError
from supernet.training_step import TrainingStep


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [("20it", 20, "20it"), ("3ep", 150, "3ep"), ("3ep20it", 170, "3ep20it"), ("70it", 70, "1ep20it")],
)
def test_epochs_and_iterations_are_read(text: str, count: int, shown: str) -> None:
    step = TrainingStep.parse(text, steps_per_epoch=50)
    assert (step.count, str(step)) == (count, shown)


def test_the_start_is_a_step() -> None:
    step = TrainingStep.parse("0ep", steps_per_epoch=50)
    assert (step.count, step.epochs, step.iterations, str(step)) == (0, 0, 0, "0it")


@given(count=st.integers(0, 10**6), per_epoch=st.integers(1, 10**4))
def test_what_is_shown_reads_back(count: int, per_epoch: int) -> None:
    step = TrainingStep(count, per_epoch)
    assert step.epochs * per_epoch + step.iterations == count
    assert TrainingStep.parse(str(step), steps_per_epoch=per_epoch) == step


def test_steps_of_one_run_compare() -> None:
    early, late = (TrainingStep.parse(text, steps_per_epoch=50) for text in ("49it", "1ep"))
    assert early < late and late >= early and max(early, late) is late
    with pytest.raises(ValueError, match="of 50 and of 60 steps"):
        assert early < TrainingStep(1, 60)


@pytest.mark.parametrize("text", ["", "3", "ep", "3ep20", "20it3ep", "-1it", "1.5ep"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"'{text}' is no step of training"):
        TrainingStep.parse(text, steps_per_epoch=50)
