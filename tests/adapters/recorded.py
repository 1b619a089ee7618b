"""Recorded runs for the tests that read them: plots played on the core, written as `hip3 journal export` does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from adapters.diagram.scenarios import PLOTS
from adapters.diagram.stage import Stage
from adapters.journal import Step


def played(title: str) -> Stage:
    """The stage after the one plot whose title has these words."""
    (plot,) = (plot for plot in PLOTS if title in plot.title)
    stage = Stage(plot.settings)
    plot.play(stage)
    return stage


def record(path: Path, *runs: Iterable[Step]) -> Path:
    """Write runs, numbered from 1."""
    lines = [
        msgspec.json.encode({"run": run} | msgspec.to_builtins(step))
        for run, steps in enumerate(runs, start=1)
        for step in steps
    ]
    path.write_bytes(b"\n".join([*lines, b""]))
    return path
