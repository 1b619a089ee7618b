"""The page of `hip3 verify` in a browser: light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.verification.level import Check, Level, LevelResult, Status
from adapters.verification.report import as_html
from tests.browser.conftest import NARROW, WIDE, Open, Scheme, assert_sound


def _result(*statuses: Status) -> LevelResult:
    detail = "first line\nsecond line of a counterexample that is so long that a telephone has to break it: " + "x" * 90
    checks = [
        Check(f"mutant_with_a_long_name_{number}", status, 0.25, detail) for number, status in enumerate(statuses)
    ]
    return LevelResult(Level("some", "it holds.", "that it rains.", quick=True, run=lambda _: []), checks, 1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_report_is_sound(visit: Open, tmp_path: Path, width: int, scheme: Scheme) -> None:
    file = tmp_path / "report.html"
    results = [_result("passed", "failed"), _result("not_run"), _result("passed")]
    file.write_text(as_html(results, "0123456789abcdef" * 4), encoding="utf-8")
    page = visit(file, width, scheme)
    assert_sound(page)
    page.locator("summary").first.click()
    assert page.locator("table.checks").first.is_visible()
    assert_sound(page)
