"""Do lottery tickets of policies still act when a sixteenth of the weights is left?

Perceptrons learn CartPole-v1 by A2C, lose half of their remaining weights each round, are rewound to an
early update and trained again; beside the last ticket a random one of as many weights is trained, and one
with its mask shuffled within layers. Acrobot-v1 and, where Box2D is installed, LunarLander-v3 are reported
without bars (Yu et al., 2020, have all three). Returns are means over the test split's episodes and over
seeds.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import report
import training_runs

from edge_bench.data import open_control
from edge_bench.documents import from_document
from edge_bench.errors import MissingExtra
from edge_bench.files import Home
from supernet.ladder import climb
from supernet.run import RunConfig
from supernet.trained import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`epochs` are of so many `frames`, by environment."""

    seeds: tuple[int, ...]
    epochs: dict[str, int]
    frames: int = 32_000
    episodes: int = 100
    rewind: str = "50it"
    processes: int = 2


CART, ACROBOT, LANDER = "CartPole-v1", "Acrobot-v1", "LunarLander-v3"
FULL = {CART: 8, ACROBOT: 8, LANDER: 10}
SETTINGS = {
    "smoke": Settings(seeds=(0,), epochs={CART: 1}, frames=3200, episodes=5, rewind="5it", processes=1),
    "cpu": Settings(seeds=(0, 1, 2), epochs=FULL),
    "gpu": Settings(seeds=(0, 1, 2), epochs=FULL),
}
WIDTHS = {CART: 128, ACROBOT: 256, LANDER: 256}
# Acrobot's rewards are all of one size, and few: at a hundredth nothing is learned of them.
REWARD_SCALES = {CART: 0.01, ACROBOT: 0.1, LANDER: 0.01}
# Half of what remains, each round: 25 % are left at the second level, 6.25 % at the last.
RATE, ROUNDS, QUARTER = 0.5, 4, 2
CONTROLS = ("random_ticket", "layer_shuffled")


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    figures: dict[str, Any] = {}
    absent: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        with ProcessPoolExecutor(settings.processes) as pool:
            for environment in settings.epochs:
                if not installed(environment):
                    absent.append(environment)
                    continue
                asked = [pool.submit(returns, home, settings, environment, seed) for seed in settings.seeds]
                seeds = [one.result() for one in asked]
                figures[environment] = {"means": means(seeds), "seeds": seeds}
                show(environment, figures[environment]["means"])
    return report.write(
        "lottery_tickets_control",
        options.size,
        {"test_return": figures},
        bars_of(figures[CART]["means"]),
        absent=absent,
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def installed(environment: str) -> bool:
    """Say whether what simulates an environment is installed."""
    try:
        open_control({"kind": "gymnasium", "environment": environment}).open(1)
    except MissingExtra:
        return False
    return True


def returns(home: Home, settings: Settings, environment: str, seed: int) -> list[dict[str, float]]:
    """Return for each level what is left and the return of the ticket and, at the last, of each control."""
    rungs = climb(
        from_document(RunConfig, tables(settings, environment, seed)),
        rounds=ROUNDS,
        controls=CONTROLS,
        control_levels=(ROUNDS,),
        home=home,
        say=lambda line: None,
        interactive=False,
    )
    levels: list[dict[str, float]] = [{} for _ in range(ROUNDS + 1)]
    for rung in rungs:
        run = TrainedRun.open(rung.folder)
        levels[rung.level]["left"] = rung.left
        levels[rung.level][rung.control or "ticket"] = training_runs.on_test(run, run.space.largest())
    return levels


def means(seeds: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    return [
        {name: sum(one[level][name] for one in seeds) / len(seeds) for name in seeds[0][level]}
        for level in range(ROUNDS + 1)
    ]


def show(environment: str, levels: list[dict[str, float]]) -> None:
    print(environment)
    for mean in levels:
        words = "".join(f"  {name} {value:6.1f}" for name, value in mean.items() if name != "left")
        print(f"  {100 * mean['left']:6.2f} % left{words}", flush=True)


def bars_of(levels: list[dict[str, float]]) -> list[report.Bar]:
    dense, quarter, last = levels[0]["ticket"], levels[QUARTER], levels[ROUNDS]
    return [
        report.Bar(
            name=f"CartPole: ticket against the random ticket, {100 * last['left']:.2f} % left",
            floor=3.0,
            figure=last["ticket"] / last["random_ticket"],
            unit="times",
        ),
        report.Bar(
            name=f"CartPole: ticket against dense, {100 * quarter['left']:.0f} % left",
            floor=90.0,
            figure=100 * quarter["ticket"] / dense,
            unit="%",
        ),
    ]


def tables(settings: Settings, environment: str, seed: int) -> dict[str, Any]:
    return {
        "name": f"{environment.lower()}-{seed}",
        "seed": seed,
        "data": {
            "kind": "gymnasium",
            "environment": environment,
            "environments": 32,
            "epoch_frames": settings.frames,
            "episodes": settings.episodes,
        },
        "model": {
            "kind": "policy",
            "hidden": [WIDTHS[environment]] * 3,
            "reward_scale": REWARD_SCALES[environment],
        },
        "techniques": {"lottery_ticket": {"rate": RATE, "rewind": settings.rewind}},
        "training": {
            "epochs": settings.epochs[environment],
            "batch_size": 128,
            "optimizer": "rmsprop",
            "learning_rate": 7e-4,
            "warmup": 0.05,
            "weight_decay": 0.0,
            "threads": 1,
            "device": "cpu",
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
