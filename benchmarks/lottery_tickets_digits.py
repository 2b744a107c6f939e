"""Do lottery tickets of a small network on digits keep its accuracy, and by what?

A perceptron of 64-300-100-10 on scikit-learn's digits loses a fifth of its remaining weights each round, is
rewound to step 20 and trained again; beside the ticket the same number of weights is trained with other
initial weights, at shuffled places and as a random ticket, each for the ticket's epochs. Accuracies are of
the test split, means over seeds.

It is trained as Frankle & Carbin (2019) chose for this perceptron: Adam at 1.2e-3, 60 examples a step.
Beside it stands a rate that falls along a cosine, from where the dense network does best on the selection
split: the distance of the controls depends on it.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import report
import training_runs

from edge_bench.documents import from_document
from edge_bench.files import Home
from supernet.ladder import climb, dense_of, ticket_of
from supernet.run import RunConfig
from supernet.trained import TrainedRun
from supernet.trainer import train


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    rounds: int
    epochs: int = 10
    rates_tried: tuple[float, ...] = (1.2e-3, 4e-3)
    processes: int = 2


PUBLISHED = {"learning_rate": 1.2e-3, "decay": "none", "warmup": 0.0}
SETTINGS = {
    "smoke": Settings(seeds=(0,), rounds=3, epochs=3, processes=1),
    "cpu": Settings(seeds=(0, 1, 2), rounds=20, rates_tried=(1.2e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3)),
    "gpu": Settings(seeds=(0, 1, 2), rounds=20, rates_tried=(1.2e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3)),
}
CONTROLS = ("new_initialisation", "layer_shuffled", "random_ticket", "rewind_to_start", "one_shot")
# Levels by what is left of the weights: 0.8^7, 0.8^14 and 0.8^16.
FIFTH, TWENTIETH, LEAST = 7, 14, 16


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(settings.processes) as pool:
            dense = [
                [pool.submit(dense_on_selection, home, settings, seed, rate) for seed in settings.seeds]
                for rate in settings.rates_tried
            ]
            asked = [pool.submit(accuracies, home, settings, seed, PUBLISHED) for seed in settings.seeds]
            tried = [mean_of([one.result() for one in seeds]) for seeds in dense]
            best = settings.rates_tried[tried.index(max(tried))]
            beside = [
                pool.submit(accuracies, home, settings, seed, falling(best)) for seed in settings.seeds
            ]
            means, seeds = averaged([one.result() for one in asked])
            falling_means, falling_seeds = averaged([one.result() for one in beside])
    show("constant rate, as published", means)
    show(f"falling from {best:g}", falling_means)
    return report.write(
        "lottery_tickets_digits",
        options.size,
        {
            "test_accuracy": {"means": means, "seeds": seeds},
            "dense_selection_accuracy_of_falling_rates": dict(
                zip(map(str, settings.rates_tried), tried, strict=True)
            ),
            "test_accuracy_falling_rate": {"rate": best, "means": falling_means, "seeds": falling_seeds},
        },
        bars_of(means),
        data="scikit-learn's digits",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def falling(rate: float) -> dict[str, Any]:
    return {"learning_rate": rate, "decay": "cosine", "warmup": 0.1}


def dense_on_selection(home: Home, settings: Settings, seed: int, rate: float) -> float:
    config = from_document(RunConfig, tables(settings, seed, falling(rate)))
    dense = dense_of(config, ticket_of(config))
    run = TrainedRun.open(train(dense, home=home, say=lambda line: None, interactive=False))
    return run.judge(run.space.largest()).value


def mean_of(values: list[float]) -> float:
    return sum(values) / len(values)


def averaged(
    seeds: list[list[dict[str, float]]],
) -> tuple[list[dict[str, float]], list[list[dict[str, float]]]]:
    """Return each level's means over seeds, and the seeds."""
    means = [
        {name: mean_of([one[level][name] for one in seeds]) for name in seeds[0][level]}
        for level in range(len(seeds[0]))
    ]
    return means, seeds


def show(title: str, means: list[dict[str, float]]) -> None:
    print(title)
    for level, mean in enumerate(means):
        words = "".join(f"  {name} {100 * value:5.1f}" for name, value in mean.items() if name != "left")
        print(f"level {level:2} {100 * mean['left']:6.2f} % left{words}")


def accuracies(home: Home, settings: Settings, seed: int, rates: dict[str, Any]) -> list[dict[str, float]]:
    """Return for each level what is left and the test accuracy of the ticket and of each control."""
    config = from_document(RunConfig, tables(settings, seed, rates))
    rungs = climb(
        config,
        rounds=settings.rounds,
        controls=CONTROLS,
        home=home,
        say=lambda line: None,
        interactive=False,
    )
    levels: list[dict[str, float]] = [{} for _ in range(settings.rounds + 1)]
    for rung in rungs:
        run = TrainedRun.open(rung.folder)
        levels[rung.level]["left"] = rung.left
        levels[rung.level][rung.control or "ticket"] = training_runs.on_test(run, run.space.largest())
    return levels


def bars_of(means: list[dict[str, float]]) -> list[report.Bar]:
    fifth, twentieth, least = (means[min(level, len(means) - 1)] for level in (FIFTH, TWENTIETH, LEAST))
    ticket = 100 * twentieth["ticket"]
    return [
        report.Bar(
            name=f"dense less ticket, {left(fifth)} left",
            floor=1.5,
            figure=100 * (means[0]["ticket"] - fifth["ticket"]),
            unit="points",
            at_most=True,
        ),
        report.Bar(
            name=f"ticket less new initialisation, {left(twentieth)} left",
            floor=5.0,
            figure=ticket - 100 * twentieth["new_initialisation"],
            unit="points",
        ),
        report.Bar(
            name=f"ticket less its mask shuffled within layers, {left(twentieth)} left",
            floor=15.0,
            figure=ticket - 100 * twentieth["layer_shuffled"],
            unit="points",
        ),
        report.Bar(name=f"ticket, {left(least)} left", floor=88.0, figure=100 * least["ticket"], unit="%"),
    ]


def left(level: dict[str, float]) -> str:
    return f"{100 * level['left']:.1f} %"


def tables(settings: Settings, seed: int, rates: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"tickets-digits-{rates['learning_rate']:g}-{seed}",
        "seed": seed,
        "data": {"kind": "digits"},
        "model": {"kind": "mlp", "resolution": 8, "hidden": [300, 100]},
        "techniques": {"lottery_ticket": {"rewind": "20it"}},
        "training": {
            "epochs": settings.epochs,
            "batch_size": 60,
            **rates,
            "weight_decay": 0.0,
            "label_smoothing": 0.0,
            "augmentation": "none",
            "threads": 1,
            "device": "cpu",
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
