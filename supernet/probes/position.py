"""How much a network's feature maps tell of where in the image they are (Islam, Jia and Bruce, 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_bench.errors import ConfigError, did_you_mean
from edge_bench.records.position import ALL, IMAGE, TARGETS, PositionFindings, Score, targets
from edge_bench.statistics import spearman
from supernet.probes import Probe, Subject
from supernet.probes._readout import read, trained_readouts
from supernet.probes._stages import FeatureMaps
from supernet.progress import Advance


@dataclass(frozen=True, kw_only=True)
class Position(Probe):
    """Trains readouts of frozen maps for maps of position (none of them depends on the image), and scores
    them on images held out.

    A readout that finds the target can only have found it in the maps: of the image alone, and of a
    network that cannot tell its borders, it finds little. `stages` is how many at most are read;
    `seeds` readouts are trained for each, `steps` of SGD on `images` of the training split; `held_out`
    images of the test split score them.
    """

    targets: tuple[str, ...] = TARGETS
    stages: int = 5
    steps: int = 150
    images: int = 2048
    held_out: int = 128
    seeds: int = 3

    def check(self) -> None:
        for name in self.targets:
            if name not in TARGETS:
                raise ConfigError(
                    f"unknown target '{name}'. Known: {', '.join(TARGETS)}.{did_you_mean(name, TARGETS)}"
                )
        for option, value, least in (
            ("targets", len(self.targets), 1),
            ("stages", self.stages, 1),
            ("steps", self.steps, 1),
            ("images", self.images, 2),
            ("held-out", self.held_out, 1),
            ("seeds", self.seeds, 1),
        ):
            if value < least:
                raise ConfigError(f"--{option} is {value}; it must be at least {least}")

    def measure(self, subject: Subject, *, report: Advance = lambda done, word: None) -> PositionFindings:
        self.check()
        features = FeatureMaps(subject.program, count=self.stages)
        if not features.stages:
            raise ConfigError(
                f"'{subject.name}' has no feature maps to probe: no convolution of it leaves more than one "
                "pixel",
                hint="probe a network with convolutions, e.g. a resnet or a supernet's",
            )
        wanted = targets(self.targets)
        channels = [subject.preprocessing.channels, *(stage.channels for stage in features.stages)]
        images, held_out = subject.images("train", self.images), subject.images("test", self.held_out)
        done = 0

        def step_done() -> None:
            nonlocal done
            done += 1
            report(done, f"seed {(done - 1) // self.steps}")

        answers = [
            read(
                trained_readouts(
                    features, channels, wanted, images, steps=self.steps, seed=seed, step_done=step_done
                ),
                features,
                held_out,
            )
            for seed in range(self.seeds)
        ]
        sources = (IMAGE, *(stage.name for stage in features.stages), ALL)
        places = [(source, target) for source in range(len(sources)) for target in range(len(wanted))]
        return PositionFindings(
            network=subject.name,
            stages=features.stages,
            padded_convolutions=features.padding.padded,
            wide_convolutions=features.padding.wide,
            scores=tuple(
                Score(
                    source=sources[source],
                    target=self.targets[target],
                    spearman=tuple(
                        mean_spearman(one[:, source, target], wanted[self.targets[target]])
                        for one in answers
                    ),
                    mae=tuple(
                        float(np.abs(one[:, source, target] - wanted[self.targets[target]]).mean())
                        for one in answers
                    ),
                )
                for source, target in places
            ),
            steps=self.steps,
            readout_images=len(images),
            held_out_images=len(held_out),
            predicted={
                source: {
                    target: _rounded(answers[0][:, place, number].mean(axis=0))
                    for number, target in enumerate(self.targets)
                }
                for place, source in enumerate(sources)
                if source in (IMAGE, ALL)
            },
        )


def mean_spearman(predicted: npt.NDArray[np.floating], target: npt.NDArray[np.floating]) -> float:
    """Return the mean of Spearman's correlation of each predicted map [n, side, side] with the target.

    A map that is the same everywhere has none; it tells nothing of the target and counts as 0.
    """
    given = [spearman(one.ravel(), target.ravel()) for one in predicted]
    return float(np.mean(np.nan_to_num(given, nan=0.0)))


def _rounded(mean: npt.NDArray[np.floating]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), 3) for value in row) for row in mean)
