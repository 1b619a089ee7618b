"""The page of a review: what changed in the machines, and what is known of them, as one file that needs no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Final, Literal, TypeAlias

from markupsafe import Markup

from adapters import pages
from adapters.diagram import graphviz
from adapters.diagram.chart import Function, Key
from adapters.diagram.diff import AtlasDiff, MachineDiff, compare
from adapters.diagram.marks import Kind
from adapters.diagram.reading import COMPOSITION, MACHINES, installed
from adapters.diagram.renaming import name_of
from adapters.diagram.revisions import Revision
from adapters.diagram.summary import beside_lines, counted, drive_lines, headline, machine_lines
from adapters.review.evidence import Coverage, MachineCoverage, Trace, Verification, coverage_of
from adapters.review.invariants import InvariantChange, InvariantsDiff, compare_invariants
from adapters.verification.levels import LEVELS
from adapters.verification.stamp import hash_of

Mark: TypeAlias = tuple[str, str, str]
"""A class of the page's style, a sign, and a word."""
_MARKS: Final[dict[str, Mark]] = {
    "+": ("added", "+", "added"),
    "-": ("removed", "−", "removed"),
    "~": ("changed", "~", "changed"),
    "→": ("changed", "→", "renamed"),
    "!": ("failed", "!", "not compared"),
    "same": ("passed", "=", "unchanged"),
    "passed": ("passed", "✓", "passed"),
    "failed": ("failed", "✗", "failed"),
    "not_run": ("not_run", "–", "not run"),
    "not given": ("not_run", "–", "not given"),
    "uncovered": ("failed", "✗", "uncovered"),
    "gaps": ("changed", "~", "with gaps"),
    "in part": ("changed", "~", "in part"),
    "elsewhere": ("not_run", "–", "not of HEAD"),
}
"""By the sign of a line of the summary, or by what became of a thing."""
_OF_KIND: Final = {Kind.ADDED: "+", Kind.REMOVED: "-", Kind.CHANGED: "~"}
_MOST_ROWS: Final = 400
"""So many transitions and states of a machine are drawn at most: a larger drawing nobody can read."""
_MOST_LINES: Final = 1_000
"""So many lines of code are compared at most: the comparison takes the square of them."""


