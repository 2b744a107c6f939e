"""Pretrained encoders, read by the `transformers` library from a local folder into layers of our own.

Nothing is downloaded, no code of a folder is run and no pickle is read. The layers take part in LayerDrop
and leave plain graphs; what they answer is what the library's own do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging as chatter

from edge_bench.errors import ConfigError
from supernet.models.pretrained import ACTIVATIONS, CONFIG


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What `config.json` says of an encoder.

    `length` is the longest sequence in tokens, `first_place` the row of the table of places that belongs
    to a text's first token, `epsilon` that of the norms.
    """

    vocabulary: int
    length: int
    width: int
    heads: int
    hidden: int
    layers: int
    activation: str
    epsilon: float
    first_place: int


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where the modules of a kind of model stand, by what they are called here.

    `places_behind_pad`: places are counted from the number of the padding token on.
    """

    layers: str = "encoder.layer"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    feed_forward_in: str = "intermediate.dense"
    feed_forward_out: str = "output.dense"
    feed_forward_norm: str = "output.LayerNorm"
    hidden_option: str = "intermediate_size"
    activation_option: str = "hidden_act"
    places_behind_pad: bool = False


# By `model_type`. BERT: Devlin et al., 2019; RoBERTa: Liu et al., 2019; DistilBERT: Sanh et al., 2019;
# XLM-R: Conneau et al., 2020; CamemBERT: Martin et al., 2020.
FAMILIES = {
    "bert": Family(),
    "camembert": Family(places_behind_pad=True),
    "distilbert": Family(
        layers="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attention_output="attention.out_lin",
        attention_norm="sa_layer_norm",
        feed_forward_in="ffn.lin1",
        feed_forward_out="ffn.lin2",
        feed_forward_norm="output_layer_norm",
        hidden_option="hidden_dim",
        activation_option="activation",
    ),
    "roberta": Family(places_behind_pad=True),
    "xlm-roberta": Family(places_behind_pad=True),
}


def sizes_of(folder: Path) -> Sizes:
    """Read the sizes of the model in `folder`.

    Raises:
        ConfigError: `config.json` cannot be read, or is of a network that is not supported.
    """
    path = folder / CONFIG
    family = FAMILIES[_model_type(path)]
    config = _config(folder)
    told = {
        "position_embedding_type": getattr(config, "position_embedding_type", "absolute"),
        "is_decoder": getattr(config, "is_decoder", False),
        "quantization_config": getattr(config, "quantization_config", None),
    }
    for option, wanted in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("quantization_config", None),
    ):
        if told[option] != wanted:
            raise ConfigError(f"'{path}' says {option} = {told[option]}; only {wanted} is supported")
    activation = getattr(config, family.activation_option)
    if activation not in ACTIVATIONS:
        raise ConfigError(
            f"'{path}' says {family.activation_option} = {activation}. Known: {', '.join(ACTIVATIONS)}."
        )
    first_place = config.pad_token_id + 1 if family.places_behind_pad else 0
    return Sizes(
        vocabulary=config.vocab_size,
        length=config.max_position_embeddings - first_place,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        hidden=getattr(config, family.hidden_option),
        layers=config.num_hidden_layers,
        activation=activation,
        epsilon=getattr(config, "layer_norm_eps", 1e-12),
        first_place=first_place,
    )


def weights_of(folder: Path, *, layers: Sequence[int], length: int) -> dict[str, Tensor]:
    """Return the weights of `layers` and of the embedding for `length` tokens, by our networks' names.

    Raises:
        ConfigError: the weights cannot be read, or some are missing or of another shape.
    """
    sizes = sizes_of(folder)
    family = FAMILIES[_model_type(folder / CONFIG)]
    network = _loaded(folder)
    embedding = network.get_submodule("embeddings")
    places = _weight(embedding, "position_embeddings")[sizes.first_place : sizes.first_place + length]
    if hasattr(embedding, "token_type_embeddings"):
        # A text alone is all of the first segment.
        places = places + _weight(embedding, "token_type_embeddings")[0]
    weights = {
        "embedding.tokens.weight": _weight(embedding, "word_embeddings"),
        "embedding.positions.weight": places,
        **_tensors("embedding_norm", embedding.get_submodule("LayerNorm")),
    }
    stack = network.get_submodule(family.layers)
    for place, source in enumerate(layers):
        layer = stack.get_submodule(str(source))
        for ours, theirs in (
            ("attention.query", family.query),
            ("attention.output", family.attention_output),
            ("attention_norm", family.attention_norm),
            ("feed_forward.0", family.feed_forward_in),
            ("feed_forward.2", family.feed_forward_out),
            ("feed_forward_norm", family.feed_forward_norm),
        ):
            weights |= _tensors(f"encoder.{place}.{ours}", layer.get_submodule(theirs))
        key, value = (layer.get_submodule(name) for name in (family.key, family.value))
        for kind in ("weight", "bias"):
            both = torch.cat((key.get_parameter(kind), value.get_parameter(kind))).detach()
            weights[f"encoder.{place}.attention.key_value.{kind}"] = both
    return weights


def _model_type(path: Path) -> str:
    # Before the library looks: it has other things to say to a type that it does not know.
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{path}' cannot be read: {error}") from error
    kind = document.get("model_type") if isinstance(document, dict) else None
    if kind not in FAMILIES:
        raise ConfigError(
            f"'{path}' is of model_type '{kind}', which is not supported. Known: {', '.join(FAMILIES)}."
        )
    return str(kind)


def _config(folder: Path) -> Any:
    with _told_of(folder):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _loaded(folder: Path) -> nn.Module:
    with _told_of(folder):
        network, told = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    # The library draws what a file lacks. A pooler is not used here.
    lacking = sorted(str(key) for key in told["missing_keys"] if not str(key).startswith("pooler."))
    if lacking:
        raise ConfigError(f"the weights in '{folder}' lack {len(lacking)} tensors, e.g. {lacking[0]}")
    assert isinstance(network, nn.Module)
    return network


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    """Let the library work quietly, and turn whatever it raises into one line."""
    # What it imports on its way warns in the names of other libraries.
    before, bars = logging.root.manager.disable, chatter.is_progress_bar_enabled()
    logging.disable(logging.ERROR)
    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    # It raises plain exceptions, and those of the libraries below it.
    except Exception as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"the model in '{folder}' cannot be read: {words}") from error
    finally:
        logging.disable(before)
        if bars:
            chatter.enable_progress_bar()  # type: ignore[no-untyped-call]


def _weight(module: nn.Module, name: str) -> Tensor:
    return module.get_submodule(name).get_parameter("weight").detach()


def _tensors(name: str, module: nn.Module) -> dict[str, Tensor]:
    return {f"{name}.{kind}": module.get_parameter(kind).detach() for kind in ("weight", "bias")}
