"""Records to documents and back: nothing changes on the way, and what does not fit is named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from edge_bench.documents import canonical_json, digest, from_document, to_document
from edge_bench.errors import ConfigError
from edge_bench.records import (
    Artifact,
    BenchmarkResult,
    FittedPredictor,
    HeldOut,
    Metric,
    Parity,
    Preprocessing,
    TensorSpec,
    TimingBlock,
)
from edge_bench.schema import json_schema

texts = st.text(max_size=12)
whole = st.integers(-(2**53), 2**53)
real = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | whole | real | texts
# What JSON can say, as `environment`, `data` and `parameters` hold it.
free = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(texts, free, max_size=4)
precisions = st.sampled_from(["fp32", "fp16", "int8", "mixed"])
metrics = st.builds(
    Metric,
    name=texts,
    value=real,
    higher_is_better=st.booleans(),
    split=st.sampled_from(["train", "selection", "test"]),
    examples=whole,
)
specs = st.builds(
    TensorSpec,
    name=texts,
    dtype=texts,
    shape=st.lists(st.none() | whole, max_size=4).map(tuple),
    scale=st.none() | real,
    zero_point=st.none() | whole,
)
preprocessings = st.builds(
    Preprocessing,
    size=whole,
    channels=whole,
    mean=st.lists(real, max_size=3).map(tuple),
    std=st.lists(real, max_size=3).map(tuple),
)
parities = st.builds(
    Parity,
    max_abs_error=real,
    tolerance=st.none() | real,
    batch_sizes=st.lists(whole, max_size=3).map(tuple),
    examples=whole,
    border_max_abs_error=st.none() | real,
)
artifacts = st.builds(
    Artifact,
    id=texts,
    name=texts,
    subnet=st.none() | texts,
    format=st.sampled_from(["onnx", "tflite"]),
    precision=precisions,
    file=texts,
    digest=texts,
    size_bytes=whole,
    inputs=st.lists(specs, max_size=2).map(tuple),
    outputs=st.lists(specs, max_size=2).map(tuple),
    metrics=st.lists(metrics, max_size=2).map(tuple),
    created=texts,
    parity=st.none() | parities,
    preprocessing=st.none() | preprocessings,
    class_names=st.lists(texts, max_size=3).map(tuple),
    macs=st.none() | whole,
    params=st.none() | whole,
)
blocks = st.builds(
    TimingBlock,
    latencies_ns=st.lists(whole, max_size=5).map(tuple),
    counted=st.booleans(),
    off_cpu=st.none() | real,
    reason=texts,
)
results = st.builds(
    BenchmarkResult,
    id=texts,
    artifact=st.none() | texts,
    model=texts,
    digest=texts,
    format=texts,
    precision=precisions,
    device=texts,
    runtime=texts,
    runtime_version=texts,
    threads=whole,
    batch=whole,
    load_ms=real,
    first_ms=real,
    blocks=st.lists(blocks, max_size=2).map(tuple),
    p50_low_ms=real,
    p50_high_ms=real,
    peak_memory_mb=real,
    verdict=st.sampled_from(["clean", "noisy", "throttled", "inconclusive"]),
    verdict_cause=texts,
    stopped_by=texts,
    environment=tables,
    created=texts,
)
held_outs = st.builds(
    HeldOut,
    networks=whole,
    mape=real,
    within_5_percent=real,
    within_10_percent=real,
    spearman=real,
    kendall=real,
    coverage=st.none() | real,
)
predictors = st.builds(
    FittedPredictor,
    id=texts,
    kind=texts,
    device=texts,
    runtime=texts,
    threads=whole,
    precision=texts,
    space=texts,
    fitted_networks=whole,
    parameters=tables,
    validity=st.dictionaries(texts, st.tuples(real, real), max_size=3),
    held_out=held_outs,
    baseline=held_outs,
    created=texts,
    source=texts,
)
records = artifacts | results | predictors


def holds_for(*drawn: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As `given`, without a time limit for each example: the machine may be busy."""
    return lambda test: settings(deadline=None)(given(*drawn)(test))


@holds_for(records)
def test_a_record_survives_its_document(record: Any) -> None:
    assert from_document(type(record), to_document(record)) == record


@holds_for(records)
def test_a_record_survives_json_to_the_last_bit(record: Any) -> None:
    text = canonical_json(record)
    read = from_document(type(record), json.loads(text))
    assert read == record
    assert canonical_json(read) == text and digest(read) == digest(record)


