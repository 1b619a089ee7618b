"""Processes that use a journal and are then killed, refused, or run out of room.

python -m tests.adapters.journal.children writer FILE     a run for each line of input, until killed
python -m tests.adapters.journal.children contender FILE  tries to get the journal once told to, and keeps it
python -m tests.adapters.journal.children filler FILE STEPS [BYTES]
                                                          appends until there is no room, settling after so many STEPS
python -m tests.adapters.journal.children settler FILE STEPS
                                                          is killed after its transaction, before the log is emptied
"""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from adapters.journal import JournalFull, JournalInUse, SqliteJournal, verify
from tests.adapters.journal.builders import Story, cloid_of, open_journal, tell

# ------------------------------------------------------------------------------------------------- seen from outside


class Child:
    """A process that is told and heard a line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> list[str]:
        assert self._process.stdout is not None
        words = self._process.stdout.readline().strip().split(maxsplit=1)
        assert words, "it ended without a word"
        return words

    def end(self) -> int:
        """Wait for its end; how it came."""
        return self._process.wait(10)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def child(*arguments: object, within: tuple[str, ...] = ()) -> Iterator[Child]:
    """A process of this module, run by the command `within` if there is one; it ends when its input does."""
    command = [*within, sys.executable, "-m", "tests.adapters.journal.children", *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        try:
            yield Child(process)
        finally:
            process.stdin.close()


# -------------------------------------------------------------------------------------------------- seen from inside


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def write_runs(path: Path) -> None:
    """For each line of input fork a process that appends, acknowledging each step, until it is killed."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            write_until_killed(path)
        os.waitpid(pid, 0)
        say("dead")


def write_until_killed(path: Path) -> None:
    say("pid", os.getpid())
    journal = open_journal(path)
    say("run", journal.run)
    story = Story.after(journal.recovered)
    for seq in itertools.count():
        say("ack", journal.append(*story.told(seq)))
        if seq % 7 == 6:
            journal.settle()
        if seq % 31 == 30:
            journal.maintain()


def contend(path: Path) -> None:
    say("up")
    sys.stdin.readline()
    try:
        journal = open_journal(path)
    except JournalInUse as error:
        say("refused", error.pid)
        return
    say("got")
    sys.stdin.readline()
    journal.close(clean=True)


def settle_and_die(path: Path, steps: int) -> None:
    """Append, settle, and be killed where the log would be emptied."""
    journal = open_journal(path)
    tell(journal, steps)
    os.ftruncate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    say("told")
    journal.settle()


def fill(path: Path, settled: int, limit: int | None) -> None:
    """Append until there is no room; then say what the journal does and holds."""
    with_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = open_journal(path)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, with_limit[1]))
    acknowledged, message = append_until_full(journal, settled)
    facts = {
        "acknowledged": acknowledged,
        "message": message,
        "refuses_more": not appends(journal, acknowledged),
        "outcome": journal.outcome_of(cloid_of(1)),
        "files": sorted(file.name for file in path.parent.iterdir()),
    }
    journal.close(clean=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, with_limit)
    say(msgspec.json.encode(facts | {"report": msgspec.to_builtins(verify(path))}).decode())


def append_until_full(journal: SqliteJournal, settled: int) -> tuple[int, str]:
    """How many steps were acknowledged, and why there were no more."""
    story, acknowledged = Story.after(journal.recovered), 0
    try:
        while True:
            journal.append(*story.told(acknowledged))
            acknowledged += 1
            if acknowledged % settled == 0:
                journal.settle()
    except JournalFull as error:
        return acknowledged, str(error)


def appends(journal: SqliteJournal, seq: int) -> bool:
    try:
        journal.append(*Story.after(journal.recovered).told(seq))
    except JournalFull:
        return False
    return True


if __name__ == "__main__":
    role, file, *rest = sys.argv[1:]
    match role:
        case "writer":
            write_runs(Path(file))
        case "contender":
            contend(Path(file))
        case "settler":
            settle_and_die(Path(file), int(rest[0]))
        case _:
            fill(Path(file), int(rest[0]), int(rest[1]) if rest[1:] else None)
