"""Invariants are read from their source as they are, and compared with all that their predicates use."""

from __future__ import annotations

import pytest

from adapters.diagram.marks import Kind
from adapters.diagram.reading import installed
from adapters.diagram.revisions import INVARIANTS as PATH
from adapters.review.invariants import InvariantsDiff, compare_invariants
from spec.invariants import INVARIANTS as RUNNING
from tests.adapters.diagram.repository import edited
from tests.cli.process import ROOT
from tests.review.material import INVARIANTS

TEXT = (ROOT / PATH).read_text(encoding="utf-8")


def changed(*edits: tuple[str, str], text: str = INVARIANTS) -> InvariantsDiff:
    return compare_invariants({PATH: text}, {PATH: edited(text, *edits)})


def kinds(diff: InvariantsDiff) -> list[tuple[str, Kind]]:
    return [(change.id, change.kind) for change in diff.changes]


def test_those_that_run_are_read_as_they_are() -> None:
    diff = compare_invariants({}, {PATH: TEXT})
    read = [change.after for change in diff.changes if change.after is not None]
    assert [(each.id, each.statement, each.findings) for each in read] == [
        (each.id, each.statement, each.findings) for each in RUNNING
    ]
    for each, running in zip(read, RUNNING, strict=True):
        assert f"def {running.check.__name__}(" in each.code.split("\n\n")[-1]
    assert diff.count == len(RUNNING)
    assert compare_invariants({PATH: TEXT}, {PATH: TEXT}) == InvariantsDiff((), len(RUNNING))


def test_each_kind_of_change_is_told() -> None:
    assert kinds(changed(("the most.", "the least."))) == [("NeverMost", Kind.CHANGED)]
    assert kinds(changed(('("F1", "F2")', '("F2",)'))) == [("NeverMore", Kind.CHANGED)]
    assert kinds(changed(("now.passed < 0", "now.passed < 1"))) == [("NeverLess", Kind.CHANGED)]
    assert kinds(changed(('"NeverLess"', '"NotLess"'))) == [("NotLess", Kind.ADDED), ("NeverLess", Kind.REMOVED)]


def test_what_a_predicate_uses_is_part_of_it() -> None:
    (helper,) = changed(("gate.size", "gate.size + 1")).changes
    assert helper.id == "NeverMore"
    assert helper.before is not None
    assert helper.before.code == (
        "def _room(gate):\n    return gate.size\n\n"
        "def _never_more(now):\n    return 'too many' if now.passed > _room(now) else None"
    )
    (constant,) = changed(("_MOST = 3", "_MOST = 4")).changes
    assert constant.after is not None
    assert constant.after.code.startswith("_MOST = 4\n\ndef _never_most(now):")


def test_other_code_of_the_module_is_told() -> None:
    diff = changed(("if each.check(now)", "if each.check(now) and each.id"))
    assert (diff.changes, diff.beside) == ((), True)
    assert not changed(('"""Docstring."""', '"""Another."""')).beside
    twice = INVARIANTS.replace("def violations", "def _never_less(now):\n    return None\n\n\ndef violations")
    assert changed(("return None\n", "return 'no'\n"), text=twice).beside, "bound twice: which one counts is not told"


def test_a_revision_without_the_module_has_none() -> None:
    diff = compare_invariants({PATH: INVARIANTS}, installed())
    assert [kind for _, kind in kinds(diff)] == [Kind.REMOVED] * 3
    assert diff.count == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"NeverLess"', "name()", "line 29: name() can't be read without running it; expected a text"),
        ('"NeverLess"', '"NeverMore"', "expected an id of its own"),
        ("INVARIANTS: Final", "OTHERS: Final", "there is no INVARIANTS"),
        ("_MOST = 3", "_MOST = (", "no Python"),
        ("_MOST = 3", "_MOST = " + "-" * 100_000 + "3", "nested too deeply"),
        ('("F1", "F2")', "[*all()]", "expected a literal tuple"),
    ],
    ids=["id", "twice", "none", "syntax", "deep", "findings"],
)
def test_what_can_not_be_read_is_reported_and_nothing_compared(old: str, new: str, message: str) -> None:
    broken = edited(INVARIANTS, (old, new))
    for sides, side in (((INVARIANTS, broken), "after"), ((broken, INVARIANTS), "before")):
        diff = compare_invariants({PATH: sides[0]}, {PATH: sides[1]})
        assert diff.changes == ()
        (why,) = diff.unreadable
        assert why.startswith(f"{side}: spec/invariants.py")
        assert message in why
