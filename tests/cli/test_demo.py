"""`hip3 demo` and `hip3 venue` as real processes."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator

import pytest
from rich.console import Console
from typer.testing import CliRunner

from adapters.cli import app, demo
from adapters.exit_codes import ExitCode
from tests.cli.process import Hip3


async def test_the_demo_shows_every_outcome_and_agrees_with_the_venue() -> None:
    begun = time.monotonic()
    async with Hip3("demo", "--seed", "3", environment={"COLUMNS": "100"}) as process:
        text = await process.rest()
        assert await process.exit_code() == ExitCode.OK
    assert time.monotonic() - begun < 45
    assert "seed 3" in text
    for outcome in ("resting", "filled", "canceled", "rejected", "not_executed", "unknown"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"│ {outcome} ")]
        assert int(row.split("│")[2]) > 0
    checks = [line for line in text.splitlines() if "│ ok │" in line]
    assert len(checks) == 9
    assert "DISAGREES" not in text
    assert any("outcomes against the venue's truth" in line and "0 contradict it" in line for line in checks)
    assert "not called rejected, not sent again" in text
    assert "\x1b" not in text, "plain where nobody watches"
    assert process.plain == []


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
    async def show(console: Console, seed: int) -> bool:
        assert seed == 5
        return agrees

    monkeypatch.setattr(demo, "show", show)
    assert CliRunner().invoke(app, ["demo", "--seed", "5", "--verbose"]).exit_code == code


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with Hip3("venue", "--port", port) as process:
            assert await process.exit_code() == ExitCode.ADDRESS_IN_USE
            (line,) = process.plain
            assert f"port {port} on 127.0.0.1 is in use" in line
