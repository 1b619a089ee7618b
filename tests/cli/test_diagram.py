"""`hip3 diagram`: writes pages and pictures, and fails when committed pages are out of date."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.cli import app
from adapters.diagram import graphviz, page
from adapters.diagram.mermaid import pages
from adapters.diagram.reading import installed, read
from adapters.exit_codes import ExitCode
from tests.cli.process import ROOT

ATLAS = read(installed())
PAGES = len(pages(ATLAS))
NAMES = ["composed", *(chart.name for chart in ATLAS.charts)]


def diagram(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    result = CliRunner().invoke(app, ["diagram", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    return result.exit_code, result.output


def test_the_committed_pages_pass() -> None:
    code, text = diagram("--check", "--out", str(ROOT / "docs" / "machines"))
    assert code == ExitCode.OK
    assert f"all {PAGES} pages" in text


def test_an_altered_page_fails_and_what_to_run_mends_it(tmp_path: Path) -> None:
    folder = str(tmp_path / "pages")
    assert diagram("--out", folder) == (ExitCode.OK, f"{PAGES} of {PAGES} pages changed in {folder}\n")
    page = tmp_path / "pages" / "inflight.md"
    altered = page.read_text(encoding="utf-8").replace("s_idle --> s_normal", "s_idle --> s_full")
    assert altered != page.read_text(encoding="utf-8")
    page.write_text(altered, encoding="utf-8")
    before = page.read_bytes()
    code, text = diagram("--check", "--out", folder)
    assert code == ExitCode.DISAGREES
    assert text == f"out of date in {folder}: inflight.md; run: hip3 diagram --out {folder}\n"
    assert page.read_bytes() == before, "a check changes nothing"
    assert diagram("--out", folder) == (ExitCode.OK, f"1 of {PAGES} pages changed in {folder}\n")
    assert diagram("--check", "--out", folder)[0] == ExitCode.OK


def test_a_changed_transition_makes_the_check_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "pages")
    diagram("--out", folder)
    sources = dict(installed())
    changed = sources["machines/post.py"].replace("Row(_E.FAIL, _S.SENT, _S.FAILED,", "Row(_E.FAIL, _S.SENT, _S.ACKED,")
    assert changed != sources["machines/post.py"]
    monkeypatch.setattr("adapters.cli.diagram.installed", lambda: sources | {"machines/post.py": changed})
    code, text = diagram("--check", "--out", folder)
    assert code == ExitCode.DISAGREES
    assert text == f"out of date in {folder}: post.md; run: hip3 diagram --out {folder}\n"


@pytest.mark.parametrize("form", ["svg", "png"])
def test_pictures(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "pictures"
    assert diagram("--format", form, "--out", str(folder)) == (ExitCode.OK, f"{len(NAMES)} pictures in {folder}\n")
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.{form}" for name in NAMES)
    if form == "svg":
        for chart in ATLAS.charts:
            assert (folder / f"{chart.name}.svg").read_text(encoding="utf-8") == graphviz.svg(chart, alone=True)


def test_one_page(tmp_path: Path) -> None:
    file = tmp_path / "new" / "machines.html"
    assert diagram("--format", "html", "--out", str(file)) == (ExitCode.OK, f"{len(ATLAS.charts)} machines in {file}\n")
    assert file.read_text(encoding="utf-8") == page.render(ATLAS)


def test_without_graphviz_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    for form in ("svg", "png", "html"):
        code, text = diagram("--format", form, "--out", str(tmp_path / "pictures"))
        assert code == ExitCode.USAGE
        assert "pip install 'hip3-executor[diagrams]'" in text
    assert list(tmp_path.iterdir()) == []
    assert diagram("--out", str(tmp_path / "pages"))[0] == ExitCode.OK, "pages need no Graphviz"


def test_check_is_for_pages_only() -> None:
    code, text = diagram("--check", "--format", "svg")
    assert code == ExitCode.USAGE
    assert "--check is for --format md" in text


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    code, text = diagram("--out", str(file / "pages"))
    assert code == ExitCode.CONFIG
    assert text.startswith(f"can't write {file / 'pages'}: ")
