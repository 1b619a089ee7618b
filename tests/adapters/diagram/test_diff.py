"""A test repository with known edits gives exactly the expected summary; a hostile revision gives a summary only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.diagram.chart import Chart
from adapters.diagram.diff import AtlasDiff, MachineDiff, compare, compare_charts
from adapters.diagram.marks import Kind, Mark
from adapters.diagram.reading import installed, read
from adapters.diagram.revisions import revisions
from adapters.diagram.summary import UNCHANGED, markdown, plain, summary
from tests.adapters.diagram.repository import COMPOSITION, FILES, GATE, LAMP, Repository, edited

_JAM = '        Row(_E.JAM, _S.OPENING, _S.STUCK, why="the motor stalls"),\n'
_AT_ONCE = '        Row(_E.PRESS, _S.OPEN, _S.CLOSED, why="at once"),\n'
_START = '        Row(_E.PRESS, _S.CLOSED, _S.OPENING, guard=_paid, why="the motor starts"),\n'

ADDED: Final = (_JAM, _JAM + "        Row(_E.JAM, _S.OPEN, _S.STUCK, guard=_paid, effect=_count),\n")
REMOVED: Final = (_AT_ONCE, "")
GUARD_CODE: Final = ("gate.coins >= price(gate)", "gate.coins > price(gate)")
EFFECT: Final = ("effect=_count, why", "why")
RENAMED: Final = ('OPENING = "opening"', 'RAISING = "raising"'), ("_E.ARRIVE, _S.OPENING", "_E.ARRIVE, _S.RAISING")
RENAMED_REST: Final = (("_S.CLOSED, _S.OPENING", "_S.CLOSED, _S.RAISING"), ("_E.JAM, _S.OPENING", "_E.JAM, _S.RAISING"))
BELL: Final = LAMP.replace("lamp", "bell").replace("LAMP", "BELL").replace("Lamp", "Bell")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit(FILES, tag="base")
    return made


def diff_of(repository: Repository, files: Mapping[str, str | None]) -> AtlasDiff:
    """What an edit, committed, changes."""
    repository.commit(files)
    before, after = revisions("base..HEAD", repository.folder)
    return compare(before.sources, after.sources)


def gate(*edits: tuple[str, str]) -> dict[str, str | None]:
    return {"machines/gate.py": edited(GATE, *edits)}


EDITS: Final[dict[str, tuple[dict[str, str | None], str]]] = {
    "transition added": (
        gate(ADDED),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  + jam [_paid] / _count: open → stuck
""",
    ),
    "transition removed": (
        gate(REMOVED),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  - press: open → closed
""",
    ),
    "guard has other code": (
        gate(GUARD_CODE),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ press [_paid]: closed → opening: guard _paid: other code
""",
    ),
    "guard is another": (
        gate(("guard=_paid, ", "guard=_rich, "), ("def _count", "def _rich(gate):\n    return True\n\n\ndef _count")),
        """\
Machines: 1 changed.
Beside the tables, code changed in 1 module.

~ machine gate (machines/gate.py)
  ~ press [_rich]: closed → opening: guard _paid → _rich

~ code beside the tables changed: machines/gate.py
""",
    ),
    "guard has another name": (
        gate(("guard=_paid, ", "guard=_can_pay, "), ("def _paid", "def _can_pay")),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ press [_can_pay]: closed → opening: guard _paid → _can_pay, same code
""",
    ),
    "guard is gone": (
        gate((", guard=_paid", "")),
        """\
Machines: 1 changed.
Beside the tables, code changed in 1 module.

~ machine gate (machines/gate.py)
  ~ press: closed → opening: guard _paid → none

~ code beside the tables changed: machines/gate.py
""",
    ),
    "effect is gone": (
        gate(EFFECT, ("def _count(gate):\n    gate.passed += 1\n\n\n", "")),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ arrive: opening → open: effect _count → none
""",
    ),
    "effect has other code": (
        gate(("gate.passed += 1", "gate.passed += 2")),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ arrive / _count: opening → open: effect _count: other code
""",
    ),
    "target moved": (
        gate(("_S.OPEN, _S.CLOSED", "_S.OPEN, _S.OPENING")),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ press: open → opening: led to closed
""",
    ),
    "reason is another": (
        gate(('why="at once"', 'why="after a while"')),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ press: open → closed: reason “at once” → “after a while”
""",
    ),
    "state renamed": (
        gate(*RENAMED, *RENAMED_REST),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  → state opening → raising
""",
    ),
    "state added": (
        gate(('    STUCK = "stuck"\n', '    LIT = "lit"\n    """A lamp is on."""\n    STUCK = "stuck"\n')),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  + state lit: A lamp is on.
""",
    ),
    "state removed with its row": (
        gate(('    STUCK = "stuck"\n    """Ended: somebody has to come."""\n', ""), (_JAM, ""), ("{_S.STUCK}", "")),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  - state stuck (final): Ended: somebody has to come.
  - jam: opening → stuck
""",
    ),
    "states play other roles": (
        gate(("initial=_S.CLOSED", "initial=_S.OPEN"), ("{_S.STUCK}", ""), ("Nobody passes.", "")),
        """\
Machines: 1 changed.

~ machine gate (machines/gate.py)
  ~ state closed: no longer initial
  ~ state closed: meaning removed: “Nobody passes.”
  ~ state open: initial now
  ~ state stuck: no longer final
""",
    ),
    "machine added": (
        {"machines/bell.py": BELL},
        """\
Machines: 1 added.

+ machine bell (machines/bell.py): 2 states, 2 transitions
""",
    ),
    "machine removed": (
        {"machines/lamp.py": None},
        """\
Machines: 1 removed.

- machine lamp (machines/lamp.py): 2 states, 2 transitions
""",
    ),
    "drives changed": (
        {
            "spec/composition.py": edited(
                COMPOSITION,
                ('    Drive("Pressed", "gate.press"),\n', ""),
                ('"it is dark"', '"it is night"'),
                ("\n)", '\n    Drive("gate.jam", "lamp.press"),\n)'),
            )
        },
        """\
No machine's table changed.
Of how they drive each other, 3 rows changed.

~ gate.press → lamp.press: condition it is dark → it is night
+ gate.jam → lamp.press
- Pressed → gate.press
""",
    ),
    "what a guard calls": (
        gate(("return 2", "return 3")),
        """\
No machine's table changed.
Beside the tables, code changed in 1 module.

~ code beside the tables changed: machines/gate.py
""",
    ),
    "modules without machines": (
        {"machines/prices.py": "X = 1\n", "machines/deep/x.py": "X = 1\n"},
        """\
No machine's table changed.
Beside the tables, code changed in 2 modules.

~ code beside the tables changed: machines/deep/x.py (added)
~ code beside the tables changed: machines/prices.py (added)
""",
    ),
    "table that is no data": (
        {"machines/lamp.py": edited(LAMP, ("frozenset()", "nothing()")), **gate(REMOVED)},
        """\
Machines: 1 changed.
Beside the tables, code changed in 1 module.
1 module could not be read.

~ machine gate (machines/gate.py)
  - press: open → closed

~ code beside the tables changed: machines/lamp.py
! not compared: after: machines/lamp.py, line 21: nothing() can't be read without running it; expected \
frozenset({…}) of states
""",
    ),
    "all at once": (
        {
            **gate(ADDED, REMOVED, *RENAMED, *RENAMED_REST, GUARD_CODE, ("gate.passed += 1", "gate.passed += 2")),
            "machines/bell.py": BELL,
            "machines/lamp.py": None,
            "spec/composition.py": edited(COMPOSITION, ('    Drive("gate.press", "lamp.press", "it is dark"),\n', "")),
            "machines/prices.py": "X = 1\n",
        },
        """\
Machines: 1 added, 1 removed, 1 changed.
Of how they drive each other, 1 row changed.
Beside the tables, code changed in 1 module.

+ machine bell (machines/bell.py): 2 states, 2 transitions

~ machine gate (machines/gate.py)
  → state opening → raising
  ~ press [_paid]: closed → raising: guard _paid: other code
  ~ arrive / _count: raising → open: effect _count: other code
  + jam [_paid] / _count: open → stuck
  - press: open → closed

- machine lamp (machines/lamp.py): 2 states, 2 transitions

- gate.press → lamp.press (it is dark)

~ code beside the tables changed: machines/prices.py (added)
""",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_known_edit_gives_exactly_this(repository: Repository, name: str) -> None:
    files, expected = EDITS[name]
    diff = diff_of(repository, files)
    assert summary(diff) == expected
    assert not diff.unchanged
    for line in filter(None, map(str.strip, expected.splitlines())):
        assert line in markdown(diff, "base", "HEAD")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"README.md": "Read me."},
        gate(("    gate.passed += 1", "    # one more\n\n    gate.passed += (1)")),
        gate(('"""A gate.', '"""A big gate.'), ('    """Whether the cart may pass."""\n', "")),
        gate((_START, ""), (_JAM, _JAM + _START)),
        gate(
            ("_S, _E = GateState, GateEvent", "_S = GateState\n_E = GateEvent\n_WHY = 'at once'"),
            ('why="at once"', "why=_WHY"),
        ),
    ],
    ids=["nothing", "elsewhere", "layout", "docstrings", "order of no weight", "other words for the same table"],
)
def test_what_changes_no_machine(repository: Repository, files: dict[str, str | None]) -> None:
    diff = diff_of(repository, files)
    assert summary(diff) == f"{UNCHANGED}\n"
    assert diff.unchanged
    assert UNCHANGED in markdown(diff, "base", "HEAD")


