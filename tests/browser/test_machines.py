"""The page of all machines in a browser: light and dark, wide and narrow, searched, and by keyboard alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from adapters.diagram.graphviz import composed_svg, svg
from adapters.diagram.page import render
from adapters.diagram.reading import installed, read
from tests.browser.conftest import NARROW, WIDE, Open, Scheme, assert_sound, visiting

ATLAS = read(installed())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("page") / "machines.html"
    made.write_text(render(ATLAS), encoding="utf-8")
    return made


def shown(page: Page) -> list[str]:
    """What can be found, and is not hidden."""
    return [text for text in page.locator("[data-find]:visible").all_inner_texts() if text]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_is_sound(visit: Open, file: Path, width: int, scheme: Scheme) -> None:
    page = visit(file, width, scheme)
    assert_sound(page)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert_sound(page)


def test_drawings_follow_the_colour_scheme_and_texts_stay_in_their_boxes(visit: Open, file: Path) -> None:
    colours = set()
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for scheme in schemes:
        page = visit(file, WIDE, scheme)
        text = page.locator("svg.diagram text.name").first
        colours.add(text.evaluate("text => getComputedStyle(text).fill"))
        outside = page.evaluate(
            """() => [...document.querySelectorAll('svg.diagram g')].flatMap(group => {
              const box = group.querySelector('rect').getBBox();
              return [...group.querySelectorAll('text')]
                .filter(text => text.getBBox().width > box.width - 2).map(text => text.textContent);
            })"""
        )
        assert outside == []
    assert len(colours) == len(schemes)


def test_search_shows_what_holds_all_words_and_says_how_much(visit: Open, file: Path) -> None:
    page = visit(file, WIDE, "light")
    everything = len(shown(page))
    page.get_by_role("searchbox", name="Search").fill("socket drops reduce-only")
    expect(page.get_by_role("status")).to_have_text(f"3 of {everything} in 1 section")
    found = shown(page)
    assert len(found) == 3
    assert all("reduce-only" in text and "socket drops" in text for text in found)
    assert page.locator("main > section:visible h2").all_inner_texts() == ["What happens when …"]
    assert_sound(page)
    page.get_by_role("searchbox").fill("nothing at all like this")
    expect(page.get_by_role("status")).to_have_text(f"0 of {everything} in 0 sections")
    page.keyboard.press("Escape")
    assert len(shown(page)) == everything
    expect(page.get_by_role("status")).to_have_text("")


def test_search_leads_to_the_row_that_releases_a_slot(visit: Open, file: Path) -> None:
    page = visit(file, WIDE, "light")
    page.get_by_role("searchbox").fill("release slot")
    expect(page.locator("#inflight-event-release")).to_be_visible()
    expect(page.locator("#slots")).to_be_visible()
    expect(page.locator("#inflight-event-acquire")).to_be_hidden()
    page.get_by_role("searchbox").fill("tracker.count > 0")
    expect(page.get_by_role("status")).to_contain_text("0 of ")


def test_search_finds_states_transitions_events_and_findings(visit: Open, file: Path) -> None:
    page = visit(file, WIDE, "light")
    for query, wanted in {
        "timed out": "Ended without an answer in time",
        "give back release": "release\tgive back",
        "X3": "quarantine",
        "ConnectionLost": "session.lose",
        "reaches_limit": "reaches limit",
    }.items():
        page.get_by_role("searchbox").fill(query)
        assert any(wanted in text for text in shown(page)), query


def test_a_link_finds_its_target_after_a_search(visit: Open, file: Path) -> None:
    page = visit(file, WIDE, "light")
    page.get_by_role("searchbox").fill("inflight release give back")
    page.locator("a[href='#post-event-ack']:visible").first.click()
    expect(page.locator("#post-event-ack")).to_be_in_viewport()
    expect(page.get_by_role("searchbox")).to_have_value("")


def test_the_keyboard_reaches_everything(visit: Open, file: Path) -> None:
    page = visit(file, WIDE, "light")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    story = page.locator("article summary").first
    story.focus()
    page.keyboard.press("Enter")
    expect(page.locator("article table").first).to_be_visible()
    page.get_by_role("searchbox").focus()
    page.keyboard.type("fencing")
    expect(page.get_by_role("status")).to_contain_text(" in ")
    reached = page.evaluate("document.querySelectorAll('[tabindex]:not([tabindex=\"0\"])').length")
    assert reached == 0


def test_without_its_script_the_page_is_complete(browser: Browser, file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.locator("#query").is_hidden()
        assert page.locator("section h2:visible").count() == page.locator("section").count()
        assert page.get_by_role("img", name="Post: state diagram").is_visible()
    finally:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_drawing_is_a_file_of_its_own(browser: Browser, tmp_path: Path, scheme: Scheme) -> None:
    for name, text in {"post": svg(ATLAS.charts[3], alone=True), "all": composed_svg(ATLAS, alone=True)}.items():
        (tmp_path / f"{name}.svg").write_text(text, encoding="utf-8")
        with visiting(browser) as visit:
            page = visit(tmp_path / f"{name}.svg", WIDE, scheme)
            ground, ink = page.evaluate(
                "() => [getComputedStyle(document.documentElement).backgroundColor,"
                " getComputedStyle(document.querySelector('text')).fill]"
            )
            assert (ground == "rgb(21, 23, 26)") is (scheme == "dark")
            assert ground != ink
