"""The frame of the pages: what is shown is escaped, what is missing is an error, and nothing can be loaded."""

from __future__ import annotations

import re

import pytest
from jinja2 import UndefinedError

from adapters import pages
from adapters.verification.report import as_html

EVIL = '<img src="http://127.0.0.1/x" onerror="alert(1)">'


def test_prose_keeps_its_form_and_nothing_else() -> None:
    assert pages.prose("One `two`\n**three**.\n\n* four\n* five") == (
        "<p>One <code>two</code>\n<strong>three</strong>.</p>\n<ul>\n<li>four</li>\n<li>five</li>\n</ul>\n"
    )
    shown = pages.prose(f"{EVIL}\n\n![x](http://127.0.0.1/) [x](javascript:alert) <http://127.0.0.1/>\n\n# Heading")
    assert re.findall(r"<(\w+)", shown) == ["p", "p", "p"]


def test_names_break_between_their_words_only() -> None:
    assert pages.breakable("time_out.<b>_") == "time_<wbr>out.&lt;b&gt;_"


def test_a_missing_fact_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        pages.render("verification/report.html.j2")


def test_a_page_without_a_script_may_run_none() -> None:
    page = as_html([], "0" * 64)
    assert 'content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src data:"' in page
    assert "<script" not in page
