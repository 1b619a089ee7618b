"""`hip3 trace check`: what it says of a user's own file, good, changed or none, and how it ends."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapters.cli import app
from adapters.exit_codes import ExitCode
from adapters.journal.schema import step_id
from tests.adapters.live import crossing_order, live, outcomes, resting_order


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
    """A journal with two runs."""
    path = tmp_path_factory.mktemp("trace") / "executor.journal"
    asyncio.run(_record(path))
    return path


@pytest.fixture
def export(journal: Path, tmp_path: Path) -> Path:
    """The same as NDJSON."""
    path = tmp_path / "runs.ndjson"
    done = CliRunner().invoke(app, ["journal", "export", str(journal), "--output", str(path)])
    assert done.exit_code == ExitCode.OK, done.output
    return path


def check(file: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["trace", "check", str(file), *options])


def tampered(export: Path, run: int, event: str, /, **changes: Any) -> int:
    """Change the first step of a run with this event, on disk; its number."""
    steps = [json.loads(line) for line in export.read_text(encoding="utf-8").splitlines()]
    step = next(step for step in steps if step["run"] == run and step["event"] == event)
    step.update(changes)
    export.write_text("".join(json.dumps(step) + "\n" for step in steps), encoding="utf-8")
    return int(step["seq"])


# ------------------------------------------------------------------------------------------------------------- good


def test_journal_and_its_export_are_accepted(journal: Path, export: Path) -> None:
    told = check(journal)
    assert told.exit_code == ExitCode.OK, told.output
    first, second = told.output.splitlines()
    for number, line in ((1, first), (2, second)):
        assert line.startswith(f"run {number}: ")
        assert line.endswith(" steps replayed, all equal; TLC: each is a step of the model")
    assert check(export).output == told.output


def test_one_run_alone(export: Path) -> None:
    told = check(export, "--run", "2", "--no-tlc")
    assert told.exit_code == ExitCode.OK
    (line,) = told.output.splitlines()
    assert line.startswith("run 2: ")
    assert line.endswith("all equal; not read by TLC: not asked for")


def test_json_is_one_object_a_run(journal: Path) -> None:
    told = check(journal, "--json")
    assert told.exit_code == ExitCode.OK
    results = [json.loads(line) for line in told.output.splitlines()]
    assert [result["run"] for result in results] == [1, 2]
    for result in results:
        assert result.pop("steps") > 10
        assert result == {"run": result["run"], "differs": None, "refused": None, "not_run": None}


# ---------------------------------------------------------------------------------------------------------- changed


def test_changed_move_is_found_by_both_and_its_step_is_named(export: Path) -> None:
    seq = tampered(export, 2, "PostWritten", moves=[])
    told = check(export)
    assert told.exit_code == ExitCode.DISAGREES
    first, second = told.output.splitlines()
    assert first.endswith("all equal; TLC: each is a step of the model")
    assert second.startswith(f"run 2: step {seq}: moves: recorded ()")
    assert second.endswith(f"TLC: step {seq}: it does not send its post")


def test_changed_number_is_found_by_both(export: Path) -> None:
    seq = tampered(export, 1, "PostWritten", cause=0)
    told = check(export, "--json", "--run", "1")
    assert told.exit_code == ExitCode.DISAGREES
    (result,) = map(json.loads, told.output.splitlines())
    assert result["differs"].startswith(f"step {seq}: cause: recorded 0")
    assert result["refused"] == f"step {seq}: another post is in hand"


def test_what_the_model_does_not_see_the_replay_finds(export: Path) -> None:
    """Times and prices; so a changed one is found without Java too."""
    seq = tampered(export, 1, "PostWritten", monotonic_ms=0)
    told = check(export, "--run", "1")
    assert told.exit_code == ExitCode.DISAGREES
    assert f"run 1: step {seq}: monotonic_ms: recorded 0, replayed 'at least " in told.output
    assert told.output.rstrip().endswith("TLC: each is a step of the model")


def test_unknown_event_is_told_with_its_step(export: Path) -> None:
    seq = tampered(export, 1, "Submit", event="Wish")
    told = check(export, "--run", "1")
    assert told.exit_code == ExitCode.DISAGREES
    assert f"run 1: step {seq}: there is no event 'Wish'" in told.output


def test_run_without_its_beginning_is_told(export: Path) -> None:
    lines = export.read_text(encoding="utf-8").splitlines(keepends=True)
    export.write_text("".join(lines[1:]), encoding="utf-8")
    told = check(export)
    assert told.exit_code == ExitCode.DISAGREES
    assert "run 1: the record begins with step 1 (" in told.output
    assert "run 2: " in told.output


def test_changed_journal_is_found(journal: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.journal"
    shutil.copy(journal, copy)
    with sqlite3.connect(copy) as database:
        changed = database.execute("DELETE FROM steps WHERE id = ?", (step_id(1, 9),)).rowcount
    database.close()
    assert changed == 1
    told = check(copy, "--run", "1")
    assert told.exit_code == ExitCode.DISAGREES, told.output
    assert "TLC: step " in told.output


# -------------------------------------------------------------------------------------------------------- not there


def test_no_such_run(journal: Path) -> None:
    told = check(journal, "--run", "3")
    assert told.exit_code == ExitCode.USAGE
    assert told.output == f"hip3 trace: {journal} has no run 3\n"


def test_empty_file_has_no_run(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    told = check(empty)
    assert told.exit_code == ExitCode.USAGE
    assert told.output == f"hip3 trace: {empty} has no run\n"


@pytest.mark.parametrize(
    "content",
    [b"good morning\n", b"{}\n", b'{"run": 1}\n', b"\xff\xfe\x00\n", b"SQLite format 3\x00and nothing more"],
    ids=["text", "empty object", "half a step", "binary", "half a journal"],
)
def test_garbage_is_no_trace(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "garbage"
    file.write_bytes(content)
    told = check(file)
    assert told.exit_code == ExitCode.JOURNAL, told.output
    assert told.output.startswith("hip3 trace: ")
    assert str(file) in told.output


def test_garbage_between_good_lines_is_named(export: Path) -> None:
    lines = export.read_text(encoding="utf-8").splitlines(keepends=True)
    export.write_text("".join([*lines[:3], "oops\n", *lines[3:]]), encoding="utf-8")
    told = check(export)
    assert told.exit_code == ExitCode.JOURNAL
    assert f"{export}, line 4: " in told.output


def test_file_that_is_not_there(tmp_path: Path) -> None:
    told = check(tmp_path / "nowhere")
    assert told.exit_code == ExitCode.JOURNAL
    assert "can't be read: No such file or directory" in told.output


# ------------------------------------------------------------------------------------------------------ without Java


def test_without_java_it_is_replayed_and_tlc_is_said_to_be_not_run(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    told = check(export)
    assert told.exit_code == ExitCode.OK
    for line in told.output.splitlines():
        assert "steps replayed, all equal; not read by TLC: there is no `java` on the PATH" in line
    (result, _) = map(json.loads, check(export, "--json").output.splitlines())
    assert (result["differs"], result["refused"]) == (None, None)
    assert result["not_run"].startswith("there is no `java` on the PATH")
    tampered(export, 1, "PostWritten", moves=[])
    assert check(export).exit_code == ExitCode.DISAGREES
