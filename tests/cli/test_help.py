"""The command line explains itself, and says what it does not know."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from adapters.cli import app
from adapters.exit_codes import ExitCode
from tests.cli.process import Hip3

PHRASES = {
    (): ["demo", "run", "venue", "diagram", "ends in exactly one outcome"],
    ("run",): [
        "--config",
        "SIGTERM",
        "one JSON object a line",
        "control_socket",
        "Exit codes",
        "• 5: key not accepted",
    ],
    ("demo",): ["--seed", "every way in which an order can end", "throwaway key", "0 everything agrees"],
    ("diagram",): ["--check", "--out", "Mermaid", "docs/machines"],
    ("venue",): ["--port", "--account", "--faults", "/local/truth"],
}


def output_of(*arguments: str) -> tuple[int, str]:
    """Exit code and output, in one line."""
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "TERM": "dumb"})
    return result.exit_code, re.sub(r"[\s│]+", " ", result.output)


@pytest.mark.parametrize("command", PHRASES, ids=lambda command: " ".join(command) or "hip3")
def test_help(command: tuple[str, ...]) -> None:
    code, text = output_of(*command, "--help")
    assert code == ExitCode.OK
    for phrase in PHRASES[command]:
        assert phrase in text


def test_every_exit_code_of_a_run_is_in_its_help() -> None:
    _, text = output_of("run", "--help")
    codes = [code for code in ExitCode if code is not ExitCode.DISAGREES]
    assert [f"• {code.value}: " in text for code in codes] == [True] * len(codes)


@pytest.mark.parametrize(
    "arguments", [("--colour",), ("sell",), *((*command, "--nope") for command in PHRASES if command)]
)
def test_what_is_not_known_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    code, text = output_of(*arguments)
    assert code == ExitCode.USAGE
    assert "No such" in text


def test_without_a_command_the_help_is_shown() -> None:
    assert "Usage: hip3 [OPTIONS] COMMAND" in output_of()[1]


async def test_as_a_process() -> None:
    async with Hip3("--help") as process:
        assert "An order executor for Hyperliquid" in await process.rest()
        assert await process.exit_code() == ExitCode.OK
