"""Every command that a document names exists, with the options that it is given there; so do sites and modules."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

from adapters.cli import app
from tests.docs.documents import DOCUMENTS, ROOT, blocks, commands

LANGUAGES = {"", "sh", "python", "mermaid"}
"""What a fence may hold; in a block without a language, lines that begin like commands are taken for commands."""
_TARGET = re.compile(r"^(\w+):", re.MULTILINE)


def missing(command: list[str]) -> str | None:
    """What is wrong with a command as it is written; None if nothing is."""
    program, *words = command
    match program, words:
        case "make", targets:
            known = _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
            return None if set(targets) <= set(known) else f"make has {known}"
        case "hip3", words:
            # Options are read before --help is obeyed, and nothing is run.
            result = CliRunner().invoke(app, words if "--help" in words else [*words, "--help"])
            return None if result.exit_code == 0 else result.output
        case "python", ["-m", module, *words]:
            if find_spec(module) is None:
                return f"there is no module {module}"
            options = [word for word in words if word.startswith("--")]
            return _unknown(module, options) if options else None
    return None  # a program that the document shows, and that is run with its block


def _unknown(module: str, options: list[str]) -> str | None:
    told = subprocess.run(  # noqa: S603
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    return next((f"{module} has no {option}: {told}" for option in options if option not in told), None)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_the_text_exist(document: str) -> None:
    distinct = {tuple(command): None for command in commands(document)}
    wrong = {" ".join(command): why for command in distinct if (why := missing(list(command))) is not None}
    assert wrong == {}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks_are_in_a_language_that_is_checked(document: str) -> None:
    assert {block.language for block in blocks(document)} <= LANGUAGES


@pytest.mark.parametrize(
    "command",
    [
        "hip3 nothing",
        "hip3 run --no-such-option",
        "hip3 journal show FILE --run",
        "hip3 journal nothing",
        "make nothing",
        "python -m tests.nothing",
        "python -m tests.e2e.kill --no-such-option",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    assert missing(command.split()) is not None