@dataclass(frozen=True, slots=True)
class Review:
    """What a page is made of.

    Attributes:
        before: The old revision.
        after: The new revision.
        diff: What changed in the machines.
        verification: Results of a verification; None if not given.
        coverage: The transition coverage of the suite; None if not given.
        traces: Recorded runs, replayed; empty if none was given.
    """

    before: Revision
    after: Revision
    diff: AtlasDiff
    verification: Verification | None = None
    coverage: Coverage | None = None
    traces: tuple[Trace, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeChange:
    """Code before and after.

    Attributes:
        title: Whose it is.
        lines: Each with its sign: `+`, `-`, or a space; empty if it is too long to be compared.
    """

    title: str
    lines: tuple[tuple[Literal["+", "-", " "], str], ...]


def render(review: Review) -> str:
    """The page.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    invariants = compare_invariants(review.before.sources, review.after.sources)
    covered = None
    if review.coverage is not None:
        covered = coverage_of(review.coverage, review.diff.after.charts, review.diff)
    of_head = review.verification is not None and review.verification.sources == _hash_of(review.after)
    replayed_by_head = bool(review.traces) and _of_this_process(review.after)
    given = {level.name for level in review.verification.levels} if review.verification is not None else set()
    short = [
        ("machines", "Machines", *_machines_in_short(review.diff)),
        ("invariants", "Invariants", *_invariants_in_short(invariants)),
        ("verification", "Verification", *_verification_in_short(review.verification, of_head)),
        ("mutants", "Mutants", *_mutants_in_short(review.verification, of_head)),
        ("coverage", "Transition coverage", *_coverage_in_short(covered, review.coverage)),
        ("traces", "Traces", *_traces_in_short(review.traces, replayed_by_head)),
    ]
    return pages.render(
        "review/review.html.j2",
        review=review,
        short=short,
        marks=_MARKS,
        machines=[_Machine.of(machine) for machine in review.diff.machines],
        drives=[_line(line) for line in drive_lines(review.diff)],
        beside=[_line(line) for line in beside_lines(review.diff)],
        invariants=invariants,
        invariant_changes=[
            (_MARKS[_OF_KIND[change.kind]], change, _predicates(change)) for change in invariants.changes
        ],
        mutants=None if review.verification is None else review.verification.mutants,
        levels_not_given=[level.name for level in LEVELS if level.name not in given],
        covered=covered,
        of_head=of_head,
        replayed_by_head=replayed_by_head,
        move=_move,
    )


@dataclass(frozen=True, slots=True)
class _Machine:
    """A changed machine as the page shows it."""

    title: str
    file: str
    mark: Mark
    lines: list[tuple[Mark, str]]
    drawing: Markup | None
    codes: list[CodeChange]

    @staticmethod
    def of(machine: MachineDiff) -> _Machine:
        chart = machine.chart
        drawing = None
        if len(chart.transitions) + len(chart.states) <= _MOST_ROWS:
            drawing = Markup(graphviz.svg(chart, machine.marks))  # noqa: S704 the drawing escapes every text in it
        return _Machine(
            title=chart.title,
            file=chart.file,
            mark=_MARKS[_OF_KIND[machine.kind]],
            lines=[_line(line) for line in machine_lines(machine)],
            drawing=drawing,
            codes=list(_codes(machine)),
        )


def _line(line: str) -> tuple[Mark, str]:
    """A line of the summary, its sign as a mark."""
    sign, _, text = line.partition(" ")
    return _MARKS[sign], text


def _codes(machine: MachineDiff) -> Iterator[CodeChange]:
    """The guards and effects of a machine whose code differs, each once."""
    seen: set[tuple[str, str, str]] = set()
    for change in machine.transitions:
        if change.before is None or change.after is None:
            continue
        for what, before, after in (
            ("Guard", change.before.guard, change.after.guard),
            ("Effect", change.before.effect, change.after.effect),
        ):
            old, new = _source(before), _source(after)
            name = name_of(after or before)
            if old != new and (name, old, new) not in seen:
                seen.add((name, old, new))
                yield CodeChange(f"{what} {name}", _compared(old, new))


def _source(function: Function | None) -> str:
    return "" if function is None else function.code


def _predicates(change: InvariantChange) -> CodeChange | None:
    """How an invariant's predicate changed; None if it did not."""
    old = "" if change.before is None else change.before.code
    new = "" if change.after is None else change.after.code
    return None if old == new else CodeChange("Predicate", _compared(old, new))


def _compared(before: str, after: str) -> tuple[tuple[Literal["+", "-", " "], str], ...]:
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > _MOST_LINES:
        return ()
    lines: list[tuple[Literal["+", "-", " "], str]] = []
    for line in list(unified_diff(old, new, n=_MOST_LINES, lineterm=""))[3:]:  # without its three lines of heading
        sign: Literal["+", "-", " "] = "+" if line[0] == "+" else "-" if line[0] == "-" else " "
        lines.append((sign, line[1:]))
    return tuple(lines)


def _hash_of(revision: Revision) -> str:
    """The hash by which a verification names its sources."""
    return hash_of({path: text.encode(errors="surrogateescape") for path, text in revision.sources.items()})


def _of_this_process(after: Revision) -> bool:
    """Whether the machines that replayed, and that this process would run, are those of the new revision."""
    asked = {
        path: text for path, text in after.sources.items() if path == COMPOSITION or path.startswith(f"{MACHINES}/")
    }
    return compare(installed(), asked).unchanged


def _move(key: Key) -> str:
    event, source, target = key
    return f"{event}: {source} → {target}"


# ------------------------------------------------------------------------------------------------------ in short

Short: TypeAlias = tuple[Mark, str]
"""What became of a thing, and how that is told."""
_NOT_GIVEN: Final = _MARKS["not given"]


def _machines_in_short(diff: AtlasDiff) -> Short:
    mark = _MARKS["same"] if diff.unchanged else _MARKS["!"] if diff.unreadable else _MARKS["~"]
    return mark, " ".join(headline(diff))


def _invariants_in_short(diff: InvariantsDiff) -> Short:
    if diff.unreadable:
        return _MARKS["!"], "They could not be read."
    told = [f"{len(diff.changes)} changed, of {diff.count} now."] if diff.changes else []
    if diff.beside:
        told.append("Other code of their module changed.")
    return (_MARKS["~"], " ".join(told)) if told else (_MARKS["same"], f"All {diff.count} are the same.")


def _verification_in_short(verification: Verification | None, of_head: bool) -> Short:
    if verification is None:
        return _NOT_GIVEN, "Nothing is known of it: give the output of “hip3 verify --json” by --verify."
    passed = sum(level.status == "passed" for level in verification.levels)
    told = f"{passed} of {counted(len(verification.levels), 'level')} that ran passed; there are {len(LEVELS)} levels."
    if not of_head:
        return _MARKS["elsewhere"], f"{told} But other sources were verified."
    missing = {level.name for level in LEVELS} - {level.name for level in verification.levels}
    return _MARKS["in part" if verification.status == "passed" and missing else verification.status], told


def _mutants_in_short(verification: Verification | None, of_head: bool) -> Short:
    mutants = None if verification is None else verification.mutants
    if mutants is None:
        return _NOT_GIVEN, "Nothing is known of them: no results of the level mutants were given."
    alive = f"{len(mutants.alive)} survived" if mutants.alive else "none survived"
    told = f"{counted(mutants.hunted, 'mistake')} put back, {alive}."
    return (_MARKS[mutants.status], told) if of_head else (_MARKS["elsewhere"], f"{told} But into other sources.")


def _coverage_in_short(covered: Sequence[MachineCoverage] | None, coverage: Coverage | None) -> Short:
    if covered is None or coverage is None:
        return _NOT_GIVEN, "Nothing is known of it: give what “pytest --transition-coverage FILE” writes by --coverage."
    taken, rows = sum(machine.covered for machine in covered), sum(machine.rows for machine in covered)
    told = f"{taken} of {counted(rows, 'transition')} taken by {counted(coverage.tests, 'test')}."
    changed = sum(len(machine.changed) for machine in covered)
    if changed:
        return _MARKS["uncovered"], f"{told} {counted(changed, 'changed transition')} never taken."
    return _MARKS["passed"] if taken == rows else _MARKS["gaps"], told


def _traces_in_short(traces: Sequence[Trace], of_head: bool) -> Short:
    if not traces:
        return _NOT_GIVEN, "Nothing was replayed: give journals, or exports of them, by --trace."
    runs = [run for trace in traces for run in trace.runs]
    told = f"{counted(len(runs), 'run')}, {counted(sum(run.steps for run in runs), 'step')} equal"
    parted = sum(run.differs is not None for run in runs)
    if parted:
        told += f"; {counted(parted, 'run')} can't be replayed to the end"
    if not of_head:
        return _MARKS["elsewhere"], f"{told}; but not through the machines of this revision."
    return _MARKS["failed" if parted else "passed"], f"{told}."
