"""A text run from data to a script that runs by itself, and reaches what the file's record tells."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_bench.choose.snippets import TOKENIZER, Picked, run_script
from edge_bench.cli import main
from edge_bench.files import Home
from edge_bench.store import ResultStore

ENGLISH, GERMAN = "the dog cat runs red".split(), "der hund katze rennt rot".split()
RUN = """
name = "tiny"
[model]
kind = "{model}"
width = 16
heads = 2
length = 32
dropout = 0.0
{layers}
[tokenizer]
kind = "characters"
[data]
kind = "{data}"
path = "{path}"
[training]
epochs = 15
batch_size = 16
learning_rate = 1e-2
threads = 1
device = "cpu"
"""


def write_data(folder: Path, task: str) -> None:
    """Write sentences with their translations word by word, or with whether they tell of a dog."""
    drawn = random.Random(0)
    folder.mkdir()
    for split, count in (("train", 300), ("selection", 20), ("test", 20)):
        rows = [[drawn.randrange(5) for _ in range(drawn.randint(2, 5))] for _ in range(count)]
        english = [" ".join(ENGLISH[word] for word in row) for row in rows]
        german = [" ".join(GERMAN[word] for word in row) for row in rows]
        if task == "translation":
            (folder / f"{split}.en").write_text("\n".join(english) + "\n", encoding="utf-8")
            (folder / f"{split}.de").write_text("\n".join(german) + "\n", encoding="utf-8")
        else:
            lines = [f"{text}\t{'dog' if 'dog' in text else 'none'}\n" for text in english]
            (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("form", ["onnx", pytest.param("tflite", marks=pytest.mark.slow)])
@pytest.mark.parametrize("task", ["translation", "text_classification"])
def test_a_script_reaches_the_quality_that_is_told_of_its_file(
    task: str, form: str, home: Home, tmp_path: Path
) -> None:
    pytest.importorskip("sacrebleu")
    from edge_bench.text.bleu import bleu

    translates = task == "translation"
    data = tmp_path / "texts"
    write_data(data, task)
    (tmp_path / "tiny.toml").write_text(
        RUN.format(
            model="encoder_decoder" if translates else "encoder",
            layers="encoder_layers = 2\ndecoder_layers = 2" if translates else "layers = 2",
            data="parallel_text" if translates else "labelled_text",
            path=data,
        ),
        encoding="utf-8",
    )
    assert main(["train", str(tmp_path / "tiny.toml"), "--quiet"]) == 0
    name = "tiny:d1/2" if translates else "tiny:d1"
    assert main(["export", name, "--format", form, "--quiet"]) == 0
    with ResultStore(home.store_url) as store:
        [subnet], (network, *steps) = store.subnets(), store.artifacts()
    folder = tmp_path / "picked"
    folder.mkdir()
    assert network.text is not None
    shutil.copyfile(home.absolute(network.file), folder / f"model.{form}")
    shutil.copyfile(home.absolute(network.text.tokenizer), folder / TOKENIZER)
    for step in steps:
        shutil.copyfile(home.absolute(step.file), folder / f"step.{form}")
    picked = Picked.of(network, subnet, file=f"model.{form}", step_file=f"step.{form}")
    (folder / "run_model.py").write_text(run_script(picked), encoding="utf-8")

    lines = (data / ("test.en" if translates else "test.tsv")).read_text(encoding="utf-8").splitlines()
    given, wanted = [line.partition("\t")[0] for line in lines], [line.partition("\t")[2] for line in lines]
    ended = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", str(folder / "run_model.py")],
        input="\n".join(given) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers = ended.stdout.split("\n")[:-1]
    assert len(answers) == len(given)
    if translates:
        wanted = (data / "test.de").read_text(encoding="utf-8").splitlines()
        reached = bleu(answers, wanted).score
    else:
        told = [answer.partition("\t")[0] for answer in answers]
        reached = sum(one == other for one, other in zip(told, wanted, strict=True)) / len(wanted)
    metric = network.metric("test")
    assert metric is not None and metric.value > 0
    assert reached == pytest.approx(metric.value)