@holds_for(records)
def test_a_record_fits_the_schema_of_its_class_and_no_other_record_does(record: Any) -> None:
    document = json.loads(canonical_json(record))
    schemas = {kind: json_schema(kind) for kind in (Artifact, BenchmarkResult, FittedPredictor)}
    fits = [kind for kind, one in schemas.items() if Draft202012Validator(one).is_valid(document)]
    assert fits == [type(record)]


@holds_for(tables)
def test_canonical_json_does_not_depend_on_the_order_of_keys(table: dict[str, Any]) -> None:
    turned = dict(reversed(table.items()))
    assert canonical_json(turned) == canonical_json(table)
    assert json.loads(canonical_json(table)) == table


@holds_for(artifacts, artifacts)
def test_digests_are_equal_exactly_where_records_are(one: Artifact, other: Artifact) -> None:
    # 0.0 equals -0.0, and is another text.
    assert (digest(one) == digest(other)) == (repr(one) == repr(other))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"value": value})


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["adamw", "sgd"] = "adamw"
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (1, "one")
    count: int | None = None
    flag: bool = False
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Later(Outer):
    """`Outer` as a later version may have it, with an optional field more."""

    added: str | None = None


def test_an_optional_field_that_is_added_later_changes_no_digest() -> None:
    assert digest(Later(name="x", count=2)) == digest(Outer(name="x", count=2))
    assert from_document(Later, to_document(Outer(name="x"))) == Later(name="x")


def test_a_whole_number_stands_for_a_real_one_and_defaults_fill_in() -> None:
    read = from_document(Outer, {"name": "x", "inner": {"rate": 1}, "options": {"p": 2}})
    assert read == replace(Outer(name="x"), inner=Inner(rate=1.0), options={"p": 2.0})
    assert isinstance(read.inner.rate, float)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"name": "x", "knid": "sgd"}, "unknown key 'knid'.*Did you mean 'kind'"),
        ({"name": "x", "inner": {"rat": 1.0}}, r"unknown key 'inner\.rat'.*Did you mean 'rate'"),
        ({"name": "x", "many": [{}, {"size": [1]}]}, r"unknown key 'many\[1\]\.size'.*mean 'sizes'"),
        ({"name": "x", "kind": "adam"}, "kind is 'adam'.*'adamw', 'sgd'.*Did you mean 'adamw'"),
        ({}, "missing key 'name'"),
        ({"name": 3}, "name is 3; it must be a text"),
        ({"name": "x", "flag": 1}, "flag is 1; it must be true or false"),
        ({"name": "x", "count": True}, "count is True; it must be a whole number"),
        ({"name": "x", "count": 1.5}, "count is 1.5; it must be a whole number"),
        ({"name": "x", "inner": {"rate": "fast"}}, r"inner\.rate is 'fast'; it must be a number"),
        ({"name": "x", "inner": {"sizes": [1, "2"]}}, r"inner\.sizes\[1\] is '2'; .* whole number"),
        ({"name": "x", "inner": {"sizes": 1}}, r"inner\.sizes is 1; it must be a list"),
        ({"name": "x", "pair": [1]}, "pair has 1 entries; it must have 2"),
        ({"name": "x", "inner": []}, r"inner is \[\]; it must be a table"),
        ({"name": "x", "options": {"p": "q"}}, r"options\.p is 'q'; it must be a number"),
        ([], r"the document is \[\]; it must be a table"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_what_would_work(document: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        from_document(Outer, document)
    assert not Draft202012Validator(json_schema(Outer)).is_valid(document), "the schema agrees"


def test_the_schema_takes_what_reading_takes() -> None:
    taken: dict[str, Any] = {"name": "x", "inner": {"rate": 1}, "options": {"p": 2}, "count": None}
    assert from_document(Outer, taken)
    Draft202012Validator(json_schema(Outer)).validate(taken)


@dataclass(frozen=True, kw_only=True)
class Unsaid:
    value: complex


def test_a_type_that_documents_do_not_know_has_no_schema() -> None:
    with pytest.raises(TypeError, match="complex"):
        json_schema(Unsaid)


@holds_for(st.sampled_from(["name", "kind", "inner", "count", "options"]), st.data())
def test_a_key_with_one_letter_wrong_names_the_nearest(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(key) - 1))
    wrong = key[:place] + "_" + key[place + 1 :]
    with pytest.raises(ConfigError, match=f"unknown key '{wrong}'.*Did you mean '{key}'"):
        from_document(Outer, {"name": "x", wrong: 1})
