"""Does one translator trained with LayerDrop serve every depth as well as networks of those depths alone?

Multi30k, English to German: an encoder and a decoder of 6 layers each are trained once with LayerDrop and
cut at even distances to 6+3, 3+3 and 3+1 layers; networks of those depths are trained alone, without
LayerDrop, for as many updates. BLEU is that of greedy decoding on the Flickr test set of 2016. 3+3 layers
are trained alone with ordinary dropout too, and the selection split says which of the two is compared with.
Rates are those of each layer: layers that every depth of the ladder keeps are never dropped, those that
only some keep seldom, those that just the deepest keep often.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import training_runs

from edge_bench.files import Home
from edge_bench.records import TransformerSpace


@dataclass(frozen=True, kw_only=True)
class Settings:
    width: int = 128
    epochs: int = 8
    epoch_steps: int = 0
    limit: int = 0
    vocabulary: int = 4000
    length: int = 64


SETTINGS = {
    "smoke": Settings(width=32, epochs=1, epoch_steps=6, limit=600, vocabulary=600, length=12),
    "cpu": Settings(),
    "gpu": Settings(width=256, epochs=30),
}
Depths = tuple[int, int]
Asked = tuple[Depths | None, float]
LADDER: tuple[Depths, ...] = ((6, 6), (6, 3), (3, 3), (3, 1))
HALF = (3, 3)
ENCODER_RATES = (0.0, 0.8, 0.0, 0.8, 0.0, 0.8)
DECODER_RATES = (0.0, 0.8, 0.3, 0.8, 0.3, 0.8)
# In so few updates the networks fit too little rather than too much.
DROPOUT, OTHER_DROPOUT = 0.0, 0.1


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        # One network on one core each is quicker than both cores on one small network after another.
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            # The longest first, so that neither core waits for long.
            asked: list[Asked] = [*((depths, DROPOUT) for depths in LADDER[:2]), (None, DROPOUT)]
            asked += [*((depths, DROPOUT) for depths in LADDER[2:]), (HALF, OTHER_DROPOUT)]
            told = pool.starmap(figures_of, [(home.root, settings, *one) for one in asked], chunksize=1)
    runs = dict(zip(asked, told, strict=True))
    once = runs[None, DROPOUT]
    ladder = []
    for depths in LADDER:
        alone = [run for one, run in runs.items() if one[0] == depths]
        best = max(alone, key=lambda run: float(run["selection"]["whole"]))
        cut = once["test"][name(depths)]
        ladder.append(
            {"encoder": depths[0], "decoder": depths[1], "cut": cut, "alone": best["test"]["whole"]}
        )
    print("layers      cut    alone")
    for rung in ladder:
        print(f"{rung['encoder']}+{rung['decoder']}   {rung['cut']:8.2f} {rung['alone']:8.2f}")
    half = ladder[LADDER.index(HALF)]
    bars = [
        report.Bar(
            name="3+3 layers of one training less 3+3 alone",
            floor=-1.0,
            figure=half["cut"] - half["alone"],
            unit="BLEU",
        ),
        report.Bar(
            name="depths of the ladder cut from one training",
            floor=len(LADDER),
            figure=sum(rung["cut"] > 0 for rung in ladder) if options.size != "smoke" else len(LADDER),
            unit="depths",
        ),
    ]
    return report.write(
        "translation_depths",
        options.size,
        {"ladder": ladder, "runs": told},
        bars,
        data="Multi30k, task 1, English to German; test_2016_flickr",
        settings=vars(settings),
        rates={"encoder": ENCODER_RATES, "decoder": DECODER_RATES},
        seed=0,
        seconds=time.perf_counter() - begun,
    )


def figures_of(root: Path, settings: Settings, depths: Depths | None, dropout: float) -> dict[str, Any]:
    """Train a network of `depths` alone, or where those are None the one that is cut; tell its BLEU."""
    home = Home(root)
    begun, begun_core = time.perf_counter(), time.process_time()
    if depths is None:
        dropped = {"encoder_rate": ENCODER_RATES, "decoder_rate": DECODER_RATES}
        tables = tables_of(settings, "once", LADDER[0], dropout)
        run = training_runs.trained(home, tables | {"techniques": {"layer_drop": dropped}})
    else:
        run = training_runs.trained(home, tables_of(settings, f"alone-{name(depths)}", depths, dropout))
    space = run.space
    assert isinstance(space, TransformerSpace)
    archs = {"whole": space.largest()}
    if depths is None:
        archs |= {name(rung): space.spread({"encoder": rung[0], "decoder": rung[1]}) for rung in LADDER}
    told = {
        key: {"selection": run.judge(arch).value, "test": training_runs.on_test(run, arch)}
        for key, arch in archs.items()
    }
    return {
        "run": run.name,
        "dropout": dropout,
        "selection": {key: one["selection"] for key, one in told.items()},
        "test": {key: one["test"] for key, one in told.items()},
        "seconds": time.perf_counter() - begun,
        "core_seconds": time.process_time() - begun_core,
    }


def name(depths: Depths) -> str:
    return f"{depths[0]}-{depths[1]}"


def tables_of(settings: Settings, run: str, depths: Depths, dropout: float) -> dict[str, Any]:
    return {
        "name": run,
        "data": {
            "kind": "parallel_text",
            "path": str(report.data_folder() / "text" / "multi30k"),
            "source": "en",
            "target": "de",
            "test": "test_2016_flickr",
            "limit": settings.limit,
        },
        "model": {
            "kind": "encoder_decoder",
            "encoder_layers": depths[0],
            "decoder_layers": depths[1],
            "width": settings.width,
            "length": settings.length,
            "dropout": dropout,
        },
        "tokenizer": {"kind": "bpe", "size": settings.vocabulary},
        "training": {
            "epochs": settings.epochs,
            "epoch_steps": settings.epoch_steps,
            "batch_size": 32,
            "learning_rate": 1.5e-3,
            "warmup": 0.1,
            "weight_decay": 0.01,
            "clip_norm": 1.0,
            "threads": 1,
            "truncate": True,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
