"""What the demo shows: the story line by line, on a terminal with live gauges below it; and the tables at the end."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from adapters.executor import Executor
from adapters.outcomes import OUTCOME_NAMES
from machines.intent import Priority
from machines.post import POST, PostState

_READING_S: Final = 1.5
_STYLES: Final = {"scene": "bold cyan", "note": ""}


class View:
    """Shows an executor at work."""

    def __init__(self, console: Console) -> None:
        """Show on `console`."""
        self.console = console
        self._executor: Executor | None = None
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=10, transient=True)
        self._animated = console.is_terminal

    def __enter__(self) -> Self:
        if self._animated:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def watch(self, executor: Executor) -> None:
        """Show this executor's gauges from now on."""
        self._executor = executor

    def say(self, text: str, style: str = "note") -> None:
        """Tell what happens, in a line."""
        self.console.print(Text(text, style=_STYLES[style]), soft_wrap=not self._animated)

    async def pause(self) -> None:
        """Let a person who watches read what was just told."""
        if self._animated:
            await asyncio.sleep(_READING_S)

    def _render(self) -> RenderableType:
        if self._executor is None:
            return Text("starting the venue …")
        return Columns([_gauges(self._executor), _endings(self._executor)])


def _gauges(executor: Executor) -> RenderableType:
    core = executor.core
    table = Table.grid(padding=(0, 1))
    table.add_row("inflight", _bar(core.inflight.count, core.inflight.limit), core.inflight.state.value)
    for priority in Priority:
        limit = core.scheduler.limits.of(priority)
        table.add_row(priority.value.replace("_", "-"), _bar(core.scheduler.queued(priority), limit), "queued")
    table.add_row("session", core.session.state.value, f"epoch {core.session.epoch}")
    table.add_row("hard stop", core.hard_stop.state.value, "")
    return Panel(table, title="now", border_style="blue")


def _bar(count: int, limit: int) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=limit, completed=count, width=20), f"{count}/{limit}")
    return grid


def _endings(executor: Executor) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for kind, name in OUTCOME_NAMES.items():
        table.add_row(f"intents {name}", str(executor.outcomes[kind]))
    table.add_row("invariant checks", f"{executor.driver.monitor.checks:,}")
    table.add_row("violated", str(executor.driver.monitor.violated))
    return Panel(table, title="so far", border_style="blue")


def summary(executor: Executor, checks: list[tuple[str, str, bool]]) -> RenderableType:
    """The tables at the end.

    Args:
        executor: The executor that ran.
        checks: What was compared, what was found, and whether it agrees.
    """
    intents = Table("intents by outcome", "", title_justify="left")
    for kind, name in OUTCOME_NAMES.items():
        intents.add_row(name, str(executor.outcomes[kind]))
    intents.add_row("accepted in all", str(executor.core.intents.accepted), style="bold")
    intents.add_row("refused at admission", str(executor.refusals.total()))
    posts = Table("posts by ending", "")
    for state in PostState:
        if state in POST.final:
            posts.add_row(state.value, str(executor.endings[state]))
    posts.add_row("late or repeated replies ignored", str(executor.strays))
    compared = Table("check", "found", "")
    for what, found, agrees in checks:
        compared.add_row(what, found, Text("ok", style="green") if agrees else Text("DISAGREES", style="bold red"))
    return Group(Columns([intents, posts]), compared)
