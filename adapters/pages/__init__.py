"""The HTML pages that the commands write: one frame and one style for all of them.

A page is one file that needs nothing else: no network, no fonts, no pictures from elsewhere. It follows the reader's
light or dark setting, and is readable on a telephone. Texts may come from an untrusted revision, so every one is
escaped, and the page's own policy forbids the browser to load anything or to run a script other than the page's.

Templates stand beside the code that uses them and are named from adapters/: `diagram/page.html.j2`. A page extends
`pages/base.html.j2`; `pages/parts.html.j2` holds the parts that pages share.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

_PROSE: Final = MarkdownIt("commonmark", {"html": False}).disable(
    ["autolink", "heading", "html_block", "html_inline", "image", "lheading", "link", "reference"]
)


def prose(text: str) -> Markup:
    """A docstring as HTML: paragraphs, lists, code and emphasis; neither links nor pictures nor HTML of its own."""
    return Markup(_PROSE.render(text))  # noqa: S704 - the renderer escapes what it does not know


def breakable(text: str) -> Markup:
    """Names that may break between their words where the line is short, as on a telephone."""
    return Markup(re.sub(r"(?<=[_.])(?=\w)", "<wbr>", str(escape(text))))  # noqa: S704 - escaped in the same line


_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("adapters", ""),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"prose": prose, "breakable": breakable}


def source(name: str) -> str:
    """The text of a file beside the templates, named from adapters/: `diagram/diagram.css`."""
    return files("adapters").joinpath(name).read_text(encoding="utf-8")


def render(template: str, *, script: str = "", **facts: Any) -> str:
    """A page.

    Args:
        template: Its name, from adapters/: `verification/report.html.j2`.
        script: The file of its script, from adapters/; empty for a page without one.
        facts: What the template shows. All texts among them are escaped.

    Raises:
        jinja2.UndefinedError: The template shows a fact that was not given.
    """
    code = source(script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    if code:
        policy += f"; script-src 'sha256-{digest}'"
    # The file is ours, and must stand in the page as it is: the policy names its hash.
    return _ENVIRONMENT.get_template(template).render(
        facts,
        policy=policy,
        script=Markup(code),  # noqa: S704
    )
