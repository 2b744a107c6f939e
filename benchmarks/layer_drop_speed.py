"""What does a step of training cost when half of the layers are dropped?

Steps with p = 0.5 and with p = 0 of the same network, on the same batches of random tokens, take turns; a
step is forward, backward and optimizer. The ratio is that of the median times of all pairs.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import report
import torch
import torch.nn.functional as F

from supernet.models.decoder import Decoder
from supernet.optimization import optimizer_of
from supernet.run import Training
from supernet.techniques.layer_drop import LayerDrop


@dataclass(frozen=True, kw_only=True)
class Settings:
    layers: tuple[int, ...] = (8, 12)
    width: int = 128
    pairs: int = 150


SETTINGS = {"smoke": Settings(width=64, pairs=8), "cpu": Settings(), "gpu": Settings(width=512, pairs=300)}


def main() -> int:
    options = report.arguments(__doc__)
    settings = SETTINGS[options.size]
    torch.set_num_threads(1)
    figures = {str(layers): figures_of(layers, settings) for layers in settings.layers}
    bars = [
        report.Bar(
            name=f"step time at p = 0.5 against p = 0, {layers} layers",
            floor=0.65,
            figure=one["ratio"],
            unit="times",
            at_most=True,
        )
        for layers, one in figures.items()
    ]
    return report.write("layer_drop_speed", options.size, figures, bars, settings=vars(settings), seed=0)


def figures_of(layers: int, settings: Settings) -> dict[str, Any]:
    """Return the median times of a step, of whole ones and of those with layers dropped, in ms."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rates = {"whole": 0.0, "half": 0.5}
    arms = {name: _Arm(layers, settings.width, rate, device) for name, rate in rates.items()}
    generator = np.random.default_rng(0)
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for pair in range(settings.pairs + 3):
        tokens = torch.from_numpy(generator.integers(0, 512, (24, 65))).to(device)
        order = list(arms) if pair % 2 else list(arms)[::-1]
        for name in order:
            took = arms[name].step(tokens, np.random.default_rng([1, pair]))
            if pair >= 3:
                taken[name].append(1e3 * took)
    # Of the dropped ones the mean: how many layers run differs from step to step, and all of them count.
    whole, half = statistics.fmean(taken["whole"]), statistics.fmean(taken["half"])
    return {"whole_ms": whole, "half_ms": half, "ratio": half / whole}


class _Arm:
    def __init__(self, layers: int, width: int, rate: float, device: str) -> None:
        torch.manual_seed(0)
        model = Decoder(layers=layers, width=width, length=64)
        self.network = model.build(model.space(vocabulary=512, outputs=512), pad=0).to(device).train()
        self.optimizer = optimizer_of(self.network, Training())
        self.technique = LayerDrop(rate=rate)

    def step(self, tokens: torch.Tensor, generator: np.random.Generator) -> float:
        if tokens.device.type == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        self.technique.before_step(self.network, generator, 0, 1)
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.network(tokens[:, :-1])
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        self.optimizer.step()
        if tokens.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun


if __name__ == "__main__":
    raise SystemExit(main())
