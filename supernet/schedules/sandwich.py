"""The default: the largest network warms up alone, then kernels, depths and widths open one by one."""

from __future__ import annotations

from dataclasses import dataclass

from supernet.phases import Phase
from supernet.schedules import Schedule, allotted


@dataclass(frozen=True, kw_only=True)
class Sandwich(Schedule):
    """The sandwich rule with in-place distillation (Yu & Huang, 2019) along one learning-rate curve.

    Shares of the epochs: `warmup_share` for the largest network alone (at every resolution; its
    epochs cost less than half of the others'), then `kernel_share` with elastic kernels too, then
    `depth_share` with elastic depth; what is left has all dimensions open. Channels are sorted by
    importance before widths open.
    """

    warmup_share: float = 0.15
    kernel_share: float = 0.05
    depth_share: float = 0.05

    def phases(self, *, epochs: int, learning_rate: float) -> tuple[Phase, ...]:
        shares = (self.warmup_share, self.kernel_share, self.depth_share)
        lengths = allotted(epochs, (*shares, max(1 - sum(shares), 0)))
        opened = (
            Phase(name="largest", epochs=lengths[0], open=("resolution",)),
            Phase(name="kernel", epochs=lengths[1], open=("resolution", "kernel")),
            Phase(name="depth", epochs=lengths[2], open=("resolution", "kernel", "depth")),
            Phase(name="all", epochs=lengths[3], sort_channels=True),
        )
        return tuple(phase for phase in opened if phase.epochs)
