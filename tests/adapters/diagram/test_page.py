"""The page of all machines is complete, self-contained, always the same, and answers what a stranger asks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.diagram import page
from adapters.diagram.chart import Chart
from adapters.diagram.page import cited, render
from adapters.diagram.purpose import origins
from adapters.diagram.reading import installed, read
from adapters.diagram.scenarios import scenarios
from adapters.diagram.slots import endings
from machines.post import POST, QUARANTINE_MS
from spec.invariants import INVARIANTS

ATLAS = read(installed())
PAGE = render(ATLAS)


class Outline(HTMLParser):
    """What the page has: headings, ids, links within it, and the words in each row of a table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.depths: list[int] = []
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.rows: list[str] = []
        self._in_row = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if re.fullmatch(r"h[1-6]", tag):
            self.depths.append(int(tag[1]))
        if facts.get("id"):
            self.ids.append(str(facts["id"]))
        if tag == "a":
            self.links.add(str(facts["href"]))
        if tag == "tr":
            self.rows.append("")

        self._in_row = self._in_row or tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        self._in_row = self._in_row and tag != "tr"

    def handle_data(self, data: str) -> None:
        if self._in_row:
            self.rows[-1] = f"{self.rows[-1]}{data}"

    def row(self, *words: str) -> str:
        """The one row that begins with these words, without its spaces."""
        (found,) = [told for row in self.rows if (told := " ".join(row.split())).startswith(" ".join(words))]
        return found


OUTLINE = Outline(PAGE)


def section(name: str) -> str:
    """The part of the page under the heading with this id."""
    return PAGE.partition(f'aria-labelledby="{name}"')[2].partition("<section")[0]


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", html.replace("<wbr>", "")).split())


@pytest.mark.parametrize("chart", ATLAS.charts, ids=lambda chart: str(chart.name))
def test_all_of_a_machine_is_there(chart: Chart) -> None:
    told = section(chart.name)
    text = plain(told)
    assert f"<title>{chart.title}: state diagram</title>" in told
    for state in chart.states:
        assert f'id="{chart.name}-state-{state.name}"' in told
        assert state.meaning.replace("`", "") in text.replace("&quot;", '"').replace("&#39;", "'")
    for row in chart.transitions:
        assert f"{chart.file}:{row.line}" in text
        for function in filter(None, (row.guard, row.effect)):
            assert f"<summary>{function.words}</summary>" in told
            assert f"{chart.file}:{function.line}" in text
    for drive in ATLAS.drives:
        if drive.effect.startswith(f"{chart.name}."):
            assert drive.cause in text


def test_links_and_headings_are_in_order() -> None:
    assert len(set(OUTLINE.ids)) == len(OUTLINE.ids)
    assert {link.removeprefix("#") for link in OUTLINE.links} <= set(OUTLINE.ids)
    assert all(link.startswith("#") for link in OUTLINE.links)
    assert OUTLINE.depths[0] == 1
    assert OUTLINE.depths.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(OUTLINE.depths))


def test_nothing_is_loaded_and_only_its_own_script_may_run() -> None:
    assert not re.search(r'\b(src|href)="(?!#)|@import|url\(', PAGE)
    assert PAGE.count("<script") == 1
    assert "script-src &#39;sha256-" in PAGE


def test_which_states_end_a_post() -> None:
    assert OUTLINE.row("Post The life of a post").endswith("queued acked, failed, timed_out, disconnected, unsent")
    assert "Ends in acked, failed, timed_out, disconnected or unsent." in plain(section("post"))


