"""The results of a verification as data and as a page (adapters/pages).

What did not pass stands open; the many checks that passed are folded away.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from adapters import pages
from adapters.verification.level import LevelResult, Status

WORDS: Final[dict[Status, str]] = {"passed": "passed", "failed": "failed", "not_run": "not run"}
"""How a status is told."""
_SIGNS: Final[dict[Status, str]] = {"passed": "✓", "failed": "✗", "not_run": "–"}


def verdict(results: Sequence[LevelResult]) -> Status:
    """Failed if one level failed; passed if all did; else not run."""
    statuses = {result.status for result in results}
    if "failed" in statuses:
        return "failed"
    return "passed" if statuses == {"passed"} else "not_run"


def shown(result: LevelResult) -> str:
    """What the level showed in this run."""
    return result.level.shows if result.status == "passed" else "Nothing, because not all of it passed."


def counted(result: LevelResult) -> str:
    """How many checks there were, and how many of them passed if not all did."""
    passed = sum(check.status == "passed" for check in result.checks)
    total = len(result.checks)
    return str(total) if passed == total else f"{passed} of {total}"


def as_json(results: Sequence[LevelResult], sources: str) -> dict[str, Any]:
    """The results as plain data.

    Args:
        results: What ran.
        sources: The hash of the sources that were verified, as in the stamp.
    """
    return {
        "verdict": verdict(results),
        "sources": sources,
        "seconds": round(sum(result.seconds for result in results), 3),
        "levels": [
            {
                "name": result.level.name,
                "status": result.status,
                "seconds": round(result.seconds, 3),
                "shows": result.level.shows,
                "does_not_show": result.level.does_not_show,
                "checks": [
                    {
                        "name": check.name,
                        "status": check.status,
                        "seconds": round(check.seconds, 3),
                        "detail": check.detail,
                    }
                    for check in result.checks
                ],
            }
            for result in results
        ],
    }


def as_html(results: Sequence[LevelResult], sources: str) -> str:
    """The results as a page.

    Args:
        results: What ran.
        sources: The hash of the sources that were verified, as in the stamp.
    """
    status = verdict(results)
    told: dict[Status, str] = {
        "passed": "Every level that was asked for passed.",
        "failed": "A check failed.",
        "not_run": "Nothing failed, but not everything was run.",
    }
    return pages.render(
        "verification/report.html.j2",
        results=results,
        status=status,
        told=told[status],
        time_of_run=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seconds=f"{sum(result.seconds for result in results):.1f}",
        sources=sources[:12],
        python=platform.python_version(),
        words=WORDS,
        signs=_SIGNS,
        counted=counted,
        shown=shown,
    )
