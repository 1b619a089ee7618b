"""`hip3 verify`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.cli import app
from adapters.exit_codes import ExitCode
from adapters.verification import levels
from adapters.verification.proof import with_table
from adapters.verification.stamp import hash_of_sources, read_stamp
from machines.post import POST, PostEvent, PostState
from machines.table import Row


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["verify", *arguments])


def change_post(patch: pytest.MonkeyPatch, table: tuple[Row[PostState, PostEvent], ...]) -> None:
    """Let posts live by another table, wherever their machine is named."""
    changed = with_table(POST, table)
    for part in ("table", "_engine"):
        patch.setattr(POST, part, getattr(changed, part))


def break_a_table(patch: pytest.MonkeyPatch) -> None:
    """No post ever times out."""
    change_post(patch, tuple(row for row in POST.table if row.event.value != "time_out"))


def test_passing_level_is_told_and_stamped() -> None:
    result = verify("--level", "tables")
    assert result.exit_code == ExitCode.OK, result.output
    assert "passed" in result.output
    assert "does not show: That the right transitions are in them." in result.output
    assert "verified " in result.output
    stamp = read_stamp()
    assert stamp is not None
    assert stamp.levels == ("tables",)


def test_failing_level_ends_with_its_code_and_no_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    break_a_table(monkeypatch)
    result = verify("--level", "tables")
    assert result.exit_code == ExitCode.DISAGREES
    assert "post: TIMED_OUT is not reachable; event TIME_OUT is not used" in result.output
    assert "5 of 6" in result.output
    assert "shows: Nothing, because not all of it passed." in result.output
    assert read_stamp() is None


def test_checks_that_pass_are_printed_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary is not buried under them, and a failure is not lost among them."""
    short, long = verify("--level", "tables"), verify("--level", "tables", "--verbose")
    assert "settlement:" not in short.output
    assert "tables   passed      0.0 s  settlement: 17 rows, 5 states" in long.output
    break_a_table(monkeypatch)
    failing = [line for line in verify("--level", "tables").output.splitlines() if line.startswith("tables   failed")]
    assert len(failing) == 2, "the check, and the level"


def test_summary_has_a_row_for_each_level() -> None:
    lines = verify("--level", "tables", "--level", "proof").output.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("level "))
    assert " ".join(lines[start].split()) == "level status checks time what it shows and does not show"
    rows = [line.split()[:3] for line in lines[start + 1 :: 2]][:2]
    assert rows == [["tables", "passed", "6"], ["proof", "passed", "19"]]
    assert "does not show: " in lines[start + 2]


def test_one_changed_row_breaks_three_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, proof and code, each for a reason of its own."""
    row = next(row for row in POST.table if row.event.value == "time_out")
    table = tuple(replace(each, target=each.source) if each is row else each for each in POST.table)
    change_post(monkeypatch, table)
    failed = [level.name for level in levels.QUICK if levels.run_level(level).status == "failed"]
    assert failed == ["tables", "proof", "code"]


def test_json_goes_to_standard_output_alone() -> None:
    result = verify("--level", "tables", "--json")
    told = json.loads(result.stdout)
    assert told["verdict"] == "passed"
    assert [level["name"] for level in told["levels"]] == ["tables"]
    assert "tables" in result.stderr


def test_report_is_written(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert verify("--level", "tables", "--report", str(page)).exit_code == ExitCode.OK
    text = page.read_text(encoding="utf-8")
    assert "<h2>tables" in text
    assert f"sources {hash_of_sources()[:12]}," in text


def test_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    result = verify("--level", "tables", "--report", str(tmp_path / "no" / "such" / "folder.html"))
    assert result.exit_code == ExitCode.CONFIG
    assert "can't be written" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--level", "magic"), "there is no level 'magic'"), (("--level", "tables", "--quick"), "exclude each other")],
)
def test_wrong_use_is_refused(arguments: tuple[str, ...], told: str) -> None:
    result = verify(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert told in result.output


def test_random_level_without_the_source_tree_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(levels, "_SUITE", tmp_path / "nothing")
    result = verify("--level", "random")
    assert result.exit_code == ExitCode.OK
    assert "not run" in result.output
    assert "needs the source tree" in result.output
    assert read_stamp() is None


def test_random_level_takes_examples_and_a_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a suite of its own: as many examples as asked for, drawn from the seed."""
    suite = tmp_path / "stateful"
    suite.mkdir()
    (suite / "test_told.py").write_text(
        "from hypothesis import settings\n"
        "def test_told(pytestconfig):\n"
        "    assert settings().max_examples == 7 and not settings().derandomize\n"
        "    assert pytestconfig.getoption('--hypothesis-seed') == '5'\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(levels, "_SUITE", suite)
    result = verify("--level", "random", "--examples", "7", "--seed", "5")
    assert result.exit_code == ExitCode.OK, result.output
    broken = verify("--level", "random", "--examples", "8", "--seed", "5")
    assert broken.exit_code == ExitCode.DISAGREES
    assert "assert (8 == 7" in broken.output