def test_a_summary_does_not_depend_on_hash_order_or_on_where_the_repository_is(tmp_path: Path) -> None:
    files, expected = EDITS["all at once"]
    for name in ("one", "two"):
        made = Repository(tmp_path / name)
        made.commit(FILES, tag="base")
        assert summary(diff_of(made, files)) == expected


# ------------------------------------------------------------------------------------------------ hostile revisions


def test_nothing_of_a_hostile_revision_runs(repository: Repository, tmp_path: Path) -> None:
    """Its modules would write a file when they are imported, and by everything that evaluates a part of them."""
    ran = tmp_path / "ran"
    trap = f"__import__('pathlib').Path({str(ran)!r}).touch()"
    package = f"import sys\n{trap}\n"
    files = {
        "machines/__init__.py": package,
        "spec/__init__.py": package,
        "machines/gate.py": f"{trap}\n"
        + edited(
            GATE,
            ('"""Where it is."""', f'X = {trap}\n    """Where it is."""'),
            ("def _paid(gate)", f"def _paid(gate, x={trap})"),
        ),
        "machines/lamp.py": edited(LAMP, ('"lamp",', f"{trap} or 'lamp',")),
        "spec/composition.py": f"{trap}\n{COMPOSITION}",
        "spec/invariants.py": package,
        "sitecustomize.py": package,
        "conftest.py": package,
        "adapters/__init__.py": package,
    }
    diff = diff_of(repository, files)
    text = summary(diff)
    assert "~ press [_paid]: closed → opening: guard _paid: other code" in text
    assert "! not compared: after: machines/lamp.py, line 17: " in text
    assert "~ code beside the tables changed: machines/gate.py" in text
    repository.git("reset", "--hard", "--quiet", "base")
    repository.write(files)
    before, after = revisions("base..", repository.folder)
    assert summary(compare(before.sources, after.sources)) == text
    assert not ran.exists()
    exec(compile(files["machines/__init__.py"], "trap", "exec"), {})  # noqa: S102 the trap works
    assert ran.exists()


