"""Drawings hold all of a machine, tell marks without colour too, and are the same everywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from adapters.diagram import drawing
from adapters.diagram.chart import Atlas, Chart
from adapters.diagram.graphviz import GraphvizMissing, composed_png, composed_svg, png, svg
from adapters.diagram.marks import Kind, Mark, Marks
from adapters.diagram.reading import installed, read

ATLAS = read(installed())
CHARTS = {chart.name: chart for chart in ATLAS.charts}
POST = CHARTS["post"]
SVG = "{http://www.w3.org/2000/svg}"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
HOSTILE = "<script>\x00\u2028\ud800&\"'"


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - our own output


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("chart", ATLAS.charts, ids=lambda chart: str(chart.name))
@pytest.mark.parametrize("alone", [False, True])
def test_a_drawing_holds_all_of_its_machine(chart: Chart, alone: bool) -> None:
    root = parsed(svg(chart, alone=alone))
    assert (root.get("role"), root.findtext(f"{SVG}title")) == ("img", f"{chart.title}: state diagram")
    shown = texts(root)
    for state in chart.states:
        assert state.name in shown
    told = " ".join(shown)
    for event in {row.event for row in chart.transitions}:
        wanted = sum(row.event == event for row in chart.transitions)
        assert len(re.findall(rf"(?<!\w){event}(?!\w)", told)) >= wanted
    for guard in {row.guard.words for row in chart.transitions if row.guard is not None}:
        wanted = sum(row.guard is not None and row.guard.words == guard for row in chart.transitions)
        assert told.count(f"[{guard}]") == wanted
    classes = [rect.get("class") for rect in root.iter(f"{SVG}rect")]
    assert classes.count("inner plain") == len(chart.final)
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert ("double border" in told, len(list(root.iter(f"{SVG}style")))) == (alone, int(alone))


def test_text_is_inside_its_drawing_and_boxes_do_not_overlap() -> None:
    for chart in ATLAS.charts:
        root = parsed(svg(chart))
        x, y, width, height = (float(number) for number in (root.get("viewBox") or "").split())
        for text in root.iter(f"{SVG}text"):
            assert x < float(text.get("x", 0)) < x + width
            assert y < float(text.get("y", 0)) < y + height
        boxes = [
            tuple(float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
            for rect in root.iter(f"{SVG}rect")
            if (rect.get("class") or "").startswith("box")
        ]
        assert len(boxes) == len(chart.states)
        for place, one in enumerate(boxes):
            for other in boxes[place + 1 :]:
                beside = one[0] + one[2] <= other[0] or other[0] + other[2] <= one[0]
                assert beside or one[1] + one[3] <= other[1] or other[1] + other[3] <= one[1]


def test_marks_are_told_by_sign_class_width_and_note() -> None:
    ack, fail, time_out = (row.key for row in POST.transitions if row.event in ("ack", "fail", "time_out"))
    marks = Marks(
        {"acked": Mark(Kind.ADDED, "new here")},
        {ack: Mark(Kind.REMOVED), fail: Mark(Kind.CHANGED, "guard"), time_out: Mark(weight=1.0)},
    )
    root = parsed(svg(POST, marks, alone=True))
    shown = texts(root)
    assert {"+ acked", "new here", "− ack", "~ fail", "guard"} <= set(shown)
    lines = [(path.get("class"), path.get("stroke-width")) for path in root.iter(f"{SVG}path")]
    assert lines.count(("line removed", "1.8")) == lines.count(("line changed", "2.4")) == 1
    assert lines.count(("line plain", "6.2")) == 1
    for kind in (Kind.PLAIN, Kind.ADDED, Kind.REMOVED, Kind.CHANGED):
        assert drawing.LEGEND[kind] in shown
    assert drawing.LEGEND[Kind.UNUSED] not in shown
    assert png(POST, marks) != png(POST)


def test_transitions_between_the_same_states_share_an_arrow_unless_their_marks_differ() -> None:
    session = CHARTS["session"]
    ends = [row for row in session.transitions if (row.source, row.target) == ("draining", "closed")]
    assert len(ends) == 2

    def arrows(marks: Marks) -> int:
        return sum(
            (arrow.source, arrow.target) == ("draining", "closed")
            for arrow in drawing.of_machine(session, marks).arrows
        )

    assert arrows(Marks()) == 1
    assert arrows(Marks(transitions={ends[0].key: Mark(Kind.ADDED)})) == 2


def test_the_composed_view_holds_every_drive() -> None:
    assert len(ATLAS.drives) > 60
    shown = drawing.of_all(ATLAS)
    inside = {(line.text, arrow.source, arrow.target) for arrow in shown.arrows for line in arrow.lines}
    inside |= {(line.text, box.key, box.key) for box in shown.boxes for loop in box.loops for line in loop.lines}
    outside = {(line.text, box.key) for box in shown.boxes for line in box.lines}
    for drive in ATLAS.drives:
        source, _, cause = drive.cause.rpartition(".")
        target, _, effect = drive.effect.rpartition(".")
        lines = [text for text, *ends in inside if ends == [source, target]] if source else []
        lines += [] if source else [text for text, key in outside if key == target]
        halves = [text.split(" → ") for text in lines if " → " in text]
        assert any(cause in left.split(", ") and effect in right.split(", ") for left, right in halves), drive
    root = parsed(composed_svg(ATLAS, alone=True))
    assert {text for text, *_ in inside} <= set(texts(root))


def test_the_same_machine_gives_the_same_bytes_without_fonts_and_with_any_hash_seed() -> None:
    program = (
        "import sys\nfrom adapters.diagram.graphviz import composed_svg, svg\n"
        "from adapters.diagram.reading import installed, read\natlas = read(installed())\n"
        "sys.stdout.write(composed_svg(atlas) + ''.join(svg(chart) for chart in atlas.charts))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "FONTCONFIG_FILE": os.devnull, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    assert done.stdout.decode() == composed_svg(ATLAS) + "".join(svg(chart) for chart in ATLAS.charts)


def test_names_of_an_untrusted_revision_break_nothing() -> None:
    first, *others = POST.states
    rows = [
        replace(row, event=HOSTILE, source=HOSTILE if row.source == first.name else row.source)
        for row in POST.transitions
    ]
    evil = replace(POST, states=(replace(first, name=HOSTILE), *others), transitions=tuple(rows))
    text = svg(evil, alone=True)
    assert "<script>" not in text
    assert "&lt;script&gt;   &amp;" in text
    parsed(text)
    assert png(evil).startswith(PNG_SIGNATURE)
    assert "<script>" not in composed_svg(Atlas((replace(evil, name=HOSTILE),), ()))


def test_png_is_a_picture() -> None:
    assert png(POST).startswith(PNG_SIGNATURE)
    assert composed_png(ATLAS).startswith(PNG_SIGNATURE)


def test_without_graphviz_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(GraphvizMissing, match=re.escape("pip install 'hip3-executor[diagrams]'")):
        svg(POST)
    with pytest.raises(GraphvizMissing, match=re.escape("pip install 'hip3-executor[diagrams]'")):
        composed_png(ATLAS)
