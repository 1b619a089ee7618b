"""Level `mutants` passes on nothing less than all mistakes killed: each thing that can go wrong with the hunt is tried.

The real hunt takes a minute; here the level is given others, each a program that prints what the hunt would.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.verification import mutants as level_module
from adapters.verification.catalogue import recorded
from adapters.verification.level import Check, LevelResult
from adapters.verification.levels import LEVELS, run_level
from tests.mutants import FINDINGS, RULES

LEVEL = next(level for level in LEVELS if level.name == "mutants")
SURVIVOR = "suite/timeout_leaks_the_slot"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree of which the level hunts the mistakes; it has none yet."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    monkeypatch.setattr(level_module, "_SOURCE_TREE", tmp_path)
    return tmp_path


def lines() -> list[dict[str, Any]]:
    """What a hunt that kills all prints: the record of the last one."""
    return [
        {
            "id": mutant.id,
            "findings": mutant.findings,
            "rules": mutant.rules,
            "description": mutant.description,
            "killed_by": mutant.killed_by,
            "seconds": 0.5,
        }
        for mutant in recorded()
    ]


def write_hunt(tree: Path, printed: list[dict[str, Any]], end: str = "") -> None:
    """Let the hunt print lines, and end with the statement `end`."""
    text = "".join(json.dumps(line) + "\n" for line in printed)
    program = f"import os, sys\nsys.stdout.write({text!r})\nsys.stdout.flush()\n{end}\n"
    (tree / "tests" / "mutants.py").write_text(program, encoding="utf-8")


def failed(result: LevelResult) -> dict[str, str]:
    """The checks that did not pass, with what they say."""
    return {check.name: check.detail for check in result.checks if check.status != "passed"}


def test_all_killed_passes(tree: Path) -> None:
    write_hunt(tree, lines())
    heard: list[Check] = []
    result = run_level(LEVEL, progress=heard.append)
    assert result.status == "passed"
    assert heard == list(result.checks)
    assert len(result.checks) == len(recorded()) + 1
    assert result.checks[-1].detail == f"{len(recorded())} mutants of {len(FINDINGS)} findings and {len(RULES)} rules"
    timeout = next(check for check in result.checks if check.name == SURVIVOR)
    assert timeout.detail == "P3; killed by InflightMatchesSent"


def test_survivor_fails_the_level(tree: Path) -> None:
    printed = [{**line, "killed_by": None} if line["id"] == SURVIVOR else line for line in lines()]
    write_hunt(tree, printed, "sys.exit(1)")
    result = run_level(LEVEL)
    assert result.status == "failed"
    description = next(mutant.description for mutant in recorded() if mutant.id == SURVIVOR)
    assert failed(result) == {SURVIVOR: f"survives: {description} (P3)"}


@pytest.mark.parametrize("finding", sorted(FINDINGS))
def test_finding_without_a_mistake_fails_the_level(tree: Path, finding: str) -> None:
    kept = [{**line, "findings": [each for each in line["findings"] if each != finding]} for line in lines()]
    write_hunt(tree, kept)
    assert failed(run_level(LEVEL)) == {
        "all mutants": f"{len(kept)} mutants of {len(FINDINGS) - 1} findings and {len(RULES)} rules"
    }


def test_rule_without_a_mistake_fails_the_level(tree: Path) -> None:
    write_hunt(tree, [{**line, "rules": [rule for rule in line["rules"] if rule != 12]} for line in lines()])
    assert list(failed(run_level(LEVEL))) == ["all mutants"]


def test_too_few_mistakes_fail_the_level(tree: Path) -> None:
    all_in_one = {**lines()[0], "findings": sorted(FINDINGS), "rules": sorted(RULES)}
    write_hunt(tree, [all_in_one] * 44)
    assert failed(run_level(LEVEL)) == {"all mutants": "44 mutants of 33 findings and 20 rules"}
    write_hunt(tree, [all_in_one] * 45)
    assert run_level(LEVEL).status == "passed"


@pytest.mark.parametrize(
    ("end", "code"), [("sys.exit(3)", "3"), ("os.kill(os.getpid(), 9)", "-9"), ("raise OSError", "1")]
)
def test_hunt_that_dies_fails_the_level(tree: Path, end: str, code: str) -> None:
    """Whatever it has printed before."""
    write_hunt(tree, lines()[:-1], end)
    result = run_level(LEVEL)
    assert result.status == "failed"
    assert list(failed(result)) == ["all mutants"]
    assert f"the hunt ended with exit code {code} after {len(lines()) - 1} mutants" in failed(result)["all mutants"]


def test_hunt_that_prints_something_else_fails_the_level(tree: Path) -> None:
    (tree / "tests" / "mutants.py").write_text("print('good morning')\n", encoding="utf-8")
    result = run_level(LEVEL)
    assert result.status == "failed"
    assert "the level itself" in failed(result)


@pytest.mark.parametrize("missing", ["tree", "hypothesis"])
def test_installed_copy_does_not_run_it(tree: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "hypothesis":
        write_hunt(tree, lines())
        monkeypatch.setattr(level_module, "find_spec", lambda _: None)
    result = run_level(LEVEL)
    assert result.status == "not_run"
    assert [check.name for check in result.checks] == ["all mutants"]
    assert "needs the source tree (tests/mutants.py)" in result.checks[0].detail


def test_level_hunts_with_the_interpreter_that_runs_it(tree: Path) -> None:
    write_hunt(tree, [], f"assert sys.executable == {sys.executable!r} and sys.argv[1:] == ['--json']; sys.exit(5)")
    assert "exit code 5" in failed(run_level(LEVEL))["all mutants"]
