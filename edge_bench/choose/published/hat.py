"""HAT: transformers for translation on a Raspberry Pi's Cortex-A72, a Xeon E5-2640 and a Titan Xp.

The authors publish one CSV for each task and hardware, which its name tells
(`wmt14ende_cpu_xeon_all.csv`); a prepared file holds several under the columns `task` and `hardware`.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from edge_bench.choose.features import MACS
from edge_bench.choose.predictors import FeatureTable
from edge_bench.choose.published import Malformed, MeasuredTable, PublishedTable, positive, read_rows
from edge_bench.errors import DataError

SHAPE = (
    "encoder_embed_dim",
    "encoder_layer_num",
    "encoder_ffn_embed_dim_avg",
    "encoder_self_attention_heads_avg",
    "decoder_embed_dim",
    "decoder_layer_num",
    "decoder_ffn_embed_dim_avg",
    "decoder_self_attention_heads_avg",
    "decoder_ende_attention_heads_avg",
    "decoder_arbitrary_ende_attn_avg",
)
MARK = "decoder_ende_attention_heads_avg"
LATENCIES = ("latency_mean_encoder", "latency_mean_decoder")
NAMED = re.compile(r"(?P<task>[a-z0-9]+)_(?P<hardware>[cg]pu_[a-z0-9]+)_all\.csv(\.gz)?$")
# Queries, keys and values are 512 wide whatever the embedding is.
ATTENTION_DIM = 512
TOKENS = 30


class Hat(PublishedTable):
    """A latency is encoder plus decoder, as the paper predicts it: the mean of one sentence each.

    The decoder runs once a token, the encoder once a sentence; layers differ in width and heads, of which
    the table tells only averages, so that equal rows may be different networks.
    """

    citation = (
        "Wang, Wu, Liu, Cai, Zhu, Gan, Han. HAT: Hardware-Aware Transformers for Efficient Natural "
        "Language Processing. ACL 2020; github.com/mit-han-lab/hardware-aware-transformers, "
        "folder latency_dataset"
    )

    def recognises(self, path: Path) -> bool:
        """A table whose first line names one of the averages."""
        return MARK in _first_line(path).strip().split(",")

    def read(self, path: Path) -> list[MeasuredTable]:
        pair = NAMED.search(path.name)
        named = pair.groupdict() if pair else {}
        missing = [name for name in ("task", "hardware") if name not in named]
        absent = sorted({*SHAPE, *LATENCIES, *missing} - set(_first_line(path).strip().split(",")))
        if absent:
            raise DataError(
                f"'{path}' has no column '{absent[0]}'",
                hint="the authors' files tell task and hardware by name: wmt14ende_cpu_xeon_all.csv",
            )
        kept, malformed = read_rows(path, _lines(path), lambda told: _read(told, named))
        by_task = [[one for one in kept if one.task == task] for task in sorted({one.task for one in kept})]
        # What cannot be read may not tell its task; it is counted once, with the first.
        return [self._table(rows, () if number else malformed) for number, rows in enumerate(by_task)]

    def _table(self, rows: list[_Measured], malformed: tuple[Malformed, ...]) -> MeasuredTable:
        hardware = np.array([one.hardware for one in rows])
        latencies = np.array([one.latency_ms for one in rows])
        devices = sorted(set(hardware.tolist()))
        return MeasuredTable(
            space=f"hat_{rows[0].task}",
            unit="network",
            keys=tuple(one.key for one in rows),
            features=FeatureTable.of([_features(one.shape) for one in rows]),
            latencies_ms={name: np.where(hardware == name, latencies, np.nan) for name in devices},
            facts={name: {"batch": "1", "task": rows[0].task} for name in devices},
            citation=self.citation,
            malformed=malformed,
        )


@dataclass(frozen=True)
class _Measured:
    task: str
    hardware: str
    shape: dict[str, float]
    latency_ms: float

    @property
    def key(self) -> str:
        return " ".join(f"{value:.6g}" for value in self.shape.values())


def _read(told: Mapping[str | None, str | None], named: Mapping[str, str]) -> _Measured:
    if None in told:
        raise ValueError(f"there are more values than the {len(told) - 1} columns")
    about = {name: named.get(name) or told.get(name) or "" for name in ("task", "hardware")}
    for name, value in about.items():
        if not value:
            raise ValueError(f"{name} is missing")
    return _Measured(
        **about,
        shape={name: positive(told[name], name) for name in SHAPE},
        latency_ms=sum(positive(told[name], name) for name in LATENCIES),
    )


def _features(shape: Mapping[str, float]) -> dict[str, float]:
    """Return the ten averages, and what they amount to over all layers.

    Multiply-accumulates are those of the layers for a sentence of 30 tokens; the vocabulary's product,
    which the table does not tell, is a price on the decoder's width.
    """
    encoder, decoder = shape["encoder_embed_dim"], shape["decoder_embed_dim"]
    layers, encoder_layers = shape["decoder_layer_num"], shape["encoder_layer_num"]
    encoder_ffn = encoder_layers * encoder * shape["encoder_ffn_embed_dim_avg"]
    decoder_ffn = layers * decoder * shape["decoder_ffn_embed_dim_avg"]
    attended = layers * shape["decoder_arbitrary_ende_attn_avg"]
    encoder_macs = 2 * encoder_ffn + 4 * encoder_layers * encoder * ATTENTION_DIM
    decoder_macs = (
        2 * decoder_ffn + 6 * layers * decoder * ATTENTION_DIM + 2 * layers * encoder * ATTENTION_DIM
    )
    return {
        **shape,
        "encoder_ffn_weights": encoder_ffn,
        "encoder_ffn_sum": encoder_layers * shape["encoder_ffn_embed_dim_avg"],
        "encoder_heads_sum": encoder_layers * shape["encoder_self_attention_heads_avg"],
        "decoder_ffn_weights": decoder_ffn,
        "decoder_ffn_sum": layers * shape["decoder_ffn_embed_dim_avg"],
        "decoder_attention_weights": layers * decoder * ATTENTION_DIM,
        "decoder_self_heads_sum": layers * shape["decoder_self_attention_heads_avg"],
        "decoder_ende_heads_sum": layers * shape["decoder_ende_attention_heads_avg"],
        "decoder_attended_sum": attended,
        "decoder_attended_weights": attended * encoder,
        MACS: TOKENS * (encoder_macs + decoder_macs),
    }


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str | None, str | None]]]:
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            for told in reader:
                yield f"line {reader.line_num}", told
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from error


def _first_line(path: Path) -> str:
    """Return the first line of a text, gzipped or not; empty where it is neither."""
    try:
        with _opened(path) as file:
            return file.readline(10_000)
    except (OSError, EOFError, UnicodeDecodeError):
        return ""


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    if gzipped:
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
