"""The page of an overlay: every machine drawn with what recorded runs did, and the figures in tables."""

from __future__ import annotations

from markupsafe import Markup

from adapters import pages
from adapters.diagram import graphviz
from adapters.diagram.overlay import FOREIGN, Overlay, figures, foreign_moves
from adapters.said import named


def render(overlay: Overlay, source: str) -> str:
    """The page of an overlay; `source` names the file that it was read from.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    drawn = [graphviz.svg(machine.chart, overlay.marks(machine)) for machine in overlay.machines]
    return pages.render(
        "diagram/overlay.html.j2",
        overlay=overlay,
        source=source,
        runs=named("run", overlay.runs),
        # The drawings escape every text in them.
        machines=[(machine, Markup(drawing)) for machine, drawing in zip(overlay.machines, drawn, strict=True)],  # noqa: S704
        figures=figures,
        foreign=list(foreign_moves(overlay)),
        foreign_words=FOREIGN,
    )
