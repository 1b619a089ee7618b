"""The test bench notices what it is there for: a page with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import (
    NARROW,
    Open,
    Unsound,
    assert_sound,
    barriers,
    dead_links,
    repeated_ids,
    too_wide,
    visiting,
)

PAGE: Final = """<!doctype html><html lang="en"><head><title>Some</title></head>
<body><main><h1 id="top">Some</h1><p><a href="#top">Top</a></p>{}</main></body></html>"""


def page_with(folder: Path, fault: str = "") -> Path:
    file = folder / "page.html"
    file.write_text(PAGE.format(fault), encoding="utf-8")
    return file


def test_a_sound_page_passes(visit: Open, tmp_path: Path) -> None:
    assert_sound(visit(page_with(tmp_path), NARROW, "light"))


@pytest.mark.parametrize(
    ("look", "fault", "told"),
    [
        (dead_links, '<a href="#nowhere">Out</a>', "#nowhere"),
        (repeated_ids, '<p id="top">Again</p>', "top"),
        (too_wide, '<p class="it" style="width: 2000px">Wide</p>', "it"),
        (barriers, '<p style="color: #ccc; background: #fff">Pale</p>', "color-contrast"),
        (barriers, "<h4>Too deep</h4>", "heading-order"),
        (barriers, '<svg role="img"><rect width="9" height="9"></rect></svg>', "svg-img-alt"),
    ],
)
def test_a_fault_is_found(
    visit: Open, tmp_path: Path, look: Callable[[Page], list[str]], fault: str, told: str
) -> None:
    page = visit(page_with(tmp_path, fault), NARROW, "light")
    assert any(told in each for each in look(page)), look(page)
    with pytest.raises(AssertionError):
        assert_sound(page)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("<script>console.error('oh')</script>", "console: oh"),
        ("<script>nobody()</script>", "script failed: nobody is not defined"),
        ('<img alt="" src="http://127.0.0.1:9/picture.png">', "asked for http://127.0.0.1:9/picture.png"),
        ('<link rel="stylesheet" href="style.css">', "asked for file:"),
    ],
)
def test_what_a_page_says_and_asks_for_is_heard(browser: Browser, tmp_path: Path, fault: str, told: str) -> None:
    with pytest.raises(Unsound) as raised, visiting(browser) as visit:
        visit(page_with(tmp_path, fault), NARROW, "light")
    assert told in str(raised.value)