def test_what_releases_an_inflight_slot() -> None:
    assert OUTLINE.row("post.ack") == "post.ack acked inflight.release at once"
    assert OUTLINE.row("post.fail") == "post.fail failed inflight.release at once"
    for event, state in {"time_out": "timed_out", "disconnect": "disconnected"}.items():
        later = "10 s later, by inflight.clear; earlier if its late reply comes"
        assert OUTLINE.row(f"post.{event}") == f"post.{event} {state} inflight.quarantine {later}"
    assert OUTLINE.row("post.refuse") == "post.refuse unsent it never had one"
    assert OUTLINE.row("release give back") == (
        "release give back post.ack ← ReplyReceived post.fail ← ReplyReceived, ErrorReceived"
    )
    assert OUTLINE.row("quarantine set aside") == (
        "quarantine set aside post.time_out ← TimePassed"
        " post.disconnect ← Closed, SendBroken, ConnectionLost, Recovered"
    )
    assert "TimePassed: the quarantine's time is over" in OUTLINE.row("clear forget")


def test_each_way_in_which_a_post_ends_is_run_and_moves_its_slot_as_the_composition_says() -> None:
    found = {ending.event: ending for ending in endings()}
    assert {ending.state for ending in found.values()} == {state.value for state in POST.final}
    for event, ending in found.items():
        drives = [each.effect for each in ATLAS.drives if each.cause == f"post.{event}" and "inflight." in each.effect]
        assert drives == ([f"inflight.{ending.slot}"] if ending.slot else [])
        unanswered = ending.slot == "quarantine"
        assert (ending.freed, ending.by_reply) == (("clear", "clear") if unanswered else ("", ""))
        assert ending.after_ms == (QUARANTINE_MS if unanswered else 0)


def test_what_happens_to_a_reduce_only_order_when_the_socket_drops() -> None:
    stories = section("stories")
    asked = [each for each in scenarios() if "socket drops while a reduce-only order" in each.title]
    assert len(asked) == 3
    for scenario in scenarios():
        assert f'<h3 id="{scenario.anchor}">… {scenario.title}?</h3>' in stories
        assert f'<a href="#{scenario.anchor}">' in stories
        assert scenario.answer in plain(stories).replace("&#39;", "'")
        for line in scenario.story.lines:
            for move in line.moves:
                assert f"{move.event}: {move.source} → {move.target}" in plain(stories)


def test_findings_have_their_text_where_the_document_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "each post ends exactly once" in PAGE
    assert 'href="#finding-P2"' in PAGE
    monkeypatch.setattr(page, "_FINDINGS", tmp_path / "findings.md")
    bare = render(ATLAS)
    assert "each post ends exactly once" not in bare
    outline = Outline(bare)
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert "<summary>P2, P3, P4, X4</summary>" in bare


def test_findings_named_in_prose_are_links_where_they_are_known() -> None:
    known = {"X3": "", "P2": ""}
    x3, p2 = ('<a href="#finding-X3">X3</a>', '<a href="#finding-P2">P2</a>')
    assert cited("so (finding X3).", known) == f"<p>so (finding {x3}).</p>\n"
    assert cited("(findings X3,\nP2 and Q9) X3", known) == f"<p>(findings {x3},\n{p2} and Q9) X3</p>\n"
    assert cited("<b> finding X3", known) == f"<p>&lt;b&gt; finding {x3}</p>\n"
    assert '(finding <a href="#finding-X3">X3</a>)' in section("inflight")


def test_a_table_has_no_column_without_content() -> None:
    assert 'data-head="Brings about"' not in section("inflight")
    assert 'data-head="If"' not in section("post")
    assert 'data-head="If"' in section("inflight")


def test_origins_are_events_of_the_core_that_drives_lead_from() -> None:
    assert origins(ATLAS, "post.ack") == ("ReplyReceived",)
    assert set(origins(ATLAS, "post.disconnect")) == {"ConnectionLost", "Closed", "SendBroken", "Recovered"}
    assert origins(ATLAS, "ReplyReceived") == ()


def test_every_invariant_is_stated() -> None:
    for invariant in INVARIANTS:
        assert f'id="invariant-{invariant.id}"' in PAGE


def test_the_page_is_the_same_with_any_hash_seed() -> None:
    program = (
        "import sys\nfrom adapters.diagram.page import render\nfrom adapters.diagram.reading import installed, read\n"
        "sys.stdout.write(render(read(installed())))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "11", "PYTHONIOENCODING": "utf-8", "TZ": "Asia/Tokyo"}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode() == PAGE
