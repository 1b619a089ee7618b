"""The page of an overlay, as a reader has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.diagram.overlay import overlay_of
from adapters.diagram.overlay_page import render
from adapters.diagram.reading import installed, read
from adapters.diagram.scenarios import PLOTS
from tests.adapters.recorded import played, record
from tests.browser.conftest import NARROW, WIDE, Open, Scheme, assert_sound


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all plots, and of a move that no table has."""
    folder = tmp_path_factory.mktemp("overlay")
    trace = record(folder / "runs.ndjson", *(played(plot.title).steps for plot in PLOTS))
    trace.write_bytes(trace.read_bytes().replace(b'"event":"time_out"', b'"event":"<b>nod</b>"'))
    file = folder / "overlay.html"
    file.write_text(render(overlay_of(trace, read(installed()).charts), "runs.ndjson"), encoding="utf-8")
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_page_is_sound(visit: Open, page_file: Path, width: int, scheme: Scheme) -> None:
    page = visit(page_file, width, scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert_sound(page)


def test_counts_stand_in_drawing_and_table(visit: Open, page_file: Path) -> None:
    page = visit(page_file, WIDE, "light")
    stop = page.locator("#hard_stop")
    row = stop.get_by_role("row", name="trip armed → tripped")
    assert row.locator("td").first.inner_text() == "1"
    assert "1 ×" in (stop.locator("svg").text_content() or "")
    assert stop.locator("summary").inner_text() == "2 of 3 transitions never taken"
    assert stop.locator("details li").first.is_hidden()
    stop.locator("summary").press("Enter")
    assert "reset tripped → armed" in stop.locator("details").inner_text()


def test_moves_of_no_table_come_first_and_are_escaped(visit: Open, page_file: Path) -> None:
    page = visit(page_file, NARROW, "light")
    page.get_by_role("link", name="Moves of no table").click()
    first = page.locator("section").first
    assert first.get_attribute("id") == "foreign"
    assert "post.<b>nod</b>" in first.inner_text()


def test_heavier_lines_for_what_was_taken_more_often(visit: Open, page_file: Path) -> None:
    page = visit(page_file, WIDE, "light")
    widths = {
        float(width)
        for width in page.locator("#post svg path.line.plain").evaluate_all(
            "paths => paths.map(path => getComputedStyle(path).strokeWidth.replace('px', ''))"
        )
    }
    assert max(widths) > 2 * min(widths)


def test_nothing_of_a_drawing_is_cut_off(visit: Open, page_file: Path) -> None:
    page = visit(page_file, WIDE, "light")
    outside = page.locator("svg").evaluate_all(
        """drawings => drawings.flatMap(drawing => {
          const view = drawing.viewBox.baseVal;
          return [...drawing.querySelectorAll('path, rect, text, circle')].filter(each => {
            const box = each.getBBox();
            return box.x < view.x || box.x + box.width > view.x + view.width
              || box.y < view.y || box.y + box.height > view.y + view.height;
          }).map(each => each.outerHTML);
        })"""
    )
    assert outside == []
