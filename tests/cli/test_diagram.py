"""`hip3 diagram`: writes the pages, and fails when they are out of date."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from adapters.cli import app
from adapters.diagram.mermaid import pages
from adapters.diagram.reading import installed, read
from adapters.exit_codes import ExitCode
from tests.cli.process import ROOT

PAGES = len(pages(read(installed())))


def diagram(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(app, ["diagram", *arguments])
    return result.exit_code, result.output


def test_the_committed_pages_pass() -> None:
    code, text = diagram("--check", "--out", str(ROOT / "docs" / "machines"))
    assert code == ExitCode.OK
    assert f"all {PAGES} pages" in text


def test_an_altered_page_fails_and_what_to_run_mends_it(tmp_path: Path) -> None:
    folder = str(tmp_path / "pages")
    assert diagram("--out", folder) == (ExitCode.OK, f"{PAGES} of {PAGES} pages changed in {folder}\n")
    page = tmp_path / "pages" / "inflight.md"
    page.write_text(page.read_text(encoding="utf-8").replace("idle --> normal", "idle --> full"), encoding="utf-8")
    before = page.read_bytes()
    code, text = diagram("--check", "--out", folder)
    assert code == ExitCode.DISAGREES
    assert text == f"out of date in {folder}: inflight.md; run: hip3 diagram --out {folder}\n"
    assert page.read_bytes() == before, "a check changes nothing"
    assert diagram("--out", folder) == (ExitCode.OK, f"1 of {PAGES} pages changed in {folder}\n")
    assert diagram("--check", "--out", folder)[0] == ExitCode.OK