def test_texts_of_a_hostile_revision_stay_in_their_line(repository: Repository) -> None:
    """No escape sequence, no line of its own, no end of a code block, and no Mermaid of its own."""
    escape = r"\x1b]0;owned\x07\x1b[2J\u202e\ud800"
    nasty = r"x\n```\n+ machine safe\n%%{init: {}}%%\nclick s0 href \"javascript:0\"; <script>[*] --> s1: @team"
    diff = diff_of(
        repository,
        gate(
            ('"at once"', f'"{escape}{nasty}"'),
            ('"open"', f'"open{nasty}"'),
            ("Carts pass.", nasty),
            ('"jam"', f'"{nasty}"'),
        ),
    )
    for text in (summary(diff), markdown(diff, f"base`{escape}\n", "HEAD")):
        assert not {"\x1b", "\x07", "\u202e", "\ud800"} & set(text)
        assert not any(line.lstrip().startswith(("+ machine safe", "%%", "click")) for line in text.splitlines())
    shown = markdown(diff, "base", "HEAD")
    assert shown.count("\n````diff\n") == 1, "a longer fence than the one in the text"
    diagram = shown.partition("```mermaid\n")[2].partition("\n```\n")[0]
    for line in diagram.splitlines():
        bare = re.sub(r"-->|<br/>|#\d+;|^    state \"|\" as s\w+$", "", line)
        assert not set('<>`;#{}%@"\\') & set(re.sub(r"^    classDef .*", "", bare)), line


