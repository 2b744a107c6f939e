"""The three answers of a gate, and what it tells a CI server."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bench.measure.gate import STATUS, Check, at_most, exactly, overall
from edge_bench.measure.gate_reports import junit, markdown

values = st.floats(1e-3, 1e3)


def check(judgement: str, name: str = "latency p50") -> Check:
    low, high = {"passed": (1.0, 2.0), "failed": (4.0, 5.0)}.get(judgement, (2.0, 4.0))
    found = at_most(name, "ms", 3.0, (low + high) / 2, low=low, high=high)
    assert found.judgement == judgement
    return found


@given(values, values, values)
def test_only_an_interval_on_one_side_of_the_limit_gives_an_answer(
    limit: float, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    judgement = at_most("x", "ms", limit, one, low=low, high=high).judgement
    assert (judgement == "passed") == (high <= limit)
    assert (judgement == "failed") == (low > limit)


@given(values, values)
def test_without_an_upper_bound_nothing_passes_and_without_a_lower_one_nothing_fails(
    limit: float, value: float
) -> None:
    assert at_most("x", "ms", limit, value, low=value, high=None).judgement != "passed"
    assert at_most("x", "ms", limit, value, low=None, high=value).judgement != "failed"


def test_what_is_exact_is_never_too_noisy() -> None:
    assert [exactly("size", "MB", limit, 2.0).judgement for limit in (1.0, 2.0, 3.0)] == [
        "failed",
        "passed",
        "passed",
    ]


def test_one_failure_fails_the_gate_and_one_doubt_keeps_it_from_passing() -> None:
    answers = ("passed", "failed", "too noisy to say")
    for chosen in itertools.product(answers, repeat=3):
        expected = (
            "failed" if "failed" in chosen else "too noisy to say" if answers[2] in chosen else "passed"
        )
        assert overall([check(one) for one in chosen]) == expected
    assert STATUS == {"passed": 0, "failed": 3, "too noisy to say": 4}


def test_junit_counts_a_failure_and_a_doubt_apart() -> None:
    suite = ElementTree.fromstring(
        junit("a.onnx", [check("passed"), check("failed"), check("too noisy to say")])
    ).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert [[part.tag for part in case] for case in suite] == [[], ["failure"], ["error"]]


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_of_a_file_makes_well_formed_xml_and_one_table(model: str, name: str) -> None:
    found = check("failed", name)
    root = ElementTree.fromstring(junit(model, [found], error=name or "none"))
    assert len(root.findall("testsuite/testcase")) == 2
    lines = markdown(model, [found]).splitlines()
    assert sum(line.startswith("|") for line in lines) == 3
    assert lines[0].startswith("### ")


@pytest.mark.parametrize("hostile", ["a|b", "<script>", "[x](http://y)", "two\nlines"])
def test_a_files_name_draws_no_markup(hostile: str) -> None:
    text = markdown(hostile, [check("passed", hostile)])
    assert all(part not in text for part in ("a|b", "<script", "[x]("))
    assert len(text.splitlines()) == 5
