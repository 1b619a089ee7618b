"""`hip3 demo` and `hip3 venue` as real processes."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from adapters.cli import app, demo
from adapters.exit_codes import ExitCode
from tests.adapters.live import see_that_it_agrees
from tests.cli.process import Hip3

SETTLING = (
    "takes an order, then hangs up",
    "to be settled: whether it ran is not known",
    "settled: the action ran",
    "the venue's record",
    "hangs up before it takes the order",
    "settled: the action never ran and never can",
    "its fence won: it never ran and never can",
)
"""What a trader reads of scenes 6 and 7, in order."""


async def test_the_demo_shows_every_outcome_and_agrees_with_the_venue(tmp_path: Path) -> None:
    begun, journal = time.monotonic(), tmp_path / "demo.journal"
    async with Hip3("demo", "--seed", "3", "--journal", str(journal), environment={"COLUMNS": "100"}) as process:
        text = await process.rest()
        assert await process.exit_code() == ExitCode.OK
    assert time.monotonic() - begun < 45
    assert "seed 3" in text
    for outcome in ("resting", "filled", "canceled", "rejected", "not_executed", "unknown"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"│ {outcome} ")]
        assert (int(row.split("│")[2]) > 0) is (outcome != "unknown")
    checks = [line for line in text.splitlines() if "│ ok │" in line]
    assert len(checks) == 10
    assert "DISAGREES" not in text
    assert any("outcomes against the venue's truth" in line and "0 contradict it" in line for line in checks)
    story = [text.index(sentence) for sentence in SETTLING]
    assert story == sorted(story), "both ambiguous posts are settled before the reader's eyes"
    assert "\x1b" not in text, "plain where nobody watches"
    assert process.plain == []
    see_that_it_agrees(journal)


@pytest.fixture
def logging_kept() -> Iterator[None]:
    """Puts the logging back that a command configures."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("hip3").setLevel(logging.NOTSET)


@pytest.mark.usefixtures("logging_kept")
@pytest.mark.parametrize(("agrees", "code"), [(True, ExitCode.OK), (False, ExitCode.DISAGREES)])
def test_the_exit_code_says_whether_everything_agrees(
    monkeypatch: pytest.MonkeyPatch, agrees: bool, code: ExitCode
) -> None:
    async def show(console: Console, seed: int, journal: Path) -> bool:
        assert (seed, journal.parent.is_dir(), journal.exists()) == (5, True, False)
        return agrees

    monkeypatch.setattr(demo, "show", show)
    assert CliRunner().invoke(app, ["demo", "--seed", "5", "--verbose"]).exit_code == code


async def test_a_journal_that_can_not_be_kept(tmp_path: Path) -> None:
    async with Hip3("demo", "--journal", str(tmp_path)) as process:
        assert await process.exit_code() == ExitCode.JOURNAL
        assert "hip3 demo: " in process.plain[-1]


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with Hip3("venue", "--port", port) as process:
            assert await process.exit_code() == ExitCode.ADDRESS_IN_USE
            (line,) = process.plain
            assert f"port {port} on 127.0.0.1 is in use" in line