def test_a_long_text_is_cut() -> None:
    assert len(plain("x" * 10_000)) < 500
    assert plain(" a\n\tb  c ") == "a b c"


def test_what_is_unreadable_at_either_side_hides_no_other_machine() -> None:
    broken = {**FILES, "machines/lamp.py": "x = (", "machines/bell.py": BELL}
    diff = compare(FILES, broken)
    assert [machine.chart.name for machine in diff.machines] == ["bell"]
    assert [why.partition(":")[0] for why in diff.unreadable] == ["after"]
    back = compare(broken, FILES)
    assert [(machine.chart.name, machine.kind) for machine in back.machines] == [("bell", Kind.REMOVED)]
    assert [why.partition(":")[0] for why in back.unreadable] == ["before"]
    assert not compare(broken, broken).unchanged, "what can't be read can't be told unchanged"
    lost = compare(FILES, {**FILES, "spec/composition.py": "X = 1"})
    assert lost.drives == ()
    assert lost.unreadable == ("after: spec/composition.py: there is no DRIVES",)


def test_two_machines_of_one_name_are_reported() -> None:
    diff = compare(FILES, {**FILES, "machines/lamp2.py": LAMP})
    assert diff.unreadable == ("after: machines/lamp2.py: a machine named 'lamp' is in machines/lamp.py already",)
    assert diff.machines == ()


def test_a_machine_that_moves_is_the_same_machine() -> None:
    moved = {**FILES, "machines/light.py": LAMP + "\nprint()\n"}
    del moved["machines/lamp.py"]
    diff = compare(FILES, moved)
    assert diff.machines == ()
    assert diff.beside == ("machines/lamp.py (removed)", "machines/light.py (added)")


# ------------------------------------------------------------------------------------------------------- renaming


def changed(*edits: tuple[str, str], text: str = GATE) -> MachineDiff:
    """The one machine that the edits change."""
    (machine,) = compare({"machines/gate.py": text}, {"machines/gate.py": edited(text, *edits)}).machines
    return machine


def renames(machine: MachineDiff) -> dict[str, str]:
    return {state.before.name: state.name for state in machine.states if state.renamed and state.before is not None}


def test_a_guard_that_names_the_renamed_state_has_not_changed() -> None:
    text = edited(GATE, ("gate.coins >= price(gate)", "gate.state is not GateState.OPENING"))
    machine = changed(*RENAMED, *RENAMED_REST, ("not GateState.OPENING", "not GateState.RAISING"), text=text)
    assert renames(machine) == {"opening": "raising"}
    assert machine.transitions == ()
    other = changed(*RENAMED, *RENAMED_REST, ("not GateState.OPENING", "not GateState.OPEN"), text=text)
    assert [row.details for row in other.transitions] == [("guard _paid: other code",)]


