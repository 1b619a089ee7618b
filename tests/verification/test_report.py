"""Results as data and as a page: complete, honest about what was not run, and self-contained."""

from __future__ import annotations

import json
import re

import pytest

from adapters.verification.level import Check, CheckFailed, Level, LevelResult, Options, Status, check
from adapters.verification.levels import LEVELS, run_level
from adapters.verification.report import as_html, as_json, verdict


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
    told = json.loads(json.dumps(as_json([_result("passed", "not_run")])))
    assert told["verdict"] == "not_run"
    assert told["levels"][0]["does_not_show"] == "that it rains"
    assert [each["status"] for each in told["levels"][0]["checks"]] == ["passed", "not_run"]


def test_page_is_self_contained_and_escapes() -> None:
    page = as_html([_result("passed", "failed", detail="<script>alert(1)</script>"), _result("not_run")])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)=|@import|url\(|https?:", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_page_says_not_run_and_claims_nothing_then() -> None:
    page = as_html([_result("not_run")])
    assert "not run" in page
    assert "it holds" not in page
    assert "that it rains" in page


def test_every_level_says_what_it_does_not_show() -> None:
    assert [level.name for level in LEVELS] == ["tables", "proof", "model", "code", "random"]
    for level in LEVELS:
        assert level.shows.endswith(".")
        assert level.does_not_show.endswith(".")
