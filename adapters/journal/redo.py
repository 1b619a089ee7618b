"""The redo log: what was appended since the last transaction of the database, one line for each append.

A line is the checksum of its text in hexadecimal, a space, and the text: JSON with the run, when that began, the number
of the first step, the checksum of the steps before it (adapters/journal/schema.py), the steps, and the rows. A line is
whole, or it is nothing: one without its end, or with another checksum, was cut short by a crash.

The log is emptied once the database has all of it. A crash between the two leaves lines that the database has already;
their numbers show it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from msgspec import Raw, Struct, json

_CHECKSUM: Final = b"%08x "
_WIDTH: Final = len(_CHECKSUM % 0)


class Record(Struct, frozen=True):
    """What one append recorded.

    Attributes:
        run: The run.
        began_unix_ms: When it began; with `run` this tells journals apart.
        seq: The number of the first step.
        crc: The checksum of the steps before it.
        steps: The texts of the steps.
        intents: The texts of the intents that they changed.
        posts: The texts of the posts that they changed.
    """

    run: int
    began_unix_ms: int
    seq: int
    crc: int
    steps: tuple[Raw, ...]
    intents: tuple[Raw, ...]
    posts: tuple[Raw, ...]


class Found(NamedTuple):
    """What a redo log holds.

    Attributes:
        records: Those that are whole.
        torn: Lines that are not.
    """

    records: tuple[Record, ...]
    torn: int


_decode: Final = json.Decoder(Record).decode


def path_of(journal: Path) -> Path:
    """Where the redo log of `journal` is."""
    return journal.with_name(f"{journal.name}-redo")


def read(journal: Path) -> bytes:
    """The text of the redo log of `journal`; empty if there is none.

    Raises:
        OSError: It can't be read.
    """
    try:
        return path_of(journal).read_bytes()
    except FileNotFoundError:
        return b""


def parsed(text: bytes) -> Found:
    """What a redo log with this text holds.

    Raises:
        msgspec.DecodeError: A line is whole and no record.
    """
    *lines, rest = text.split(b"\n")
    whole = [line for line in lines if line[:_WIDTH] == _CHECKSUM % crc32(line[_WIDTH:])]
    return Found(tuple(_decode(line[_WIDTH:]) for line in whole), len(lines) - len(whole) + bool(rest))


class RedoLog:
    """The redo log of a journal that is in use.

    Attributes:
        path: Where it is.
    """

    def __init__(self, journal: Path, *, durable: bool) -> None:
        """Open or create it.

        Args:
            journal: The journal that it belongs to; its lock is held.
            durable: Whether an append has to survive the end of the system.

        Raises:
            OSError: It can't be opened or written.
        """
        self.path = path_of(journal)
        self._durable = durable
        self._head = b""
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._length = os.fstat(self._file).st_size
            if durable:
                _sync_folder(self.path.parent)
        except BaseException:
            self.close()
            raise

    def begin_run(self, run: int, began_unix_ms: int) -> None:
        """Empty it for a run, whose steps are appended from now on.

        Raises:
            OSError: It can't be written.
        """
        self._head = b'{"run":%d,"began_unix_ms":%d,"seq":' % (run, began_unix_ms)
        self.clear()

    def append(
        self, seq: int, crc: int, steps: Iterable[bytes], intents: Iterable[bytes], posts: Iterable[bytes]
    ) -> None:
        """Add a line: steps from number `seq` on, after ones with the checksum `crc`, and the rows that they changed.

        Raises:
            OSError: It is not added whole. What there is of it is taken away again, if the system lets us.
        """
        text = b'%b%d,"crc":%d,"steps":[%b],"intents":[%b],"posts":[%b]}' % (
            self._head,
            seq,
            crc,
            b",".join(steps),
            b",".join(intents),
            b",".join(posts),
        )
        rest = line = b"%08x %b\n" % (crc32(text), text)
        try:
            while rest:  # a second time only if there was room for a part; then the error tells why
                rest = rest[os.write(self._file, rest) :]
            if self._durable:
                os.fdatasync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._length)
            raise
        self._length += len(line)

    def clear(self) -> None:
        """Empty it: the database has all of it.

        Raises:
            OSError: It can't be written.
        """
        if self._length:
            os.ftruncate(self._file, 0)
            self._length = 0

    def close(self) -> None:
        """Write no more."""
        os.close(self._file)


def _sync_folder(folder: Path) -> None:
    """See that the name of a new file survives the end of the system, too."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
