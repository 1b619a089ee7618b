"""The site of the documents, opened from the disk: nothing but its own files is asked for, and its search works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.browser.conftest import NARROW, WIDE, Scheme, dead_links, too_wide
from tests.docs.documents import ROOT
from tests.docs.site import build

PAGES: Final = ("index.html", "operators.html", "machines/index.html")
VisitSite: TypeAlias = Callable[[str, int, Scheme], Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    assert build(ROOT, folder) == ""
    return folder


@pytest.fixture
def visit_site(browser: Browser, site: Path) -> Iterator[VisitSite]:
    """Opens a page of the site; the test fails in the end if one asked for anything else, or reported an error."""
    problems: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith(site.as_uri()):
            problems.append(f"asked for {request.url}")

    def told(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console: {message.text}")

    def opened(name: str, width: int, scheme: Scheme) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.on("request", asked)
        context.on("requestfailed", lambda request: problems.append(f"not there: {request.url}"))
        context.on("console", told)
        context.on("weberror", lambda error: problems.append(f"script failed: {error.error}"))
        page = context.new_page()
        page.goto((site / name).as_uri())
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    assert problems == []


THEME: Final = ("landmark-unique", "scrollable-region-focusable")
"""Rules of axe about what the theme's own script adds: buttons that copy code, boxes around wide tables."""


def barriers(page: Page) -> list[str]:
    """What axe finds in what is ours; the frame around it is the theme's."""
    rules = {rule: {"enabled": False} for rule in THEME}
    # Without preload, which would ask for the style sheets, and may not from a file.
    results = Axe().run(page, context=".md-content", options={"preload": False, "rules": rules})
    return [f"{rule['id']}: {node['html'][:160]}" for rule in results.response["violations"] for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole(visit_site: VisitSite, name: str, width: int, scheme: Scheme) -> None:
    page = visit_site(name, width, scheme)
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("body")).to_have_attribute(
        "data-md-color-scheme", {"light": "default", "dark": "slate"}[scheme]
    )
    assert dead_links(page) == []
    assert too_wide(page) == []
    assert barriers(page) == []


@pytest.mark.parametrize("name", ["machines/index.html", "machines/post.html"])
def test_the_machines_are_drawn(visit_site: VisitSite, name: str) -> None:
    page = visit_site(name, WIDE, "light")
    drawing = page.locator("svg.diagram")
    expect(drawing).to_be_visible()
    expect(page.locator("code.language-mermaid, pre.mermaid")).to_have_count(0)
    colour = "image => getComputedStyle(image.querySelector('text')).fill"
    light = drawing.evaluate(colour)
    page.locator("label[title='Switch to dark']").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    assert drawing.evaluate(colour) != light


def test_the_search_works_from_the_disk(visit_site: VisitSite) -> None:
    page = visit_site("index.html", WIDE, "light")
    page.get_by_role("textbox", name="Search").click()
    page.keyboard.type("settlement_overdue")
    found = page.locator(".md-search-result__link").first
    expect(found).to_contain_text("Operators")
    found.click()
    expect(page.locator("h1")).to_contain_text("Operators")


def test_the_navigation_leads_to_each_user_and_to_all_machines(visit_site: VisitSite) -> None:
    page = visit_site("index.html", WIDE, "light")
    navigation = page.get_by_role("navigation", name="Navigation")
    for heading in ("Write strategies", "Review the machines", "Operate it"):
        expect(navigation.get_by_text(heading, exact=True).first).to_be_visible()
    navigation.get_by_role("link", name="All machines on one page").click()
    expect(page).to_have_url(re.compile(r"/machines/all\.html$"))
    expect(page.locator("h1")).to_have_count(1)


def test_a_link_to_a_source_leads_to_it(visit_site: VisitSite) -> None:
    page = visit_site("why.html", WIDE, "light")
    page.get_by_role("link", name="machines/verdict.py").click()
    expect(page.locator("h1")).to_contain_text("machines/verdict.py")
    expect(page.locator("pre")).to_contain_text("def ")
