"""What the documents point to exists, and the tables that repeat what the code says agree with it."""

from __future__ import annotations

import re
from typing import Final, get_args

import msgspec
import pytest

from adapters.commands import Command
from adapters.exit_codes import ExitCode
from machines.intent import Admission, Outcome
from tests.docs import settings
from tests.docs.documents import DOCUMENTS, ROOT, text_of

OPERATORS: Final = "docs/operators.md"
DEVELOPERS: Final = "docs/strategy-developers.md"
_LINK: Final = re.compile(r"\]\(([^)#:]+?)(?:#[^)]*)?\)")
_ALARM: Final = re.compile(r"log\.(warning|error|critical)\(\s*\"(\w+)\"")


def table(document: str, heading: str, columns: int) -> list[tuple[str, ...]]:
    """The first cells of each row of the first table under a heading, without their backquotes."""
    section = re.split(r"^#+ ", text_of(document).split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [tuple(cell.strip(" `") for cell in row[:columns]) for row in rows[1:]]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    targets = _LINK.findall(text_of(document))
    missing = [target for target in targets if not ((ROOT / document).parent / target).exists()]
    assert missing == []


def test_the_exit_codes_are_those_of_the_code() -> None:
    assert table(OPERATORS, "Exit codes", 2) == [(str(code.value), code.name) for code in ExitCode]


def test_every_alarm_of_the_log_is_explained() -> None:
    shell = [*(ROOT / "adapters").glob("*.py"), ROOT / "adapters/cli/run.py"]
    logged = {match for path in shell for match in _ALARM.findall(path.read_text(encoding="utf-8"))}
    explained = table(OPERATORS, "Alarms", 2)
    assert {(level, event) for event, level in explained} == logged
    assert len(explained) == len(logged)


def test_the_settings_are_those_of_the_configuration() -> None:
    document = text_of(OPERATORS)
    assert settings.written(document) == document, "run: python -m tests.docs.settings"


def test_the_admissions_are_those_of_the_code() -> None:
    assert table(DEVELOPERS, "Admissions", 1) == [(admission.value,) for admission in Admission]


def test_the_outcomes_are_those_of_the_code() -> None:
    assert {name for (name,) in table(DEVELOPERS, "Outcomes", 1)} == {kind.__name__ for kind in get_args(Outcome)}


def test_the_commands_of_the_stream_are_those_of_the_code() -> None:
    shown = {op: set(re.findall(r"`(\w+)`", f"`{fields}`")) for op, fields in table(DEVELOPERS, "In any language", 2)}
    kinds = {str(kind.__struct_config__.tag): kind for kind in get_args(Command)}
    fields = {op: {field.name for field in msgspec.structs.fields(kind)} - {"ref"} for op, kind in kinds.items()}
    assert {op: names - {"none"} for op, names in shown.items()} == fields
