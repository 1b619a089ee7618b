"""A git repository with machines in it, made by a test and changed by known edits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ENVIRONMENT: Final = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@localhost",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@localhost",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


class Repository:
    """A repository in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, feed: str | None = None) -> str:
        """Run git here; its output."""
        done = subprocess.run(  # noqa: S603 our own
            ["git", *arguments],  # noqa: S607 whichever the machine has
            cwd=self.folder,
            env=_ENVIRONMENT,
            input=feed,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write files by path; None removes one."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")

    def commit(self, files: Mapping[str, str | None], *, tag: str = "") -> str:
        """Commit files; the commit's hash."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "edit")
        if tag:
            self.git("tag", tag)
        return self.git("rev-parse", "HEAD")


def edited(text: str, *edits: tuple[str, str]) -> str:
    """A text with each of the edits made; each must change something, once."""
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


GATE: Final = '''"""A gate.

It lets a cart pass, or not.
"""

from enum import Enum

from machines.table import Row, StateMachine


class GateState(Enum):
    """Where it is."""

    CLOSED = "closed"
    """Nobody passes."""
    OPENING = "opening"
    """The motor runs."""
    OPEN = "open"
    """Carts pass."""
    STUCK = "stuck"
    """Ended: somebody has to come."""


class GateEvent(Enum):
    """What happens to it."""

    PRESS = "press"
    ARRIVE = "arrive"
    JAM = "jam"


def _paid(gate):
    """Whether the cart may pass."""
    return gate.coins >= price(gate)


def _count(gate):
    gate.passed += 1


def price(gate):
    return 2


_S, _E = GateState, GateEvent
GATE = StateMachine(
    "gate",
    GateState,
    GateEvent,
    initial=_S.CLOSED,
    final=frozenset({_S.STUCK}),
    table=(
        Row(_E.PRESS, _S.CLOSED, _S.OPENING, guard=_paid, why="the motor starts"),
        Row(_E.ARRIVE, _S.OPENING, _S.OPEN, effect=_count, why="a cart may pass"),
        Row(_E.PRESS, _S.OPEN, _S.CLOSED, why="at once"),
        Row(_E.JAM, _S.OPENING, _S.STUCK, why="the motor stalls"),
    ),
)
'''
LAMP: Final = '''"""A lamp."""


class LampState(Enum):
    OFF = "off"
    """Dark."""
    ON = "on"
    """Bright."""


class LampEvent(Enum):
    PRESS = "press"


_S, _E = LampState, LampEvent
LAMP = StateMachine(
    "lamp",
    LampState,
    LampEvent,
    initial=_S.OFF,
    final=frozenset(),
    table=(Row(_E.PRESS, _S.OFF, _S.ON), Row(_E.PRESS, _S.ON, _S.OFF)),
)
'''
COMPOSITION: Final = '''"""How they drive each other."""

DRIVES = (
    Drive("Pressed", "gate.press"),
    Drive("gate.press", "lamp.press", "it is dark"),
)
'''
FILES: Final = {"machines/gate.py": GATE, "machines/lamp.py": LAMP, "spec/composition.py": COMPOSITION}
