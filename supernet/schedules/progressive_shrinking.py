"""The paper's schedule: the full network, then kernel, depth in two steps, width in two steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from supernet.phases import Dimension, Phase
from supernet.schedules import Schedule, allotted

# Epochs of once-for-all's stages on ImageNet, and peak learning rates over the full network's (2.6 for
# a batch of 2048; the others 0.96, 0.08 and 0.24). A warm-up of 5 epochs in the stages of 125.
_EPOCHS = (180, 125, 25, 125, 25, 125)
_RATES = (1.0, 0.37, 0.031, 0.092, 0.031, 0.092)
_WARMUP = 5 / 125


@dataclass(frozen=True, kw_only=True)
class ProgressiveShrinking(Schedule):
    """Progressive shrinking (once-for-all, Cai et al., 2020), by the stages of its authors' code.

    The full network learns the labels. A frozen copy of it then teaches random subnets, one a step
    in the kernel stage, two in the depth stages and four in the width stages; each learns the
    teacher's answers and the labels with equal weight. Channels are sorted by importance before each
    width stage. Each stage has an optimizer and a learning-rate curve of its own.

    `epochs_by_stage` are the stages' shares of the epochs, `rates` their peak learning rates over the
    first one's. Two things differ from the code: the gradient is the mean over a step's subnets where
    the code has the sum, and kernel transforms learn on after the kernel stage, as the code has it
    and the paper does not.
    """

    epochs_by_stage: tuple[float, ...] = _EPOCHS
    rates: tuple[float, ...] = _RATES

    def phases(self, *, epochs: int, learning_rate: float) -> tuple[Phase, ...]:
        lengths = allotted(epochs, self.epochs_by_stage)
        peaks = [learning_rate * rate for rate in self.rates]
        stages = (
            Phase(name="full", epochs=lengths[0], learning_rate=peaks[0], open=("resolution",)),
            _stage("kernel", lengths[1], peaks[1], ("kernel",), subnets=1, warmup=_WARMUP),
            _stage("depth_1", lengths[2], peaks[2], ("kernel", "depth"), subnets=2, first=True),
            _stage("depth_2", lengths[3], peaks[3], ("kernel", "depth"), subnets=2, warmup=_WARMUP),
            _stage("expand_1", lengths[4], peaks[4], ("kernel", "depth", "expand"), subnets=4, first=True),
            _stage(
                "expand_2", lengths[5], peaks[5], ("kernel", "depth", "expand"), subnets=4, warmup=_WARMUP
            ),
        )
        return tuple(phase for phase in stages if phase.epochs)


def _stage(
    name: str,
    epochs: int,
    peak: float,
    opened: tuple[Literal["kernel", "depth", "expand"], ...],
    *,
    subnets: int,
    first: bool = False,
    warmup: float = 0.0,
) -> Phase:
    """Return a stage taught by the frozen network; the `first` of two opens two choices of the last one."""
    choices: dict[Dimension, int] = {opened[-1]: 2} if first else {}
    return Phase(
        name=name,
        epochs=epochs,
        learning_rate=peak,
        warmup=warmup,
        open=("resolution", *opened),
        choices=choices,
        teacher="frozen",
        random_subnets=subnets,
        distillation=1.0,
        label_weight=1.0,
        sort_channels=opened[-1] == "expand",
    )
