"""The site is built without a warning; what is broken stops it. What it looks like is seen in tests/browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import ROOT
from tests.docs.site import build
from tests.docs.test_blocks import reviewed_repository


def test_the_site_is_built(tmp_path: Path) -> None:
    assert build(ROOT, tmp_path) == ""
    front = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "every intent that it accepts ends in exactly one" in front
    assert 'href="source/machines/verdict.py.html"' in (tmp_path / "why.html").read_text(encoding="utf-8")
    assert 'class="diagram"' in (tmp_path / "machines/post.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("[Gone](gone.md) and [lost](why.md#lost)", ["gone.md", "#lost"]),
        ("```mermaid\nstateDiagram-v2\n```", ["a Mermaid diagram that the site can't draw"]),
    ],
)
def test_what_is_broken_stops_the_build(tmp_path: Path, broken: str, told: list[str]) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    reviewed_repository(repository)
    with (repository / "docs/glossary.md").open("a", encoding="utf-8") as document:
        document.write(f"\n{broken}\n")
    said = build(repository, tmp_path / "site")
    assert [text for text in told if text not in said] == [], said
