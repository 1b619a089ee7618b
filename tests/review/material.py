"""What a review is made of: a repository with known edits, and files as the other commands write them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from adapters.diagram.chart import Atlas
from adapters.diagram.diff import compare
from adapters.diagram.reading import read
from adapters.diagram.revisions import revisions
from adapters.review.page import Review
from adapters.verification.level import Check, LevelResult, Status
from adapters.verification.levels import LEVELS
from adapters.verification.report import as_json
from adapters.verification.stamp import hash_of_sources
from tests.adapters.diagram.repository import COMPOSITION, FILES, GATE, LAMP, Repository, edited

INVARIANTS: Final = '''"""The invariants."""

_MOST = 3


def _room(gate):
    return gate.size


def _never_more(now):
    """Docstring."""
    return "too many" if now.passed > _room(now) else None


def _never_less(now):
    return "too few" if now.passed < 0 else None


def _never_most(now):
    return "most" if now.passed > _MOST else None


def violations(now):
    return [each for each in INVARIANTS if each.check(now)]


INVARIANTS: Final = (
    Invariant("NeverMore", "No more pass than there is room for.", ("F1", "F2"), _never_more),
    Invariant("NeverLess", "No fewer " "than none pass.", ("F1",), _never_less),
    Invariant("NeverMost", "No more pass than the most.", (), _never_most),
)
'''
BASE: Final = {**FILES, "spec/invariants.py": INVARIANTS}
BELL: Final = LAMP.replace("lamp", "bell").replace("LAMP", "BELL").replace("Lamp", "Bell")
HEAD: Final[dict[str, str | None]] = {
    "machines/gate.py": edited(
        GATE,
        ('OPENING = "opening"', 'RAISING = "raising"'),
        ("_E.ARRIVE, _S.OPENING", "_E.ARRIVE, _S.RAISING"),
        ("_S.CLOSED, _S.OPENING", "_S.CLOSED, _S.RAISING"),
        ("_E.JAM, _S.OPENING", "_E.JAM, _S.RAISING"),
        ("gate.coins >= price(gate)", "gate.coins > price(gate)"),
        ('        Row(_E.PRESS, _S.OPEN, _S.CLOSED, why="at once"),\n', ""),
        ("    STUCK =", '    LIT = "lit"\n    """A lamp is on."""\n    STUCK ='),
        (
            'why="the motor stalls"),\n',
            'why="the motor stalls"),\n        Row(_E.JAM, _S.OPEN, _S.LIT, guard=_paid, effect=_count),\n',
        ),
        ("return 2", "return 3"),
    ),
    "machines/bell.py": BELL,
    "machines/lamp.py": None,
    "spec/composition.py": edited(COMPOSITION, ('"it is dark"', '"it is night"')),
    "spec/invariants.py": edited(
        INVARIANTS,
        ("gate.size", "gate.size - 1"),
        ('def _never_less(now):\n    return "too few" if now.passed < 0 else None\n\n\n', ""),
        ('    Invariant("NeverLess", "No fewer " "than none pass.", ("F1",), _never_less),\n', ""),
        ("the most.", "the very most."),
    ),
}
"""What a change changes: something of each kind."""


def repository(folder: Path) -> Repository:
    """The two revisions, tagged `base` and `head`."""
    made = Repository(folder)
    made.commit(BASE, tag="base")
    made.commit(HEAD, tag="head")
    return made


def checked_out(made: Repository) -> str:
    """The hash of the sources that are checked out, as a verification there would say it."""
    return hash_of_sources([made.folder / name for name in ("machines", "spec")])


def review(made: Repository, asked: str = "base..head", **given: Any) -> Review:
    """What is reviewed."""
    before, after = revisions(asked, made.folder)
    return Review(before, after, compare(before.sources, after.sources), **given)


def atlas(made: Repository, revision: str = "head") -> Atlas:
    """The machines of a revision."""
    return read(revisions(f"base..{revision}", made.folder)[1].sources)


def coverage(charts: Atlas, never: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """What the suite writes if it takes each row 7 times, but those of (machine, event) in `never`."""
    return {
        "tests": 12,
        "machines": {
            chart.name: [
                {
                    "event": row.event,
                    "source": row.source,
                    "target": row.target,
                    "taken": 0 if (chart.name, row.event) in never else 7,
                }
                for row in chart.transitions
            ]
            for chart in charts.charts
        },
    }


def verification(*statuses: Status, sources: str = "other") -> dict[str, Any]:
    """What `hip3 verify --json` prints when its first levels end so, with two checks each, the last of that status."""
    results = []
    for level, status in zip(LEVELS, statuses, strict=False):
        checks = [Check("one", "passed", 0.5, "seen"), Check("two", status, 1.5, f"{level.name} saw\nthis")]
        results.append(LevelResult(level, checks, 2.0))
    return as_json(results, sources)


def written(path: Path, content: Any) -> Path:
    """A file with content as JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