def test_neighbours_can_be_renamed_together() -> None:
    machine = changed(
        *RENAMED,
        *RENAMED_REST,
        ('OPEN = "open"', 'UP = "up"'),
        ("_S.RAISING, _S.OPEN", "_S.RAISING, _S.UP"),
        ("_S.OPEN, _S.CLOSED", "_S.UP, _S.CLOSED"),
        ('STUCK = "stuck"', 'JAMMED = "jammed"'),
        ("_S.RAISING, _S.STUCK", "_S.RAISING, _S.JAMMED"),
        ("{_S.STUCK}", "{_S.JAMMED}"),
    )
    assert renames(machine) == {"opening": "raising", "open": "up", "stuck": "jammed"}
    assert machine.transitions == ()


def test_a_state_whose_rows_changed_too_was_not_renamed() -> None:
    machine = changed(
        *RENAMED, *RENAMED_REST, REMOVED, ("_S.CLOSED, _S.RAISING, guard=_paid, ", "_S.CLOSED, _S.RAISING, ")
    )
    assert renames(machine) == {}
    assert [(state.name, state.kind) for state in machine.states] == [
        ("raising", Kind.ADDED),
        ("opening", Kind.REMOVED),
    ]


def test_states_that_only_their_names_tell_apart_were_not_renamed() -> None:
    twins = edited(
        LAMP,
        ('"off"', '"left"'),
        ('"on"', '"right"'),
        ("initial=_S.OFF", "initial=_S.UP"),
        ("    ON", '    UP = "up"\n    ON'),
    )
    others = twins.replace('"left"', '"west"').replace('"right"', '"east"')
    (machine,) = compare({"machines/lamp.py": twins}, {"machines/lamp.py": others}).machines
    assert renames(machine) == {}
    assert [state.kind for state in machine.states] == [Kind.ADDED, Kind.ADDED, Kind.REMOVED, Kind.REMOVED]


def test_a_row_between_other_states_is_another_row() -> None:
    machine = changed(("_S.OPENING, _S.OPEN,", "_S.OPEN, _S.OPENING,"))
    assert renames(machine) == {}
    assert [row.kind for row in machine.transitions] == [Kind.ADDED, Kind.REMOVED]


SOURCES: Final = installed()
CHARTS: Final = read(SOURCES).charts


@given(st.sampled_from(CHARTS), st.data())
def test_any_renaming_of_the_machines_that_run_changes_no_transition(chart: Chart, data: st.DataObject) -> None:
    """Each state that has a look of its own is found again under any name; no row is ever called changed."""
    source = SOURCES[chart.file]
    names = data.draw(st.lists(st.sampled_from([state.name for state in chart.states]), unique=True, min_size=1))
    new = source
    for place, name in enumerate(names):
        new = new.replace(f'= "{name}"', f'= "state_{place}"')
    machine = compare_charts(chart, next(c for c in read({chart.file: new}).charts if c.name == chart.name))
    assert machine is not None
    found = renames(machine)
    assert found.items() <= {name: f"state_{place}" for place, name in enumerate(names)}.items()
    lost = {state.name for state in machine.states if not state.renamed}
    for row in machine.transitions:
        assert row.kind is not Kind.CHANGED
        drawn = row.after or row.before
        assert drawn is not None
        assert lost & {drawn.source, drawn.target}


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: str(chart.name))
def test_each_state_of_the_machines_that_run_is_found_under_another_name(chart: Chart) -> None:
    source = SOURCES[chart.file]
    for state in chart.states:
        (renamed,) = read({chart.file: source.replace(f'= "{state.name}"', '= "another"')}).charts
        machine = compare_charts(chart, renamed)
        assert machine is not None
        assert renames(machine) == {state.name: "another"}
        assert machine.transitions == ()


# -------------------------------------------------------------------------------------------- rows and the drawing


def test_rows_of_one_event_are_matched_by_guard_then_by_target() -> None:
    rows = "Row(_E.JAM, _S.OPENING, _S.STUCK, guard=_paid), Row(_E.JAM, _S.OPENING, _S.OPEN, guard=price),\n"
    text = edited(GATE, (_JAM, rows))
    other = rows.replace("_paid", "_x").replace("price", "_paid").replace("_x", "price")
    swapped = changed((rows, other), text=text)
    assert [(row.kind, row.details) for row in swapped.transitions] == [
        (Kind.CHANGED, ("led to open",)),
        (Kind.CHANGED, ("led to stuck",)),
    ]


