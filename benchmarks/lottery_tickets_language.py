"""Do lottery tickets of an LSTM language model keep its perplexity at a fifth of the weights?

Two layers over byte pairs are trained on WikiText-2's validation text, lose a fifth of the remaining
weights each round, embeddings among them, are rewound to the end of the first epoch and trained again.
Beside the last ticket are trained a random one of as many weights, and one whose mask is shuffled within
each layer, which is harder to beat. Perplexities of a token are of the test split, means over seeds.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import training_runs

from edge_bench.documents import from_document
from edge_bench.files import Home
from supernet.ladder import climb
from supernet.run import RunConfig
from supernet.trained import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    rounds: int = 7
    width: int = 200
    vocabulary: int = 1000
    epochs: int = 6
    epoch_steps: int = 0
    test_characters: int = 131_072
    processes: int = 2


SETTINGS = {
    "smoke": Settings(
        seeds=(0,),
        rounds=1,
        width=16,
        vocabulary=300,
        epochs=2,
        epoch_steps=10,
        test_characters=4096,
        processes=1,
    ),
    "cpu": Settings(seeds=(0, 1, 2)),
    "gpu": Settings(seeds=(0, 1, 2), width=650, vocabulary=10_000, epochs=10),
}
CONTROL, HARDER = "random_ticket", "layer_shuffled"


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        data = training_runs.wikitext_folder(
            Path(options.work or temporary).absolute() / "text", settings.test_characters
        )
        with ProcessPoolExecutor(settings.processes) as pool:
            asked = [pool.submit(perplexities, home, data, settings, seed) for seed in settings.seeds]
            seeds = [one.result() for one in asked]
    means = [
        {name: sum(one[level][name] for one in seeds) / len(seeds) for name in seeds[0][level]}
        for level in range(settings.rounds + 1)
    ]
    for mean in means:
        words = "".join(f"  {name} {value:7.2f}" for name, value in mean.items() if name != "left")
        print(f"{100 * mean['left']:6.2f} % left{words}")
    return report.write(
        "lottery_tickets_language",
        options.size,
        {"test_perplexity": {"means": means, "seeds": seeds}},
        bars_of(means),
        data=training_runs.WIKITEXT,
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def perplexities(home: Home, data: Path, settings: Settings, seed: int) -> list[dict[str, float]]:
    """Return for each level what is left, the perplexity of the ticket and, at the last, of controls."""
    rungs = climb(
        from_document(RunConfig, tables(data, settings, seed)),
        rounds=settings.rounds,
        controls=[CONTROL, HARDER],
        control_levels=(settings.rounds,),
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
    dense, last = means[0]["ticket"], means[-1]
    left = f"{100 * last['left']:.1f} % left"
    return [
        report.Bar(
            name=f"ticket above dense, {left}",
            floor=3.0,
            figure=100 * (last["ticket"] / dense - 1),
            unit="%",
            at_most=True,
        ),
        report.Bar(
            name=f"random ticket above ticket, {left}",
            floor=5.0,
            figure=100 * (last[CONTROL] / last["ticket"] - 1),
            unit="%",
        ),
    ]


def tables(data: Path, settings: Settings, seed: int) -> dict[str, Any]:
    return {
        "name": f"tickets-language-{seed}",
        "seed": seed,
        "data": {"kind": "running_text", "path": str(data), "selection_fraction": 0.02},
        "model": {"kind": "lstm", "width": settings.width, "length": 35, "dropout": 0.3},
        "tokenizer": {"kind": "bpe", "size": settings.vocabulary},
        "techniques": {"lottery_ticket": {"rate": 0.2, "rewind": "1ep"}},
        "training": {
            "epochs": settings.epochs,
            "epoch_steps": settings.epoch_steps,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "warmup": 0.1,
            "weight_decay": 0.0,
            "clip_norm": 1.0,
            "threads": 1,
            "device": "cpu",
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
