"""Results as data and as a page: complete, honest about what was not run, and self-contained."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from adapters.verification.level import Check, CheckFailed, Level, LevelResult, Options, Status, check
from adapters.verification.levels import LEVELS, run_level
from adapters.verification.report import as_html, as_json, counted, shown, verdict

SOURCES = "0123456789abcdef" * 4


def _result(*statuses: Status, detail: str = "seen") -> LevelResult:
    checks = [Check(f"check {number}", status, 0.25, detail) for number, status in enumerate(statuses)]
    return LevelResult(Level("some", "it holds", "that it rains", quick=True, run=lambda _: []), checks, 1.5)


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (("passed", "passed"), "passed"),
        (("passed", "failed"), "failed"),
        (("passed", "not_run"), "not_run"),
        (("not_run", "failed"), "failed"),
        ((), "not_run"),
    ],
)
def test_level_passes_only_if_all_of_it_passed(statuses: tuple[Status, ...], status: Status) -> None:
    assert _result(*statuses).status == status
    assert verdict([_result("passed"), _result(*statuses)]) == status


def test_check_takes_any_exception_for_a_failure() -> None:
    def found() -> str:
        raise CheckFailed("here it is")

    def broken() -> str:
        return str(1 // 0)

    assert (check("good", lambda: "fine").status, check("good", lambda: "fine").detail) == ("passed", "fine")
    assert (check("bad", found).status, check("bad", found).detail) == ("failed", "here it is")
    assert check("worse", broken).detail == "ZeroDivisionError: integer division or modulo by zero"


def test_level_that_breaks_has_failed() -> None:
    def breaks(_: Options) -> list[Check]:
        raise ValueError("half-way")

    result = run_level(Level("some", "it holds", "that it rains", quick=True, run=breaks))
    assert result.status == "failed"
    assert result.checks[-1].detail == "ValueError: half-way"


def test_json_has_everything() -> None:
    told = json.loads(json.dumps(as_json([_result("passed", "not_run")], SOURCES)))
    assert told["verdict"] == "not_run"
    assert told["sources"] == SOURCES
    assert told["levels"][0]["does_not_show"] == "that it rains"
    assert [each["status"] for each in told["levels"][0]["checks"]] == ["passed", "not_run"]


def test_page_is_self_contained_and_escapes() -> None:
    page = as_html([_result("passed", "failed", detail="<script>alert(1)</script>"), _result("not_run")], SOURCES)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=(?!\"#)|@import|url\(|https?:", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_page_says_not_run_and_claims_nothing_then() -> None:
    page = as_html([_result("not_run")], SOURCES)
    assert "not run" in page
    assert "it holds" not in page
    assert "that it rains" in page


def test_page_names_the_sources_that_were_verified() -> None:
    assert "sources 0123456789ab," in as_html([_result("passed")], SOURCES)


def test_what_passed_is_folded_and_what_did_not_stands_open() -> None:
    page = as_html([_result("passed", "failed", "not_run", "passed")], SOURCES)
    folded = re.search(r"<details>.*?</details>", page, re.DOTALL)
    assert folded is not None
    assert re.findall(r"check \d", folded[0]) == ["check 0", "check 3"]
    assert "<summary>2 passed</summary>" in folded[0]
    assert re.findall(r"<h3>.*(check \d)</h3>", page) == ["check 1", "check 2"]
    assert "<details open" not in page


def test_headings_go_down_one_at_a_time_and_no_status_is_colour_alone() -> None:
    page = as_html([_result("passed", "failed"), _result("not_run"), _result("passed")], SOURCES)
    depths = [int(depth) for depth in re.findall(r"<h(\d)", page)]
    assert depths[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(depths))
    marks = re.findall(r'class="mark (\w+)"><span aria-hidden="true">(.)</span> ([\w ]+)</span>', page)
    assert set(marks) == {("passed", "✓", "passed"), ("failed", "✗", "failed"), ("not_run", "–", "not run")}
    assert len(marks) == page.count('class="mark')


def test_counts_say_what_is_missing() -> None:
    assert counted(_result("passed", "passed")) == "2"
    assert counted(_result("passed", "failed", "not_run")) == "1 of 3"
    assert shown(_result("passed")) == "it holds"
    assert shown(_result("passed", "failed")) == "Nothing, because not all of it passed."


def test_every_level_says_what_it_does_not_show() -> None:
    assert [level.name for level in LEVELS] == ["tables", "proof", "model", "code", "random", "mutants", "trace"]
    for level in LEVELS:
        assert level.shows.endswith(".")
        assert level.does_not_show.endswith(".")
