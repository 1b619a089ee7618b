"""Where and with what a benchmark ran: figures without these are worth nothing."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from msgspec import Struct

_PACKAGES: Final = (
    "coincurve",
    "eth-account",
    "hyperliquid-python-sdk",
    "msgspec",
    "picows",
    "transitions",
    "uvloop",
    "websockets",
)
_GIT_S: Final = 10.0


class Facts(Struct, frozen=True, kw_only=True):
    """The circumstances of a benchmark.

    Attributes:
        made_at: When it began, UTC.
        commit: The commit of the sources; None outside of a repository.
        changed: Whether the sources differ from that commit.
        cpu: The processor's name.
        cores: How many cores this process may use.
        kernel: The operating system.
        load: Processes that wanted to run when it began, on average over a minute: all of them others'.
        journal_on: The kind of file system that held the journals; on `tmpfs` they cost nothing.
        python: The interpreter.
        packages: Versions of what does the work.
    """

    made_at: str
    commit: str | None
    changed: bool
    cpu: str
    cores: int
    kernel: str
    load: float
    journal_on: str
    python: str
    packages: dict[str, str]

    def in_words(self) -> str:
        """A line for people."""
        sources = "no repository" if self.commit is None else f"commit {self.commit[:12]}"
        return (
            f"{self.cpu}, {self.cores} cores, load {self.load:.1f} before; {self.kernel}; {self.python}; journal on "
            f"{self.journal_on}; {sources}{' and changes' if self.changed else ''}"
        )


def gathered() -> Facts:
    """The circumstances now."""
    commit = _git("rev-parse", "HEAD")
    return Facts(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        changed=bool(_git("status", "--porcelain", "--", "adapters", "machines", "spec")),
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        load=os.getloadavg()[0],
        journal_on=file_system_of(Path(tempfile.gettempdir()), Path("/proc/mounts").read_text().splitlines()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=dict(_versions()),
    )


def file_system_of(folder: Path, mounts: Iterable[str]) -> str:
    """The kind of file system that a folder is on, from the lines of /proc/mounts; a later mount covers an earlier."""
    found, kind = Path("/"), "unknown"
    for mount in mounts:
        _, place, told, *_ = mount.split()
        if folder.resolve().is_relative_to(place) and Path(place).is_relative_to(found):
            found, kind = Path(place), told
    return kind


def _versions() -> Iterable[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"


def _cpu_name() -> str:
    told = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return told[1] if told else platform.machine()


def _git(*arguments: str) -> str | None:
    """What git says of these sources; None if there is no git, or no repository."""
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parents[2]), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
