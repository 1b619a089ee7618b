"""`hip3 simulate`: what it prints, and with which exit code it ends."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner, Result

from adapters.cli import simulate as command_module
from adapters.exit_codes import ExitCode
from adapters.simulation import Report, simulate
from adapters.simulation.faults import Fault, Sight
from adapters.simulation.report import COMPLETE_FROM_HOURS
from machines.catalogue import MACHINES
from tests.simulation.mistakes import MISTAKES

app = typer.Typer()
app.command()(command_module.command)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_good_runs_end_with_0_and_a_line_a_count() -> None:
    result = invoke("--seeds", "3", "--hours", "0.01")
    assert result.exit_code == ExitCode.OK
    assert "faults:" in result.stdout
    assert "  venue: a post is turned away with 429" in result.stdout
    assert "  settlement: fencing --fence_won--> never_executed" in result.stdout
    assert "3 runs, " in result.stdout
    assert "0 runs with a violation" in result.stdout
    assert "3 of 3 runs, 0 with a violation, " in result.stderr
    assert "\x1b" not in result.stdout


def test_on_a_terminal_there_are_tables() -> None:
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "adapters.cli", "simulate", "--seed", "1", "--hours", "0.005"]
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment) as process:  # noqa: S603
        os.close(terminal)
        shown = _read(main)
        assert process.wait(60) == ExitCode.OK
    assert "what they led to" in shown
    assert "│ venue: restart" in shown
    assert "0 runs with a violation" in shown


def _read(terminal: int) -> str:
    """All that is written to a terminal until its last writer is gone, which reading tells by an error."""
    read = io.BytesIO()
    with open(terminal, "rb", buffering=0) as stream:
        try:
            while chunk := stream.read(4_096):
                read.write(chunk)
        except OSError:
            pass
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read.getvalue().decode())


def test_the_report_for_programs() -> None:
    result = invoke("--seed", "4", "--hours", "0.01", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == ExitCode.OK
    assert report["good"]
    assert report["runs"] == 1
    assert report["violations"] == []
    assert len(report["transitions"]) == sum(len(machine.table) for machine in MACHINES)
    assert report["steps"] == simulate(4, 0.01).steps


def test_a_violation_ends_with_8_and_says_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    next(mistake for mistake in MISTAKES if mistake.id == "effects-come-before-the-record").apply(monkeypatch)
    result = invoke("--seed", "7", "--hours", "0.02")
    assert result.exit_code == ExitCode.DISAGREES
    assert "seed 7, life 1, step " in result.stdout
    assert "JournalBeforeWrite" in result.stdout
    assert '"event":"' in result.stdout
    violation = json.loads(invoke("--seed", "7", "--json").stdout)["violations"][0]
    assert violation["invariant"] == "JournalBeforeWrite"
    assert f"to repeat: {violation['replay']}" in result.stdout


def test_the_command_that_repeats_a_violation_is_the_shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    next(mistake for mistake in MISTAKES if mistake.id == "a-late-report-is-told-as-another-outcome").apply(monkeypatch)
    violation = json.loads(invoke("--seed", "0", "--json").stdout)["violations"][0]
    hours = float(violation["replay"].split("--hours ")[1])
    assert 0 <= hours * 3_600_000 - violation["at_ms"] < 3_600
    again = json.loads(invoke("--seed", "0", "--hours", str(hours), "--json").stdout)["violations"][0]
    assert again == violation


def test_many_runs_in_which_something_never_happened_are_a_failure() -> None:
    result = simulate(1, 0.01)
    report = Report(COMPLETE_FROM_HOURS / 4)
    for _ in range(3):
        report.add(result)
    assert (report.never(), report.good) == ([], True)
    report.add(result)
    assert not report.good
    assert any(line.startswith("never happened: ") for line in report.verdict())


def test_every_fault_sight_and_row_is_demanded_by_its_own_line() -> None:
    report = Report(COMPLETE_FROM_HOURS)
    report.runs = 1
    names = [what.value for what in (*Fault, *Sight)]
    rows = sum(len(machine.table) for machine in MACHINES)
    assert set(report.never()) >= set(names)
    assert len(report.never()) == len(set(report.never())) == len(names) + rows


@pytest.mark.parametrize("arguments", [("--seeds", "0"), ("--hours", "0"), ("--seed", "-1")])
def test_senseless_numbers_are_refused(arguments: tuple[str, str]) -> None:
    assert invoke(*arguments).exit_code == ExitCode.USAGE
