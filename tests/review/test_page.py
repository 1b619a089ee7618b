"""The page of a review says what changed and what is known, and of what was not given that it was not."""

from __future__ import annotations

import asyncio
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

from adapters.diagram.reading import installed
from adapters.review import page
from adapters.review.evidence import Coverage, read_coverage, read_trace, read_verification
from adapters.review.page import render
from adapters.verification.level import Status
from tests.adapters.diagram.repository import GATE, Repository, edited
from tests.adapters.live import crossing_order, live, outcomes, resting_order, steps_of
from tests.adapters.recorded import record
from tests.review.material import atlas, checked_out, coverage, repository, review, verification, written


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    return repository(tmp_path / "repository")


def section(html: str, name: str) -> str:
    """The words of a section, in one line; those of a drawing and of a closed part included."""
    found = re.search(rf'<section aria-labelledby="{name}">(.*?)</section>', html, re.DOTALL)
    assert found is not None
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", found[1].replace("<wbr>", ""))).split())


def test_what_changed_is_told_and_drawn(made: Repository) -> None:
    html = render(review(made))
    words = section(html, "machines")
    for expected in (
        "Bell + added machines/bell.py",
        "Gate ~ changed machines/gate.py → renamed state opening → raising",
        "+ added state lit: A lamp is on.",
        "~ changed press [_paid]: closed → raising: guard _paid: other code",
        "+ added jam [_paid] / _count: open → lit",
        "− removed press: open → closed",
        "Lamp − removed",
        "~ changed gate.press → lamp.press: condition it is dark → it is night",
        "~ changed code beside the tables changed: machines/gate.py",
        "Guard _paid: code before and after def _paid(gate): - return gate.coins >= price(gate) + return gate.coins >",
    ):
        assert expected in words
    drawings = re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    assert len(drawings) == 3
    for text in ("~ raising", "was opening", "+ lit", "− press", "~ press [paid]", "guard _paid: other code"):
        assert text in drawings[1]
    assert "1 added, 1 removed, 1 changed" in section(html, "short")


def test_changed_invariants_have_before_and_after(made: Repository) -> None:
    words = section(render(review(made)), "invariants")
    assert "NeverMore ~ changed Statement, unchanged No more pass than there is room for." in words
    assert "def _room(gate): - return gate.size + return gate.size - 1 def _never_more(now):" in words
    assert (
        "NeverMost ~ changed Statement before No more pass than the most. Statement now No more pass than the very"
        in words
    )
    assert "Its predicate is unchanged." in words
    assert "NeverLess − removed" in words
    assert "part of no predicate" not in words


def test_what_was_not_given_is_never_called_passed(made: Repository) -> None:
    for asked in ("base..head", "base..base"):
        html = render(review(made, asked))
        for name in ("verification", "mutants", "coverage", "traces"):
            assert "not given" in section(html, name)
            assert "passed" not in section(html, name)
        assert section(html, "short").count("– not given") == 4
        assert "✓" not in html


def test_nothing_changed(made: Repository) -> None:
    html = render(review(made, "base..base"))
    assert section(html, "machines") == "Machines The machines are unchanged."
    assert section(html, "invariants") == "Invariants All 3 are the same."
    assert section(html, "short").count("= unchanged") == 2
    assert "<svg" not in html


def test_results_of_the_verification(made: Repository, tmp_path: Path) -> None:
    statuses: tuple[Status, ...] = ("passed", "failed", "not_run", "passed", "passed", "passed")
    document = verification(*statuses, sources=checked_out(made))
    document["levels"][5]["checks"][1]["name"] = "all mutants"
    html = render(review(made, verification=read_verification(written(tmp_path / "v", document))))
    words = section(html, "verification")
    assert "tables ✓ passed The transition tables are well formed" in words
    assert "proof ✗ failed Nothing, because not all of it passed." in words
    assert "model – not run Nothing, because not all of it passed." in words
    assert "trace – not given" in words
    assert "✗ failed proof: two proof saw this" in words
    assert "✗ failed 4 of 6 levels that ran passed; there are 7 levels." in section(html, "short")
    assert "put back one at a time: 1. Noticed: 1." in section(html, "mutants")
    document["levels"][5]["checks"].append({"name": "X1", "status": "failed", "seconds": 1.0, "detail": "survives: it"})
    document["levels"][5]["status"] = "failed"
    html = render(review(made, verification=read_verification(written(tmp_path / "v", document))))
    assert "put back one at a time: 2. Noticed: 1. Survivors X1 : survives: it" in section(html, "mutants")
    assert "✗ failed 2 mistakes put back, 1 survived." in section(html, "short")


def test_a_verification_counts_for_the_sources_that_it_verified(made: Repository, tmp_path: Path) -> None:
    def told(statuses: tuple[Status, ...], sources: str) -> tuple[str, str]:
        given = read_verification(written(tmp_path / "v", verification(*statuses, sources=sources)))
        html = render(review(made, verification=given))
        return section(html, "short"), section(html, "verification")

    everything: tuple[Status, ...] = ("passed",) * 7
    short, words = told(everything, checked_out(made))
    assert "Verification ✓ passed 7 of 7 levels that ran passed" in short
    assert "Mutants ✓ passed 2 mistakes put back, none survived." in short
    assert "Of exactly the sources of head" in words
    assert "Verification ~ in part 3 of 3 levels that ran passed" in told(("passed",) * 3, checked_out(made))[0]
    made.git("checkout", "--quiet", "base")
    short, words = told(everything, checked_out(made))
    assert "Verification – not of HEAD 7 of 7 levels that ran passed; there are 7 levels. But other" in short
    assert "Mutants – not of HEAD 2 mistakes put back, none survived. But into other sources." in short
    assert "✓" not in short
    assert "Of sources that are not those of head" in words


