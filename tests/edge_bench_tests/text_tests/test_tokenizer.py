"""What every vocabulary promises, and that a file which is no tokenizer is one clear line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from edge_bench import variants
from edge_bench.errors import ConfigError, DataError, UnknownVariant
from edge_bench.text.tokenizer import BEGIN, END, PAD, SPECIAL_TOKENS, UNKNOWN, Tokenizer
from edge_bench.text.vocabularies import PACKAGE, open_vocabulary

TEXTS = [
    "The old dog sees a green house, and the dog runs.",
    "Ein alter Hund rennt über die große Straße.",
    "the house is old; the street is big\n\n  and the trees are green",
] * 4
ALPHABET = sorted(set("".join(TEXTS)))
# Those that learn from texts.
KINDS = [kind for kind in variants.names(PACKAGE) if kind != "file"]
# Trained once, since hypothesis asks for it often.
BPE = open_vocabulary({"kind": "bpe", "size": 300}).train(TEXTS)
CHARACTERS = open_vocabulary({"kind": "characters"}).train(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_come_first_and_no_text_says_one(kind: str) -> None:
    tokenizer = open_vocabulary({"kind": kind}).train(TEXTS)
    assert [tokenizer.number(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    said = tokenizer.encode("<begin> the <end> dog <pad>")
    assert said and not {0, 1, 2} & set(said)
    assert max(said) < tokenizer.size


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same(kind: str, tmp_path: Path) -> None:
    tokenizer = open_vocabulary({"kind": kind}).train(TEXTS)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.encode_all(TEXTS) == tokenizer.encode_all(TEXTS)
    assert loaded.size == tokenizer.size
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_all_texts_at_once_are_encoded_as_each(kind: str) -> None:
    tokenizer = open_vocabulary({"kind": kind}).train(TEXTS)
    assert tokenizer.encode_all(TEXTS) == [tokenizer.encode(text) for text in TEXTS]
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


def test_every_process_learns_the_same_tokenizers() -> None:
    program = (
        "import hashlib, json, sys\n"
        "from edge_bench.text.vocabularies import open_vocabulary\n"
        "kinds, texts = json.load(sys.stdin)\n"
        "made = [open_vocabulary({'kind': kind}).train(texts).to_json() for kind in kinds]\n"
        "print(hashlib.sha256(''.join(made).encode()).hexdigest())\n"
    )
    # Many words, so that an order that follows a hash would show.
    texts = [*TEXTS, " ".join(hashlib.sha256(bytes([n])).hexdigest()[: 3 + n % 9] for n in range(200))]
    given = json.dumps([KINDS, texts])
    told = {
        subprocess.run(
            [sys.executable, "-c", program], input=given, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(told) == 1


@given(st.text())
def test_bytes_bring_any_text_back_as_it_was(text: str) -> None:
    tokens = BPE.encode(text)
    assert BPE.decode(tokens) == text and UNKNOWN not in tokens


@given(st.text(alphabet=ALPHABET))
def test_characters_bring_known_text_back_one_token_each(text: str) -> None:
    tokens = CHARACTERS.encode(text)
    assert CHARACTERS.decode(tokens) == text and len(tokens) == len(text)


def test_a_character_that_training_never_saw_is_unknown() -> None:
    assert CHARACTERS.encode("d漢g") == [
        CHARACTERS.number("d"), UNKNOWN, CHARACTERS.number("g"),
    ]  # fmt: skip


def test_a_tokenizer_made_elsewhere_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BPE.save(path)
    taken = open_vocabulary({"kind": "file", "path": str(path)}).train([])
    assert taken.to_json() == BPE.to_json() and taken.around() == (PAD, BEGIN, END)
    with pytest.raises(DataError, match="there is no tokenizer file"):
        open_vocabulary({"kind": "file", "path": str(tmp_path / "nowhere.json")}).train([])


@pytest.mark.parametrize("names", [("[PAD]", "[CLS]", "[SEP]"), ("<pad>", "<s>", "</s>")])
def test_tokens_around_a_text_are_known_by_the_names_others_give_them(names: tuple[str, ...]) -> None:
    words = {"a": 0, names[2]: 1, names[0]: 2, names[1]: 3}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="a"))
    assert Tokenizer(inner).around() == (2, 3, 1)


def test_a_tokenizer_without_tokens_around_a_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    Tokenizer(inner).save(path)
    with pytest.raises(DataError, match="no tokens for padding, begin and end"):
        open_vocabulary({"kind": "file", "path": str(path)}).train([])


def test_merges_make_frequent_words_short() -> None:
    assert len(BPE.encode("the house")) < len(CHARACTERS.encode("the house")) / 2


def test_word_pieces_know_every_character_in_both_places() -> None:
    tokenizer = open_vocabulary({"kind": "word_piece", "size": 70, "lower_case": False}).train(TEXTS)
    assert tokenizer.size <= 70
    assert all(UNKNOWN not in tokens for tokens in tokenizer.encode_all(TEXTS))
    assert tokenizer.decode(tokenizer.encode("Ein Hund rennt über die Straße")) == (
        "Ein Hund rennt über die Straße"
    )
    whole = open_vocabulary({"kind": "word_piece", "size": 400}).train(TEXTS)
    assert len(whole.encode("The house")) == 2
    assert whole.encode("the HOUSE") == whole.encode("The house")


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_is_no_larger_than_asked_for(kind: str) -> None:
    if kind != "characters":
        assert open_vocabulary({"kind": kind, "size": 280}).train(TEXTS).size <= 280
        with pytest.raises(ConfigError, match="tokenizer.size is 20"):
            open_vocabulary({"kind": kind, "size": 20}).train(TEXTS)
    with pytest.raises(DataError, match="no text"):
        open_vocabulary({"kind": kind}).train([""])


def test_unknown_vocabularies_and_options_name_the_nearest() -> None:
    with pytest.raises(UnknownVariant, match="Did you mean 'word_piece'"):
        open_vocabulary({"kind": "wordpiece"})
    with pytest.raises(ConfigError, match="Did you mean 'size'"):
        open_vocabulary({"kind": "bpe", "sise": 3})
    with pytest.raises(ConfigError, match="must name a kind"):
        open_vocabulary({})


def test_a_file_of_others_neither_pads_nor_cuts_nor_adds_tokens(tmp_path: Path) -> None:
    document = json.loads(BPE.to_json())
    document["truncation"] = {
        "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    document["padding"] = {
        "strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    assert tokenizer.encode(TEXTS[0]) == BPE.encode(TEXTS[0])
    assert tokenizer.encode("the") == BPE.encode("the")


def test_what_is_no_tokenizer_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer file .*nowhere.json"):
        Tokenizer.load(tmp_path / "nowhere.json")
    with pytest.raises(DataError, match="cannot be read"):
        Tokenizer.load(tmp_path)
    whole = json.loads(BPE.to_json())
    without_unknown = json.loads(CHARACTERS.to_json())
    without_unknown["model"]["unk_token"] = "<nothing>"
    # Cut off by its length alone, this prefix makes the library read beyond its text and abort.
    crashing = {**whole, "model": {**whole["model"], "continuing_subword_prefix": "漢漢"}}
    wrong = ["", "no JSON", "{}", "[]", json.dumps({"model": {"type": "BPE"}}), json.dumps(without_unknown),
             json.dumps(crashing), BPE.to_json()[:-20]]  # fmt: skip
    for document in wrong:
        (tmp_path / "tokenizer.json").write_text(document)
        with pytest.raises(DataError, match="tokenizer.json' is no tokenizer") as raised:
            Tokenizer.load(tmp_path / "tokenizer.json")
        assert "\n" not in raised.value.message
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="cannot be read"):
        Tokenizer.load(tmp_path / "tokenizer.json")
