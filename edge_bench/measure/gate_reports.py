"""What a gate tells a CI server: JUnit XML and Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from edge_bench.measure.gate import Check, Judgement, overall

SUITE = "edge-bench check"
# XML 1.0 has no form for these, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARKS: dict[Judgement, str] = {"passed": "✅", "failed": "❌", "too noisy to say": "⚠️"}


def junit(model: str, checks: Sequence[Check], *, error: str = "") -> str:
    """Return JUnit XML, a test case a limit: failed is a failure, too noisy to say an error.

    `error` is why nothing could be measured; then it is the one test case, an error too.
    """
    noisy = sum(check.judgement == "too noisy to say" for check in checks) + bool(error)
    suite = ElementTree.Element(
        "testsuite",
        name=SUITE,
        tests=str(len(checks) + bool(error)),
        failures=str(sum(check.judgement == "failed" for check in checks)),
        errors=str(noisy),
    )
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(model), name=_xml(check.name))
        if check.judgement != "passed":
            kind = "failure" if check.judgement == "failed" else "error"
            ElementTree.SubElement(case, kind, message=_xml(sentence(check)), type=check.judgement)
    if error:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(model), name="measurement")
        ElementTree.SubElement(case, "error", message=_xml(error), type="not measured")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def markdown(model: str, checks: Sequence[Check], *, notes: Sequence[str] = (), error: str = "") -> str:
    """Return a summary as GitHub and GitLab draw it."""
    told = "not measured" if error else overall(checks)
    mark = "❌" if error else _MARKS[overall(checks)]
    lines = [f"### {mark} {SUITE}: {_cell(model)}: {told}", ""]
    if checks:
        lines += ["| | check | measured | limit |", "|---|---|---|---|"]
        lines += [
            f"| {_MARKS[check.judgement]} | {_cell(check.name)} | {_cell(_measured(check))} "
            f"| {check.limit:.4g} {check.unit} |"
            for check in checks
        ]
        lines.append("")
    lines += [f"- {_cell(sentence(check))}" for check in checks if check.judgement != "passed"]
    lines += [f"- {_cell(note)}" for note in (*notes, *([error] if error else []))]
    return "\n".join(lines).rstrip() + "\n"


def sentence(check: Check) -> str:
    """Return a check in a line."""
    cause = f" ({check.reason})" if check.reason else ""
    limit = f"at most {check.limit:.4g} {check.unit}"
    return f"{check.judgement}: {check.name} {_measured(check)}, {limit}{cause}"


def _measured(check: Check) -> str:
    told = f"{check.measured:.4g} {check.unit}"
    if check.low == check.high == check.measured:
        return told
    low = "…" if check.low is None else f"{check.low:.4g}"
    high = "…" if check.high is None else f"{check.high:.4g}"
    return f"{told} ({low} to {high})"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _cell(text: str) -> str:
    """Return a text that stays one cell and draws no markup: names of files come from anywhere."""
    one_line = html.escape(" ".join(text.encode("utf-8", "replace").decode().split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]|])", r"\\\1", one_line)
