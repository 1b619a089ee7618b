"""`hip3 simulate`: what it prints, and with which exit code it ends."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner, Result

from adapters.cli import simulate as command_module
from adapters.exit_codes import ExitCode
from adapters.simulation import Report, simulate
from adapters.simulation.faults import Fault
from adapters.simulation.report import COMPLETE_FROM
from adapters.simulation.world import MACHINES
from tests.simulation.mistakes import MISTAKES

app = typer.Typer()
app.command()(command_module.command)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_good_runs_end_with_0_and_a_table() -> None:
    result = invoke("--seeds", "3", "--hours", "0.01")
    assert result.exit_code == ExitCode.OK
    assert "venue: a post is turned away with 429" in result.stdout
    assert "settlement: fencing --fence_won--> never_executed" in result.stdout
    assert "3 runs, " in result.stdout
    assert "0 runs with a violation" in result.stdout
    assert "3 of 3 runs, 0 with a violation" in result.stderr


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
    next(m for m in MISTAKES if m.put_back.__name__ == "effects_come_before_the_record").put_back(monkeypatch)
    result = invoke("--seed", "7", "--hours", "0.02")
    assert result.exit_code == ExitCode.DISAGREES
    assert "seed 7, life 1, step " in result.stdout
    assert "JournalBeforeWrite" in result.stdout
    assert "to repeat: hip3 simulate --seed 7 --hours 0.02" in result.stdout
    assert '"event":"' in result.stdout
    violation = json.loads(invoke("--seed", "7", "--json").stdout)["violations"][0]
    assert violation["replay"] == "hip3 simulate --seed 7"
    assert violation["invariant"] == "JournalBeforeWrite"


def test_many_runs_in_which_something_never_happened_are_a_failure() -> None:
    result = simulate(1, 0.01)
    report = Report(0.01)
    for _ in range(COMPLETE_FROM - 1):
        report.add(result)
    verdicts = [report.good]
    report.add(result)
    verdicts.append(report.good)
    assert report.never()
    assert verdicts == [True, False]
    assert any(line.startswith("never happened: ") for line in report.lines())


def test_every_fault_and_every_row_has_its_own_line() -> None:
    report = Report(0.01)
    assert len(report.transitions()) == sum(len(machine.table) for machine in MACHINES)
    assert set(report.never()) >= {fault.value for fault in Fault}


@pytest.mark.parametrize("arguments", [("--seeds", "0"), ("--hours", "0"), ("--seed", "-1")])
def test_senseless_numbers_are_refused(arguments: tuple[str, str]) -> None:
    assert invoke(*arguments).exit_code == ExitCode.USAGE
