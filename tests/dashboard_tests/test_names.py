"""Names from the store as they are shown: as text, in one line, from left to right, of a length to read."""

from __future__ import annotations

import html
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.names import file_name, in_html, marked, plain, shortened
from dashboard.stored import escaped, file_within
from edge_bench.files import Home

MANY = st.text(max_size=300) | st.text("<>&\"'\u202e\u2066\x00\n .é語👩\u200d/\\:*", max_size=60)


@given(MANY)
def test_what_is_shown_is_one_line_that_nothing_unseen_is_in(name: str) -> None:
    for shown in (plain(name), marked(name), in_html(name), escaped(name)):
        assert not any(unicodedata.category(sign) in ("Cc", "Cs") for sign in shown)
        assert not any(
            unicodedata.bidirectional(sign) in ("RLO", "LRO", "RLE", "LRE", "RLI") for sign in shown
        )


@given(MANY)
def test_plotly_and_browsers_read_back_the_name_and_no_tag(name: str) -> None:
    assert "<" not in marked(name) and "<" not in in_html(name)
    assert "&quot;" not in marked('"'), "plotly would show the entity"
    assert html.unescape(in_html(name)) == plain(name)
    assert html.unescape(marked(name, 10_000)) == plain(name)
    assert not {'"', "'"} & set(in_html(name))


@given(MANY, st.integers(4, 50))
def test_a_short_name_is_whole_and_a_long_one_shows_both_ends(name: str, length: int) -> None:
    short = shortened(name, length)
    assert len(short) <= length
    if len(name) <= length:
        assert short == name
    else:
        assert short[0] == name[0] and short[-1] == name[-1]


def test_scripts_and_emoji_that_are_written_with_joiners_stay_whole() -> None:
    for name in ("👩\u200d🔬", "می\u200cخواهم", "größe-語"):
        assert plain(name) == name


@given(MANY)
def test_a_file_name_is_one_that_every_system_takes(name: str) -> None:
    safe = file_name(name)
    assert safe and len(safe) <= 80
    assert not set(safe) & set('<>:"/\\|?*\x00\n\u202e') and safe[0] not in ". " and safe[-1] not in ". "
    assert file_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("digits-0a1b-fp32.onnx", "digits-0a1b-fp32.onnx"),
        ("model\u202exnno.exe", "model_xnno.exe"),
        ("../../.bashrc", "bashrc"),
        ("a\r\nSet-Cookie: x.onnx", "a_Set-Cookie_x.onnx"),
        ("größe.tflite", "größe.tflite"),
        (f"{'n' * 300}.onnx", f"{'n' * 75}.onnx"),
        ("<script>", "script"),
        ("..", "file"),
    ],
)
def test_a_file_name_looks_like_what_it_is(name: str, safe: str) -> None:
    assert file_name(name) == safe


@pytest.mark.parametrize(
    "name",
    "../secret /etc/passwd ~/.ssh/id_rsa artifacts/../../secret link loop artifacts gone file:///etc".split()
    + ["a\x00b", "n" * 5_000, "", "\ud800"],
)
def test_a_file_outside_the_home_or_no_file_at_all_is_not_there(name: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.artifacts.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (home.root / "link").symlink_to(tmp_path / "secret")
    (home.root / "loop").symlink_to(home.root / "loop")
    (home.artifacts / "model.onnx").write_text("model")
    assert file_within(home, "artifacts/model.onnx") is not None
    assert file_within(home, name) is None
