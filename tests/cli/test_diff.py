"""`hip3 diagram --diff`: each form, and an exit code that tells if somebody has to look."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.cli import app
from adapters.exit_codes import Comparison, ExitCode
from tests.adapters.diagram.repository import FILES, GATE, Repository, edited
from tests.cli.process import ROOT
from tests.review.material import repository

_AT_ONCE = '        Row(_E.PRESS, _S.OPEN, _S.CLOSED, why="at once"),\n'


@pytest.fixture
def made(tmp_path: Path) -> Repository:
    made = repository(tmp_path / "repository")
    made.git("checkout", "--quiet", "base")
    made.commit({"machines/gate.py": edited(GATE, (_AT_ONCE, ""))}, tag="topic")
    return made


def run(made: Repository, asked: str, *arguments: str) -> Result:
    command = ["diagram", "--diff", asked, "--repo", str(made.folder), *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200"})


def test_changed_machines_end_with_1(made: Repository) -> None:
    done = run(made, "base..topic")
    assert (done.exit_code, Comparison.DIFFERENT.value) == (1, 1)
    assert done.output == "Machines: 1 changed.\n\n~ machine gate (machines/gate.py)\n  - press: open → closed\n"


@pytest.mark.parametrize("form", ["text", "md", "svg", "png", "html"])
def test_unchanged_machines_end_with_0(made: Repository, tmp_path: Path, form: str) -> None:
    done = run(made, "base..base", "--format", form, "--out", str(tmp_path / "out"))
    assert (done.exit_code, Comparison.SAME.value) == (0, 0)


def test_the_working_tree_is_compared_too(made: Repository) -> None:
    assert run(made, "topic..").exit_code == Comparison.SAME
    made.write({"machines/gate.py": GATE})
    assert run(made, "base..").exit_code == Comparison.SAME
    assert run(made, "topic..").exit_code == Comparison.DIFFERENT


def test_text_and_markdown_go_to_standard_output_or_to_a_file(made: Repository, tmp_path: Path) -> None:
    for form, part in (("text", "~ machine gate"), ("md", "```mermaid\nstateDiagram-v2\n")):
        said = run(made, "base..topic", "--format", form)
        path = tmp_path / form
        quiet = run(made, "base..topic", "--format", form, "--out", str(path))
        assert (quiet.output, quiet.exit_code) == ("", Comparison.DIFFERENT)
        assert path.read_text(encoding="utf-8") == said.output
        assert part in said.output


def test_pictures_of_what_changed(made: Repository, tmp_path: Path) -> None:
    for form, start in (("svg", b"<svg "), ("png", b"\x89PNG")):
        done = run(made, "base..head", "--format", form, "--out", str(tmp_path / form))
        assert done.output == f"3 pictures in {tmp_path / form}\n"
        assert done.exit_code == Comparison.DIFFERENT
        files = sorted((tmp_path / form).iterdir())
        assert [path.name for path in files] == [f"{name}.{form}" for name in ("bell", "gate", "lamp")]
        assert all(path.read_bytes().startswith(start) for path in files)


def test_the_page_is_that_of_a_review(made: Repository, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    assert run(made, "base..head", "--format", "html", "--out", str(page)).exit_code == Comparison.DIFFERENT
    review = tmp_path / "review.html"
    command = ["review", "base..head", "--repo", str(made.folder), "-o", str(review)]
    assert CliRunner().invoke(app, command).exit_code == ExitCode.OK
    assert page.read_text(encoding="utf-8") == review.read_text(encoding="utf-8")


def test_a_machines_name_can_not_leave_the_folder(made: Repository, tmp_path: Path) -> None:
    names = ("../x", "//x", "é")
    files = {f"machines/m{place}.py": edited(GATE, ('"gate",', f'"{name}",')) for place, name in enumerate(names)}
    made.commit({**files, "machines/gate.py": None}, tag="nasty")
    out = tmp_path / "deep" / "out"
    assert run(made, "base..nasty", "--format", "svg", "--out", str(out)).output == f"4 pictures in {out}\n"
    assert {path.name for path in out.iterdir()} == {"_.svg", "___x.svg", "__x.svg", "gate.svg"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("base", "does not name two revisions"),
        ("base..nowhere", "there is no commit 'nowhere'"),
        ("--output=x..base", "there is no commit '--output=x'"),
        ("base..--output=x", "there is no commit '--output=x'"),
    ],
)
def test_revisions_that_are_none(made: Repository, asked: str, message: str) -> None:
    before = sorted(made.folder.rglob("*"))
    done = run(made, asked)
    assert done.exit_code == ExitCode.USAGE
    assert message in done.output
    assert sorted(made.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--diff", "a..b", "--check"), "--check and --diff exclude each other"),
        (("--diff", "a..b", "--format", "json"), "--format json and --diff exclude each other"),
        (("--diff", "a..b", "--overlay", "x"), "--overlay and --diff exclude each other"),
        (("--diff", "a..b", "--run", "1"), "--run is for --overlay"),
        (("--repo", "x"), "--repo is for --diff"),
        (("--format", "text"), "--format text is for --overlay or --diff"),
    ],
)
def test_options_that_exclude_each_other(arguments: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(app, ["diagram", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == ExitCode.USAGE
    assert message in done.output


def test_a_place_that_can_not_be_written(made: Repository, tmp_path: Path) -> None:
    done = run(made, "base..topic", "--format", "html", "--out", str(tmp_path / "none" / "diff.html"))
    assert done.exit_code == ExitCode.CONFIG
    assert "can't write" in done.output


def test_colours_are_for_terminals(made: Repository) -> None:
    command = [sys.executable, "-m", "adapters.cli", "diagram", "--diff", "base..topic", "--repo", str(made.folder)]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    piped = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)  # noqa: S603
    assert piped.returncode == Comparison.DIFFERENT
    assert b"\x1b" not in piped.stdout
    outer, inner = pty.openpty()
    with os.fdopen(outer, "rb", buffering=0) as terminal:
        done = subprocess.run(  # noqa: S603 our own
            command, cwd=ROOT, env=environment | {"TERM": "xterm-256color"}, stdout=inner, timeout=60, check=False
        )
        os.close(inner)
        shown = terminal.read(10_000)
    assert done.returncode == Comparison.DIFFERENT
    assert b"\x1b[33m~ machine gate (machines/gate.py)\x1b[0m" in shown
    assert b"\x1b[31m  - press: open" in shown


def test_nothing_of_the_revision_runs(made: Repository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    trap = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
    made.commit({path: trap + text for path, text in FILES.items()} | {"machines/__init__.py": trap}, tag="trap")
    for form in ("text", "md", "svg", "png", "html"):
        done = run(made, "base..trap", "--format", form, "--out", str(tmp_path / f"out-{form}"))
        assert done.exit_code == Comparison.DIFFERENT
    assert not ran.exists()
