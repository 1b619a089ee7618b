"""One page with all machines, for who reviews them: self-contained, and searchable.

It shows what was read of the tables (adapters/diagram/reading.py), the code of guards and effects, what each event
serves, how the machines drive each other, and what happens in short stories that are run on the real core while the
page is made. Without its script it is complete, but for the search.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markupsafe import Markup

import machines
from adapters import pages
from adapters.diagram import graphviz, purpose
from adapters.diagram.chart import Atlas, Chart, Drive
from adapters.diagram.drawing import LEGEND
from adapters.diagram.marks import Kind
from adapters.diagram.purpose import Event
from adapters.diagram.scenarios import scenarios, seconds
from adapters.diagram.slots import endings
from machines import events as core_events
from machines.catalogue import MACHINES
from machines.post import QUARANTINE_MS, TIMEOUT_MS
from spec.invariants import INVARIANTS

_FINDINGS: Final = Path(machines.__file__).parents[1] / "docs" / "findings.md"
"""In the repository; an installed package has no documents, and then the ids stand alone."""
_CITED: Final = re.compile(r"\bfindings?\s+[A-Z]\d+(?:(?:,| and)\s+[A-Z]\d+)*")
_ID: Final = re.compile(r"[A-Z]\d+")
_FINDING: Final = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine on the page.

    Attributes:
        chart: What was read of it.
        events: Its events by name, in the order of its table.
        drawing: Its diagram, as SVG.
    """

    chart: Chart
    events: Mapping[str, Event]
    drawing: Markup


@dataclass(frozen=True, slots=True)
class Outside:
    """An event of the core.

    Attributes:
        name: Its class in machines/events.py.
        meaning: What that class says of it; empty if there is none.
        effects: What it brings about.
    """

    name: str
    meaning: str
    effects: tuple[Drive, ...]


def render(atlas: Atlas) -> str:
    """The page.

    Raises:
        GraphvizMissing: The extra `diagrams` is not installed.
    """
    findings = _findings()
    return pages.render(
        "diagram/machines.html.j2",
        script="diagram/search.js",
        machines=[_machine(atlas, chart) for chart in sorted(atlas.charts, key=_place)],
        composed=Markup(graphviz.composed_svg(atlas)),  # noqa: S704 - it escapes its texts
        outside=_outside(atlas),
        scenarios=scenarios(),
        endings=endings(),
        seconds=seconds,
        TIMEOUT_MS=TIMEOUT_MS,
        QUARANTINE_MS=QUARANTINE_MS,
        invariants=INVARIANTS,
        findings=findings,
        cited=lambda text: cited(text, findings),
        legend=LEGEND[Kind.PLAIN],
        purpose=purpose,
        origins=lambda event: purpose.origins(atlas, event),
    )


def cited(text: str, findings: Mapping[str, str]) -> Markup:
    """A docstring as HTML, in which `finding X3` leads to the finding, if it is one of `findings`."""

    def link(found: re.Match[str]) -> str:
        return f'<a href="#finding-{found[0]}">{found[0]}</a>' if found[0] in findings else found[0]

    linked = _CITED.sub(lambda found: _ID.sub(link, found[0]), pages.prose(text))
    return Markup(linked)  # noqa: S704 - escaped before, and an id is a letter and digits


def _place(chart: Chart) -> int:
    """Machines stand in the order in which an intent meets them."""
    return [machine.name for machine in MACHINES].index(chart.name)


def _machine(atlas: Atlas, chart: Chart) -> Machine:
    events = {event.name: event for event in purpose.events(atlas, chart)}
    return Machine(chart, events, Markup(graphviz.svg(chart)))  # noqa: S704 - it escapes its texts


def _outside(atlas: Atlas) -> list[Outside]:
    names = dict.fromkeys(drive.cause for drive in atlas.drives if "." not in drive.cause)
    return [
        Outside(
            name,
            (inspect.getdoc(vars(core_events).get(name, "")) or "").partition("\n\n")[0],
            tuple(drive for drive in atlas.drives if drive.cause == name),
        )
        for name in names
    ]


def _findings() -> dict[str, str]:
    """The findings by id, in words; empty if the document is not there."""
    try:
        return dict(_FINDING.findall(_FINDINGS.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
