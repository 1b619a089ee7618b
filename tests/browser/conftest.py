"""A headless Chromium, and what every page has to pass in it.

Chromium is the machine's own (Debian's package `chromium`). Where there is none these tests are skipped; under CI,
which sets `CI`, they fail instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

Scheme: TypeAlias = Literal["light", "dark"]
Open: TypeAlias = Callable[[Path, int, Scheme], Page]

WIDE: Final = 1280
NARROW: Final = 390
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this package, and no longer.

    While it is open, Playwright's event loop counts as running in this thread, and no asynchronous test could run.
    """
    executable = shutil.which("chromium")
    if executable is None:
        told = "there is no chromium on the PATH; on Debian: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))) as launched,
    ):
        yield launched


class Unsound(AssertionError):
    """A page reported an error, or asked for something else than itself."""


@contextmanager
def visiting(browser: Browser) -> Iterator[Open]:
    """Opens local pages, each as (file, width in pixels, colour scheme), and closes them in the end.

    Raises:
        Unsound: A page reported an error, or asked for anything but itself.
    """
    problems: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith("file:") or not request.is_navigation_request():
            problems.append(f"asked for {request.url}")

    def told(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            problems.append(f"console: {message.text}")

    def opened(file: Path, width: int, scheme: Scheme) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.on("request", asked)
        context.on("console", told)
        context.on("weberror", lambda error: problems.append(f"script failed: {error.error}"))
        page = context.new_page()
        page.goto(file.resolve().as_uri())
        return page

    yield opened
    for context in browser.contexts:
        context.close()
    if problems:
        raise Unsound("\n".join(problems))


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens a local page; the test fails in the end if a page reported an error or asked for anything but itself."""
    with visiting(browser) as opened:
        yield opened


def dead_links(page: Page) -> list[str]:
    """Links within the page that lead nowhere."""
    found: list[str] = page.eval_on_selector_all(
        "a[href^='#']",
        "links => links.map(link => link.getAttribute('href'))"
        ".filter(href => !document.getElementById(decodeURIComponent(href.slice(1))))",
    )
    return found


def too_wide(page: Page) -> list[str]:
    """What makes the page scroll sideways: elements that end right of the window and are not in a box that scrolls."""
    found: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.querySelectorAll('body *')]
            .filter(each => each.getBoundingClientRect().right > width + 1)
            .slice(0, 5).map(each => each.outerHTML.slice(0, 120));
        }"""
    )
    return found


def repeated_ids(page: Page) -> list[str]:
    """Ids that more than one element has: a link to one of them leads to the first only."""
    found: list[str] = page.eval_on_selector_all(
        "[id]", "all => all.map(each => each.id).filter((id, place, ids) => ids.indexOf(id) !== place)"
    )
    return found


def barriers(page: Page) -> list[str]:
    """What axe finds against contrast, headings, names, alternative texts and the like."""
    results = Axe().run(page)
    return [f"{rule['id']}: {node['html'][:160]}" for rule in results.response["violations"] for node in rule["nodes"]]


def assert_sound(page: Page) -> None:
    """Nothing of the page is broken, cut off, or closed to a part of its readers."""
    assert page.title()
    assert page.locator("h1").count() == 1
    assert repeated_ids(page) == []
    assert dead_links(page) == []
    assert too_wide(page) == []
    assert barriers(page) == []
