"""`hip3 diagram --overlay` of a run of the demo: every transition of its trace, with the right count."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from adapters.cli import app
from adapters.exit_codes import ExitCode
from tests.adapters.recorded import played, record
from tests.cli.process import ROOT


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a run of the demo."""
    journal = tmp_path_factory.mktemp("demo") / "demo.journal"
    command = [sys.executable, "-m", "adapters.cli", "demo", "--journal", str(journal)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)  # noqa: S603
    return journal


@pytest.fixture(scope="session")
def export(demo: Path) -> Path:
    """The same as NDJSON."""
    path = demo.with_suffix(".ndjson")
    assert CliRunner().invoke(app, ["journal", "export", str(demo), "--output", str(path)]).exit_code == ExitCode.OK
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two runs, quickly made."""
    return record(tmp_path / "runs.ndjson", played("placed and fills").steps, played("a cancel").steps)


def overlay(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["diagram", "--overlay", str(file), *arguments], env={"COLUMNS": "200"})


def moves_in(export: Path) -> Counter[tuple[str, str, str, str]]:
    """The moves of a trace, counted line by line."""
    lines = [json.loads(line) for line in export.read_text(encoding="utf-8").splitlines()]
    return Counter((m["machine"], m["event"], m["source"], m["target"]) for line in lines for m in line["moves"])


def counts_of(found: dict[str, Any]) -> dict[tuple[str, str, str, str], int]:
    return {
        (machine["machine"], row["event"], row["source"], row["target"]): row["count"]
        for machine in found["machines"]
        for row in machine["transitions"]
    }


def test_every_transition_of_a_demo_run_has_its_count(demo: Path, export: Path) -> None:
    told = overlay(demo, "--format", "json")
    assert told.exit_code == ExitCode.OK, told.output
    counted, recorded = counts_of(json.loads(told.output)), moves_in(export)
    assert len(recorded) > 20, "a demo goes many ways"
    assert {key: count for key, count in counted.items() if count} == recorded
    assert json.loads(told.output)["foreign"] == []
    assert overlay(export, "--format", "json").output == told.output


def test_text_shows_the_same_counts(demo: Path, export: Path) -> None:
    text = overlay(demo).output
    blocks = text.split("\n\n")
    for (machine, event, source, target), count in moves_in(export).items():
        (block,) = (block for block in blocks if f"(machines/{machine}.py)" in block)
        words = [line.split() for line in block.splitlines()]
        assert [row[4] for row in words if row[:4] == [event, source, "→", target]] == [f"{count:,}"]


def test_pictures_and_page_show_the_same_counts(demo: Path, export: Path, tmp_path: Path) -> None:
    assert overlay(demo, "--format", "svg", "--out", str(tmp_path / "svg")).exit_code == ExitCode.OK
    assert overlay(demo, "--format", "html", "--out", str(tmp_path / "x" / "page.html")).exit_code == ExitCode.OK
    page = (tmp_path / "x" / "page.html").read_text(encoding="utf-8")
    for (machine, *_), count in moves_in(export).items():
        assert f"{count:,} ×" in (tmp_path / "svg" / f"{machine}.svg").read_text(encoding="utf-8")
        assert f"{count:,} ×" in page
    assert overlay(demo, "--format", "png", "--out", str(tmp_path / "png")).exit_code == ExitCode.OK
    assert {path.read_bytes()[:4] for path in (tmp_path / "png").iterdir()} == {b"\x89PNG"}
    assert len(list((tmp_path / "png").iterdir())) == 6


def test_the_same_record_gives_the_same_page(small: Path, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        assert overlay(small, "--format", "html", "--out", str(tmp_path / name)).exit_code == ExitCode.OK
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_one_run_alone(small: Path) -> None:
    (both, second) = (json.loads(overlay(small, "--format", "json", *which).output) for which in ((), ("--run", "2")))
    assert (both["runs"], second["runs"]) == ([1, 2], [2])
    assert both["steps"] > second["steps"]


def test_text_to_a_file(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "overlay.txt"
    assert overlay(small, "--out", str(out)).output == ""
    assert out.read_text(encoding="utf-8") == overlay(small).output


def test_moves_of_no_table_are_said_with_every_form(small: Path, tmp_path: Path) -> None:
    changed = small.read_text(encoding="utf-8").replace('"event":"ack"', '"event":"nod"')
    small.write_text(changed, encoding="utf-8")
    assert "post.nod  sent → acked  3" in overlay(small).output
    page = tmp_path / "page.html"
    told = overlay(small, "--format", "html", "--out", str(page))
    assert told.exit_code == ExitCode.OK
    assert "3 moves are in no drawing. Moves that no table of this version has" in told.output
    assert "Moves of no table" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--check",), "--check and --overlay exclude each other"),
        (("--format", "md"), "--format md and --overlay exclude each other"),
        (("--run", "9"), "has no run 9"),
    ],
)
def test_what_does_not_go_together(small: Path, arguments: tuple[str, ...], words: str) -> None:
    told = overlay(small, *arguments)
    assert told.exit_code == ExitCode.USAGE
    assert words in told.output


@pytest.mark.parametrize(("option", "value"), [("--run", "1"), ("--format", "json"), ("--format", "text")])
def test_what_needs_a_record(option: str, value: str) -> None:
    told = CliRunner().invoke(app, ["diagram", option, value], env={"COLUMNS": "200"})
    assert told.exit_code == ExitCode.USAGE
    assert "is for --overlay" in told.output


def test_files_that_can_not_be_read_or_written(small: Path, tmp_path: Path) -> None:
    missing = overlay(tmp_path / "nowhere")
    assert missing.exit_code == ExitCode.JOURNAL
    assert "can't be read: No such file or directory" in missing.output
    small.write_text("oops\n", encoding="utf-8")
    assert overlay(small).exit_code == ExitCode.JOURNAL
    empty = tmp_path / "empty"
    empty.touch()
    assert overlay(empty).exit_code == ExitCode.USAGE


def test_place_that_can_not_be_written(small: Path, tmp_path: Path) -> None:
    told = overlay(small, "--out", str(tmp_path / "missing" / "x.txt"))
    assert told.exit_code == ExitCode.CONFIG
    assert "can't write" in told.output
