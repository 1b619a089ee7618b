"""The page of a review in a browser: with all that it can show, with nothing, and with what a hostile revision says."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.review.evidence import Run, Trace, read_coverage, read_verification
from adapters.review.page import render
from tests.adapters.diagram.repository import GATE, edited
from tests.browser.conftest import NARROW, WIDE, Open, Scheme, assert_sound
from tests.review.material import atlas, coverage, repository, review, verification, written

NASTY = "x</title><script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages by name."""
    folder = tmp_path_factory.mktemp("review")
    made = repository(folder / "repository")
    made.commit(
        {
            "machines/gate.py": edited(GATE, ('"gate",', f'"{NASTY}",'), ('"open"', f'"open {NASTY} {"long " * 40}"')),
            "spec/invariants.py": f'INVARIANTS = (Invariant("{NASTY}", "{NASTY}", (), "{NASTY}"),)',
        },
        tag="nasty",
    )
    document = verification("passed", "failed", "not_run", "passed", "passed", "failed")
    parted = "step 17: moves: recorded ['" + "x" * 300 + "'], replayed []"
    full = review(
        made,
        verification=read_verification(written(folder / "v", document)),
        coverage=read_coverage(written(folder / "c", coverage(atlas(made), [("gate", "jam"), ("bell", "press")]))),
        traces=(Trace("monday.journal", (Run(1, 812, None), Run(2, 17, parted))),),
    )
    reviews = {"full": full, "unchanged": review(made, "base..base"), "nasty": review(made, "base..nasty")}
    for name, made_review in reviews.items():
        (folder / f"{name}.html").write_text(render(made_review), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in reviews}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", ["full", "unchanged", "nasty"])
def test_the_page_is_sound(visit: Open, pages: dict[str, Path], name: str, width: int, scheme: Scheme) -> None:
    page = visit(pages[name], width, scheme)
    for closed in page.locator("details:not([open]) > summary").all():
        closed.click()
    assert_sound(page)
    assert page.title().startswith("Review of the machines: base")


def test_each_subject_is_reached_from_the_top(visit: Open, pages: dict[str, Path]) -> None:
    page = visit(pages["full"], WIDE, "light")
    links = page.locator("table.short a")
    assert links.count() == 6
    for number in range(links.count()):
        page.evaluate("window.scrollTo(0, 0)")
        links.nth(number).click()
        heading = page.locator(str(links.nth(number).get_attribute("href")))
        assert heading.inner_text() == links.nth(number).inner_text()
        assert heading.evaluate("each => each.getBoundingClientRect().top < window.innerHeight")


def test_drawings_are_told_to_who_can_not_see_them(visit: Open, pages: dict[str, Path]) -> None:
    page = visit(pages["full"], WIDE, "light")
    drawings = page.locator(".scrolls[role=region]").filter(has=page.locator("svg[role=img]"))
    assert drawings.count() == 3
    for drawing in drawings.all():
        assert drawing.locator("svg > title").count() == 1
        assert drawing.get_attribute("tabindex") == "0"
