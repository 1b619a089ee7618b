"""What MkDocs does beyond its own to make the site of these documents.

The documents are written for a code host: the first page is the repository's README, links lead to sources, and
diagrams are Mermaid, which a code host draws and a browser alone does not. So here

* README.md and spec/README.md become pages of the site, and so does every source file that a document links to;
* each link is turned into the site's own, from where the document is to where its target went;
* each Mermaid diagram of docs/machines gives way to the drawing of the same machine, and the page of all machines is
  made: from the tables that are installed, as the committed pages are.

Nothing is fetched. What is not understood stops the build: `make docs` has --strict.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from adapters import pages
from adapters.diagram import graphviz
from adapters.diagram import page as machines_page
from adapters.diagram.chart import Atlas
from adapters.diagram.drawing import LEGEND
from adapters.diagram.marks import Kind
from adapters.diagram.reading import installed, read

ROOT: Final = Path(__file__).parents[2]
MOVED: Final = {"README.md": "index.md", "spec/README.md": "spec/README.md"}
"""Documents outside of docs/, and where they are on the site."""
ALL_MACHINES: Final = "machines/all.html"
DRAWING_STYLE: Final = "site/diagram.css"
_LINK: Final = re.compile(r"\]\(([^)#:\s]+)((?:#[^)\s]*)?)\)")
_MERMAID: Final = re.compile(r"^```mermaid\n.*?^```$(?:\n\nA transition says [^\n]*)?", re.MULTILINE | re.DOTALL)
"""A diagram, with the sentence after it that says how Mermaid draws."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for path, place in MOVED.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text(encoding="utf-8")))
    linked = {
        _target(_origin(file.src_uri), link)
        for file in files.documentation_pages()
        for link, _ in _LINK.findall(file.content_string)
    }
    for source in sorted(path for path in linked if path is not None and _place(path) == _source_page(path)):
        code = (ROOT / source).read_text(encoding="utf-8")
        text = f"# {source}\n\n````{'python' if source.endswith('.py') else ''}\n{code}````\n"
        files.append(File.generated(config, _source_page(source), content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    files.append(File.generated(config, DRAWING_STYLE, content=pages.source("diagram/diagram.css")))
    files.append(File.generated(config, ALL_MACHINES, content=machines_page.render(_atlas())))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn a document that a code host shows into one that the site shows."""
    name = page.file.src_uri
    if name == "machines/README.md":
        page.meta["hide"] = ["toc"]  # it has two headings, and a wide drawing
    if name.startswith("machines/"):
        markdown = _MERMAID.sub(lambda _: _drawing(name), markdown)
    if _MERMAID.search(markdown):
        raise PluginError(f"{name}: a Mermaid diagram that the site can't draw; only docs/machines has machines")
    return _LINK.sub(lambda link: f"]({_relinked(name, link[1])}{link[2]})", markdown)


def _drawing(name: str) -> str:
    """What stands in for the diagram of a page of docs/machines: its machine, or how they drive each other."""
    stem = posixpath.basename(name).removesuffix(".md")
    if stem == "README":
        return _scrolling(graphviz.composed_svg(_atlas()))
    for chart in _atlas().charts:
        if chart.name == stem:
            return f"{_scrolling(graphviz.svg(chart))}\n\n`event [guard]`; {LEGEND[Kind.PLAIN]}."
    raise PluginError(f"{name}: there is no machine {stem!r}; run: hip3 diagram")


def _scrolling(svg: str) -> str:
    """A drawing in a box that scrolls, by keyboard too."""
    return f'<div class="drawing" tabindex="0">{svg}</div>'


@cache
def _atlas() -> Atlas:
    return read(installed())


def _origin(place: str) -> str:
    """Where in the repository a page of the site comes from."""
    return next((path for path, moved in MOVED.items() if moved == place), f"docs/{place}")


def _target(origin: str, link: str) -> str | None:
    """The file of the repository that a document links to; None if there is none, which MkDocs will say."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def _place(path: str) -> str:
    """Where a file of the repository is on the site."""
    return MOVED.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else _source_page(path))


def _source_page(path: str) -> str:
    return f"source/{path}.md"


def _relinked(place: str, link: str) -> str:
    """A link of a document as it is on the site."""
    target = _target(_origin(place), link)
    return link if target is None else posixpath.relpath(_place(target), posixpath.dirname(place))