def test_the_order_of_rows_with_one_event_and_source_counts() -> None:
    first, last = "        Row(_E.JAM, _S.OPENING, _S.OPEN, guard=_paid),\n", _JAM
    text = edited(GATE, (_JAM, first + last))
    machine = changed((first + last, last + first), text=text)
    assert machine.orders == (("jam", "opening"),)
    assert machine.marks.of_transition(("jam", "opening", "stuck")) == Mark(Kind.CHANGED, "tried in another order")
    diff = compare({"machines/gate.py": text}, {"machines/gate.py": edited(text, (first + last, last + first))})
    assert summary(diff).splitlines()[-1] == "  ~ order: the rows of jam in opening are tried in another order"


def test_both_sides_are_in_one_drawing() -> None:
    machine = changed(
        ADDED,
        REMOVED,
        *RENAMED,
        *RENAMED_REST,
        GUARD_CODE,
        ('    STUCK = "stuck"\n', '    LIT = "lit"\n    STUCK = "stuck"\n'),
    )
    assert [state.name for state in machine.chart.states] == ["closed", "raising", "open", "lit", "stuck"]
    assert machine.marks.states == {"raising": Mark(Kind.CHANGED, "was opening"), "lit": Mark(Kind.ADDED)}
    assert machine.marks.transitions == {
        ("press", "closed", "raising"): Mark(Kind.CHANGED, "guard _paid: other code"),
        ("jam", "open", "stuck"): Mark(Kind.ADDED),
        ("press", "open", "closed"): Mark(Kind.REMOVED),
    }
    assert {row.key for row in machine.chart.transitions} >= machine.marks.transitions.keys()


def test_a_moved_row_is_drawn_twice() -> None:
    machine = changed(("_S.OPEN, _S.CLOSED", "_S.OPEN, _S.OPENING"))
    assert machine.marks.transitions == {
        ("press", "open", "opening"): Mark(Kind.CHANGED, "led to closed"),
        ("press", "open", "closed"): Mark(Kind.REMOVED),
    }
    assert len(machine.chart.transitions) == 5


def test_rows_that_a_drawing_can_not_tell_apart_share_a_mark() -> None:
    twice = _JAM + "        Row(_E.JAM, _S.OPENING, _S.STUCK, guard=_paid),\n"
    key = ("jam", "opening", "stuck")
    assert changed((_JAM, twice)).marks.transitions == {key: Mark(Kind.CHANGED, "one of 2 added")}
    gone = changed(
        (_JAM + "        Row(_E.JAM, _S.OPENING, _S.STUCK, guard=_paid),\n", _JAM), text=edited(GATE, (_JAM, twice))
    )
    assert gone.marks.transitions == {key: Mark(Kind.CHANGED, "one of 2 removed")}


@pytest.mark.parametrize("kind", [Kind.ADDED, Kind.REMOVED])
def test_all_of_a_machine_on_one_side_is_marked(kind: Kind) -> None:
    files = {"machines/gate.py": GATE}
    (machine,) = (compare({}, files) if kind is Kind.ADDED else compare(files, {})).machines
    assert machine.kind is kind
    assert {*machine.marks.states.values(), *machine.marks.transitions.values()} == {Mark(kind)}
    assert machine.marks.states.keys() == {state.name for state in machine.chart.states}


def test_a_name_bound_twice_hides_nothing() -> None:
    """The reader takes the last; which one the table got can't be told without running it, so a change is shown."""
    second = ("_S, _E =", "def _paid(gate):\n    return True\n\n\n_S, _E =")
    text = edited(GATE, second)
    diff = compare({"machines/gate.py": text}, {"machines/gate.py": edited(text, GUARD_CODE)})
    assert diff.beside == ("machines/gate.py",)


def test_the_machines_of_this_revision_are_unchanged_from_themselves() -> None:
    assert compare(SOURCES, SOURCES).unchanged
