"""Writes the counts of a run of many seeds into docs/reliability.md.

    hip3 simulate --seeds 500 --json | python -m tests.simulation.document

Everything between the two marks is replaced; the text around them is written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- counts: written by tests/simulation/document.py -->\n"
END: Final = "<!-- end of counts -->\n"
_TABLES: Final = {"fault": "faults", "what the faults led to": "sights", "transition": "transitions"}


def written(document: str, report: dict[str, Any]) -> str:
    """The document with the counts of `report`.

    Raises:
        ValueError: A mark is missing, or the report is of a run that failed.
    """
    if not report["good"]:
        raise ValueError("the run failed, its counts are not for the document")
    before, found, rest = document.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"the document lacks a mark: {(BEGIN if not found else END).strip()}")
    return before + BEGIN + "\n".join(_lines(report)) + "\n" + END + after


def _lines(report: dict[str, Any]) -> Iterator[str]:
    outcomes = ", ".join(f"{name} {count:,}" for name, count in report["outcomes"].items())
    yield (
        f"{report['runs']:,} runs of {report['hours']:g} h, {report['simulated_hours']:.1f} simulated hours, "
        f"{report['steps']:,} steps of the core, {report['lives']:,} starts of the executor; "
        f"**{len(report['violations'])} violations**. Outcomes told: {outcomes}."
    )
    for heading, key in _TABLES.items():
        yield from ("", f"| {heading} | times |", "|---|---:|")
        yield from (
            f"| {name.replace('-->', '→').replace('--', '')} | {count:,} |" for name, count in report[key].items()
        )
    yield ""


def main() -> None:
    """Read a report from standard input, and write its counts into the document."""
    report = json.load(sys.stdin)
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main()
