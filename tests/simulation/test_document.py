"""docs/reliability.md shows the counts of a run of the code that is here, in which everything happened."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from adapters.simulation import Report, simulate
from tests.simulation import document
from tests.simulation.document import BEGIN, DOCUMENT, END, written

_COUNT = re.compile(r"^\| (.+) \| ([\d,]+) \|$", re.MULTILINE)


def counts(text: str) -> dict[str, int]:
    return {name: int(count.replace(",", "")) for name, count in _COUNT.findall(text)}


def test_the_document_counts_all_that_can_happen_and_all_of_it_happened() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = counts(text[text.index(BEGIN) : text.index(END)])
    report = Report(0.1)
    expected = report.faults() | report.sights() | report.transitions()
    assert list(shown) == [name.replace("-->", "→").replace("--", "") for name in expected]
    assert min(shown.values()) > 0


def test_counts_are_replaced_and_the_text_around_them_is_kept() -> None:
    report = Report(0.01)
    report.add(simulate(1, 0.01))
    facts = report.as_json()
    once = written(f"before\n{BEGIN}stale\n{END}after\n", facts)
    assert once.startswith(f"before\n{BEGIN}1 runs of 0.01 h, ")
    assert once.endswith(f"{END}after\n")
    assert "stale" not in once
    assert written(once, facts) == once
    assert counts(once) == {
        name.replace("-->", "→").replace("--", ""): count
        for name, count in (facts["faults"] | facts["sights"] | facts["transitions"]).items()
    }


def test_a_failed_run_and_a_document_without_marks_are_refused() -> None:
    facts = Report(0.01).as_json()
    with pytest.raises(ValueError, match="the run failed"):
        written(BEGIN + END, facts | {"good": False})
    with pytest.raises(ValueError, match="lacks a mark: <!-- end"):
        written(BEGIN, facts)


def test_it_reads_a_report_from_standard_input() -> None:
    before = DOCUMENT.read_bytes()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", document.__name__],
        input=json.dumps(Report(0.01).as_json() | {"good": False}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the run failed" in done.stderr
    assert DOCUMENT.read_bytes() == before