def test_changed_rows_that_nothing_covers_stand_out(made: Repository, tmp_path: Path) -> None:
    def told(never: list[tuple[str, str]]) -> tuple[str, str]:
        given = read_coverage(written(tmp_path / "c", coverage(atlas(made), never)))
        html = render(review(made, coverage=given))
        return section(html, "coverage"), section(html, "short")

    assert "✓ passed 6 of 6 transitions taken by 12 tests." in told([])[1]
    words, short = told([("gate", "arrive")])
    assert "gate 3 of 4 arrive: raising → open" in words
    assert "changed here" not in words
    assert "~ with gaps 5 of 6 transitions taken" in short
    words, short = told([("gate", "jam")])
    assert "jam: raising → stuck jam: open → lit ✗ changed here" in words
    assert "✗ uncovered 4 of 6 transitions taken by 12 tests. 1 changed transition never taken." in short


async def _record(path: Path) -> None:
    async with live(tick_ms=0) as world:
        await outcomes([world.executor.submit(resting_order()), world.executor.submit(crossing_order())])
        await world.executor.close()
        await world.restart()
        await world.executor.submit(crossing_order())
        await world.executor.close()
        shutil.copy(world.journal, path)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with two runs of the machines that are installed."""
    path = tmp_path_factory.mktemp("trace") / "executor.journal"
    asyncio.run(_record(path))
    return path


@pytest.fixture
def own(tmp_path: Path) -> Repository:
    """A repository with the machines that are installed."""
    made = Repository(tmp_path / "own")
    made.commit(installed(), tag="base")
    return made


def test_traces_are_replayed(own: Repository, journal: Path, tmp_path: Path) -> None:
    runs = {number: list(steps) for number, steps in steps_of(journal).items()}
    html = render(review(own, "base..", traces=(read_trace(journal),)))
    words = section(html, "traces")
    assert "Replayed through the machines of the working tree: every step" in words
    first, second = (len(steps) for steps in runs.values())
    assert f"executor.journal 1 ✓ all equal {first} executor.journal 2 ✓ all equal {second}" in words
    assert f"✓ passed 2 runs, {first + second} steps equal." in section(html, "short")
    gap = [step for step in runs[1] if step.seq != 3]
    bad = read_trace(record(tmp_path / "bad.ndjson", gap, runs[1][1:]))
    html = render(review(own, "base..", traces=(read_trace(journal), bad)))
    words = section(html, "traces")
    assert re.search(r"bad\.ndjson 1 ✗ differs step 4: seq: recorded 4, replayed 3 3 ", words)
    assert "bad.ndjson 2 ✗ differs the record begins with step 1 " in words
    assert "2 runs can't be replayed to the end" in section(html, "short")


def test_a_replay_through_other_machines_is_not_called_passed(made: Repository, journal: Path) -> None:
    html = render(review(made, traces=(read_trace(journal),)))
    assert "which are not those of head" in section(html, "traces")
    assert "– not of HEAD 2 runs" in section(html, "short")
    assert "✓ passed" not in section(html, "short")


def test_a_machine_too_large_to_be_drawn_says_so(made: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_MOST_ROWS", 5)
    html = render(review(made))
    assert "It has too many states and transitions to be drawn." in section(html, "machines")
    assert html.count("<svg") == 2


def test_code_too_long_to_be_compared_says_so(made: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_MOST_LINES", 1)
    assert "Guard _paid: code before and after Too long to be compared here." in section(
        render(review(made)), "machines"
    )


def test_what_can_not_be_read_is_told(made: Repository) -> None:
    made.commit({"machines/gate.py": "x = (", "spec/invariants.py": "x = 1"}, tag="broken")
    html = render(review(made, "head..broken"))
    assert "! not compared not compared: after: machines/gate.py: no Python" in section(html, "machines")
    assert "! not compared after: spec/invariants.py: there is no INVARIANTS" in section(html, "invariants")
    assert section(html, "short").count("! not compared") == 2


def test_texts_of_a_hostile_revision_are_texts(made: Repository, tmp_path: Path) -> None:
    nasty = "</title><script>alert(1)</script><img src=x onerror=alert(1)>\\\" ' {{ 7 * 7 }} &amp;"
    files = {
        "machines/gate.py": edited(
            GATE,
            ('"gate",', f'"{nasty}",'),
            ('"open"', f'"open{nasty}"'),
            ('"jam"', f'"jam{nasty}"'),
            ("Carts pass.", nasty.replace('\\"', "")),
            ('why="at once"', f'why="{nasty}"'),
        ),
        "spec/invariants.py": f'INVARIANTS = (Invariant("{nasty}", "{nasty}", ("{nasty}",), "{nasty}"),)',
        "spec/composition.py": f'DRIVES = (Drive("{nasty}", "{nasty}", "{nasty}"),)',
        "machines/<script>.py": "x = 1",
    }
    made.commit(files, tag="nasty")
    document = verification("failed")
    document["levels"][0]["checks"][1] |= {"name": nasty, "detail": nasty}
    html = render(
        review(
            made,
            "base..nasty",
            verification=read_verification(written(tmp_path / "v", document)),
            coverage=Coverage(0, {}),
        )
    )
    assert "<script" not in html.replace("&lt;script", "")
    assert "<img" not in html
    assert "{{ 7 * 7 }}" in unescape(html)
