"""`hip3 bench` as a process: what it prints and writes, how it ends, and that it leaves nothing running."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest
from typer.testing import CliRunner, Result

from adapters.bench import goals, runner
from adapters.bench.results import Results
from adapters.cli import app
from adapters.exit_codes import ExitCode
from tests.cli.process import PATIENCE_S, Hip3

SHORT: Final = ("bench", "--quick", "--rounds", "1", "--only", "cancel")


def bench(*options: str) -> Result:
    return CliRunner().invoke(app, [*SHORT, *options], env={"TERM": "dumb", "COLUMNS": "200"})


async def test_it_prints_a_table_and_the_goals_and_writes_everything(tmp_path: Path) -> None:
    as_json, as_plot = tmp_path / "bench.json", tmp_path / "bench.svg"
    options = ("--quick", "--rounds", "2", "--only", "cancels", "--json", str(as_json), "--plot", str(as_plot))
    async with Hip3("bench", *options) as process:
        text = await process.rest()
        assert await process.exit_code() == ExitCode.OK
        assert "cancels: 6 of 6, floor: " in process.plain[-1], "the second round goes backwards"
    assert "\x1b" not in text
    for words in ("cancels: 1,000 cancels submitted", "executor", "official SDK", "not measured", "In a hurry"):
        assert words in text
    found = msgspec.json.decode(as_json.read_bytes(), type=Results)
    (compared,) = found.scenarios
    assert [run.round for run in compared.runs] == [1] * 3 + [2] * 3
    assert [row.rounds for row in compared.rows] == [2] * 3
    assert [row.rate_ratio is None for row in compared.rows] == [True, False, False]
    assert [verdict.goal for verdict in found.goals if verdict.value is not None] == ["6a"]
    assert (found.quick, found.facts.python.split()[0]) == (True, "CPython")
    drawn = ET.fromstring(as_plot.read_text(encoding="utf-8"))  # noqa: S314 - our own output
    assert drawn.tag.endswith("}svg")


@pytest.mark.parametrize(("at_most", "code"), [(10**9, ExitCode.OK), (-1.0, ExitCode.DISAGREES)])
def test_check_fails_for_a_goal_that_was_measured_and_not_reached(
    monkeypatch: pytest.MonkeyPatch, at_most: float, code: ExitCode
) -> None:
    (goal,) = [goal for goal in goals.GOALS if goal.scenario == "cancel"]
    (other,) = [goal for goal in goals.GOALS if goal.scenario == "cancels"]  # not measured here
    asked = goals.Goal("x", goal.says, goal.scenario, goal.figures, at_most=at_most)
    monkeypatch.setattr(goals, "GOALS", (asked, other))
    result = bench("--check")
    assert result.exit_code == code, result.output
    assert ("NOT MET" in result.output) is (code is not ExitCode.OK)


def test_without_check_a_goal_that_is_not_reached_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (goal,) = [goal for goal in goals.GOALS if goal.scenario == "cancel"]
    asked = goals.Goal("x", goal.says, goal.scenario, goal.figures, at_most=-1.0)
    monkeypatch.setattr(goals, "GOALS", (asked,))
    assert bench().exit_code == ExitCode.OK


def test_a_scenario_that_there_is_not() -> None:
    result = CliRunner().invoke(app, ["bench", "--only", "nothing"], env={"TERM": "dumb", "COLUMNS": "200"})
    assert result.exit_code == ExitCode.USAGE
    assert "there is no scenario 'nothing'; there are: one, flight, posts" in result.output


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_MODULES", {"picows": "no_such_module"})
    result = bench()
    assert result.exit_code == ExitCode.USAGE
    assert "hip3 bench: the benchmark needs picows: pip install 'hip3-executor[bench]'" in result.output


def test_results_that_can_not_be_written(tmp_path: Path) -> None:
    result = bench("--json", str(tmp_path))
    assert result.exit_code == ExitCode.CONFIG
    assert "the results can't be written" in result.output


def test_a_client_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_RUN_S", 0.01)
    result = bench()
    assert result.exit_code == ExitCode.FAULT
    assert "hip3 bench: executor, or its venue, took too long" in result.output


def running(session: int) -> list[str]:
    """The commands of a session that have not ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, own = process.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                found.append(process.joinpath("cmdline").read_text().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - other processes' doing
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_no_process_stays_behind(number: signal.Signals, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "adapters.cli", "bench", "--only", "million", "--rounds", "1"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    try:
        # A client, a venue, and the one that started them; and the client trades.
        await eventually(lambda: len(running(process.pid)) == 3 and any(tmp_path.glob("*/bench.journal")))
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == (130 if number is signal.SIGINT else -number)
        assert b"Traceback" not in errors
        await eventually(lambda: not running(process.pid))
    finally:
        if process.returncode is None:
            process.kill()
