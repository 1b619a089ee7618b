"""`hip3 review`: writes its page, and says what is wrong with what it was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.cli import app
from adapters.exit_codes import ExitCode
from tests.adapters.diagram.repository import Repository
from tests.review.material import atlas, coverage, repository, verification, written


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    return repository(tmp_path / "repository")


def run(made: Repository, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["review", *arguments, "--repo", str(made.folder)], env={"COLUMNS": "200"})


def test_the_page_is_written(made: Repository, tmp_path: Path) -> None:
    out = tmp_path / "review.html"
    results = written(tmp_path / "verify.json", verification("passed", "passed"))
    counts = written(tmp_path / "coverage.json", coverage(atlas(made)))
    done = run(made, "base..head", "-o", str(out), "--verify", str(results), "--coverage", str(counts))
    assert (done.exit_code, done.output) == (ExitCode.OK, f"wrote {out}\n")
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "6 of 6 transitions taken by 12 tests." in page
    assert "2 of 2 levels that ran passed; there are 7 levels." in page


def test_the_same_is_written_twice(made: Repository, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        assert run(made, "base..head", "-o", str(tmp_path / name)).exit_code == ExitCode.OK
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("base", "'base' does not name two revisions; write BASE..HEAD"),
        ("base..nowhere", "there is no commit 'nowhere'"),
        ("--output=x..head", "No such option"),
        ("base..--output=x", "there is no commit '--output=x'"),
    ],
)
def test_revisions_that_are_none(made: Repository, tmp_path: Path, asked: str, message: str) -> None:
    out = tmp_path / "review.html"
    done = run(made, asked, "-o", str(out))
    assert done.exit_code == ExitCode.USAGE
    assert message in done.output
    assert not out.exists()


@pytest.mark.parametrize("option", ["--verify", "--coverage", "--trace"])
def test_a_file_that_can_not_be_used(made: Repository, tmp_path: Path, option: str) -> None:
    out = tmp_path / "review.html"
    for path in (tmp_path / "none", written(tmp_path / "bad.json", {"a": 1})):
        done = run(made, "base..head", "-o", str(out), option, str(path))
        assert done.exit_code == ExitCode.USAGE
        assert f"{path}" in done.output
        assert done.output.startswith("hip3 review: ")
    assert not out.exists()


def test_a_page_that_can_not_be_written(made: Repository, tmp_path: Path) -> None:
    done = run(made, "base..head", "-o", str(tmp_path / "none" / "review.html"))
    assert done.exit_code == ExitCode.CONFIG
    assert "can't be written: No such file or directory" in done.output


def test_what_verify_prints_is_what_review_reads(made: Repository, tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["verify", "--level", "tables", "--json"])
    assert printed.exit_code == ExitCode.OK
    results = tmp_path / "verify.json"
    results.write_text(printed.stdout, encoding="utf-8")
    count = len(json.loads(printed.stdout)["levels"][0]["checks"])
    assert run(made, "base..head", "-o", str(tmp_path / "r.html"), "--verify", str(results)).exit_code == ExitCode.OK
    assert f"{count} of {count}" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_its_help_says_how_to_use_it() -> None:
    text = " ".join(
        CliRunner().invoke(app, ["review", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output.split()
    )
    for phrase in (
        "BASE..HEAD",
        "--verify",
        "--coverage",
        "--trace",
        "Nothing of either revision is run",
        "Exit codes",
    ):
        assert phrase in text
