"""Files of evidence are read strictly; what they say is counted against the tables of the new revision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.review import evidence
from adapters.review.evidence import UnusableEvidence, coverage_of, read_coverage, read_trace, read_verification
from adapters.verification.level import Status
from tests.review.material import atlas, coverage, repository, review, verification, written

WRITES = {read_verification: "hip3 verify --json", read_coverage: "pytest --transition-coverage FILE"}


def test_results_are_taken_as_they_are(tmp_path: Path) -> None:
    given = read_verification(written(tmp_path / "v", verification("passed", "failed", "not_run")))
    assert [(level.name, level.status, level.passed) for level in given.levels] == [
        ("tables", "passed", 2),
        ("proof", "failed", 1),
        ("model", "not_run", 1),
    ]
    assert given.status == "failed"
    assert given.levels[1].checks[1].detail == "proof saw\nthis"
    for statuses, expected in ((("passed", "not_run"), "not_run"), (("passed",), "passed"), ((), "not_run")):
        assert read_verification(written(tmp_path / "v", verification(*statuses))).status == expected


def test_mutants_are_those_of_their_level(tmp_path: Path) -> None:
    document = verification("passed", "passed", "passed", "passed", "passed", "passed")
    document["levels"][5]["checks"] = [
        {"name": "P1-twice", "status": "passed", "seconds": 1.0, "detail": "P1; killed by a test"},
        {"name": "P2-never", "status": "failed", "seconds": 1.0, "detail": "survives: never (P2)"},
        {"name": "all mutants", "status": "passed", "seconds": 2.0, "detail": "2 mutants"},
    ]
    document["levels"][5]["status"] = "failed"
    mutants = read_verification(written(tmp_path / "v", document)).mutants
    assert mutants is not None
    assert (mutants.hunted, [check.name for check in mutants.alive], mutants.status) == (2, ["P2-never"], "failed")


def test_mutants_that_were_not_hunted_are_none(tmp_path: Path) -> None:
    passed: tuple[Status, ...] = ("passed",) * 5
    for statuses in (passed, (*passed, "not_run")):
        assert read_verification(written(tmp_path / "v", verification(*statuses))).mutants is None


def test_coverage_is_held_against_the_tables_under_review(tmp_path: Path) -> None:
    made = repository(tmp_path / "repository")
    head = atlas(made)
    document = coverage(head, never=[("gate", "arrive"), ("bell", "press")])
    document["machines"]["gate"] = [row for row in document["machines"]["gate"] if row["target"] != "stuck"]
    given = read_coverage(written(tmp_path / "c", document))
    bell, gate = coverage_of(given, head.charts, review(made).diff)
    assert (gate.name, gate.covered, gate.rows) == ("gate", 2, 4)
    assert gate.never == (("arrive", "raising", "open"),)
    assert gate.unmeasured == (("jam", "raising", "stuck"),)
    assert gate.changed == (), "what is not covered did not change"
    assert (bell.covered, bell.changed) == (0, bell.never), "all of a new machine is changed"
    for row in document["machines"]["gate"]:
        row["taken"] = 0
    given = read_coverage(written(tmp_path / "c", document))
    gate = coverage_of(given, head.charts, review(made).diff)[1]
    assert gate.changed == (("press", "closed", "raising"), ("jam", "open", "lit"))


def test_coverage_of_other_tables_covers_nothing(tmp_path: Path) -> None:
    made = repository(tmp_path / "repository")
    given = read_coverage(written(tmp_path / "c", {"tests": 1, "machines": {"phantom": []}}))
    for machine in coverage_of(given, atlas(made).charts, review(made).diff):
        assert machine.covered == 0
        assert len(machine.unmeasured) == machine.rows


@pytest.mark.parametrize("read", WRITES, ids=lambda read: str(read.__name__))
@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"tests": -1, "machines": {}}', b'{"levels": [{}]}'],
    ids=["empty", "object", "list", "null", "bytes", "deep", "tests", "levels"],
)
def test_a_file_that_is_none_is_refused_with_what_writes_one(tmp_path: Path, read: Any, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(UnusableEvidence) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(f"expected what `{WRITES[read]}` writes")


@pytest.mark.parametrize("read", [read_verification, read_coverage, read_trace], ids=lambda read: str(read.__name__))
def test_a_file_that_is_not_there(tmp_path: Path, read: Any) -> None:
    with pytest.raises(UnusableEvidence, match=r"none can't be read: No such file"):
        read(tmp_path / "none")


def test_a_file_may_not_be_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_LARGEST", 10)
    with pytest.raises(UnusableEvidence, match="has more than 10 bytes"):
        read_coverage(written(tmp_path / "c", {"tests": 1, "machines": {}}))


def test_a_status_that_is_none_is_refused(tmp_path: Path) -> None:
    document = verification("passed")
    document["levels"][0]["status"] = "splendid"
    with pytest.raises(UnusableEvidence, match="Invalid enum value 'splendid'"):
        read_verification(written(tmp_path / "v", document))


def test_a_trace_without_a_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.ndjson"
    path.touch()
    with pytest.raises(UnusableEvidence, match=r"empty\.ndjson has no run"):
        read_trace(path)
    path.write_text(json.dumps({"run": 1}), encoding="utf-8")
    with pytest.raises(UnusableEvidence, match=r"line 1: .*expected a journal"):
        read_trace(path)
