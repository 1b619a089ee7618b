"""Everything that can be wrong with a journal, by name, and what to do about it.

SQLite says what failed with a result code; `named` turns that into one of the errors below. One question SQLite leaves
open: a write that the system refused for the file's size or a quota is reported as a plain I/O error. So the system is
asked, by writing a byte to another file at such a length.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec


class JournalError(Exception):
    """Base of all of them. The file is consistent: what could not be written whole was not written."""


class JournalInUse(JournalError):
    """Another executor uses this journal.

    Attributes:
        pid: Its process; None if it did not say.
    """

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class JournalLocked(JournalError):
    """Another program holds a lock on the file, and did not let go in time."""


class JournalFull(JournalError):
    """There is no room: the disk, a quota or a limit on file sizes."""


class JournalUnwritable(JournalError):
    """The file can't be created, opened or written."""


class JournalCorrupt(JournalError):
    """What is in the file is no journal, or is damaged."""


class JournalTooNew(JournalError):
    """The file was written by a newer version of this program."""


class JournalMisused(JournalError):
    """The caller asked for what a journal must not do; the message says what."""


ADVICE_CORRUPT: Final = (
    "move it away with its -wal and -redo files, keep them for inspection (hip3 journal verify), and start with a new "
    "one only when the venue shows no order of this account that you do not know"
)
_ADVICE_FULL: Final = "make room, or shrink what is kept (retention), then start again"

_UNWRITABLE: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_GROWTH: Final = 1 << 20
"""More than any one write of SQLite, in bytes; the file that is tried has a hole there and takes no room."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_MISUSE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.EncodeError, sqlite3.ProgrammingError)
"""Raised for a value that JSON or SQLite does not have, a call from another thread, or one after closing."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what goes wrong with the journal at `path` leave this block under its name."""
    try:
        yield
    except (sqlite3.Error, OSError, msgspec.DecodeError) as error:
        raise named(error, path) from error


def named(error: Exception, path: Path) -> JournalError:
    """The error of this module for what went wrong with the journal at `path`."""
    if isinstance(error, JournalError):
        return error
    if isinstance(error, msgspec.DecodeError):
        return JournalCorrupt(f"the journal {path} has a record that can't be read ({error}); {ADVICE_CORRUPT}")
    if isinstance(error, OSError):
        return _of_system(error, path)
    if isinstance(error, _MISUSE):
        return JournalMisused(f"the journal {path} was asked for what it can't do: {type(error).__name__}: {error}")
    return _of_sqlite(error, path)


def _of_system(error: OSError, path: Path) -> JournalError:
    if error.errno in _NO_ROOM:
        return JournalFull(f"there is no room for the journal {path} ({error.strerror}); {_ADVICE_FULL}")
    return JournalUnwritable(
        f"the journal {path} can't be opened or written ({error.strerror}); "
        "see that its folder exists and is this user's to write"
    )


def _of_sqlite(error: Exception, path: Path) -> JournalError:
    # An extended code (IOERR_WRITE) has its primary code (IOERR) in the low byte.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _BUSY:
        return JournalLocked(
            f"another program holds a lock on the journal {path} ({error}); end it (an open sqlite3 shell?), "
            "then start again"
        )
    if code == sqlite3.SQLITE_FULL:
        return JournalFull(f"there is no room for the journal {path} ({error}); {_ADVICE_FULL}")
    if code == sqlite3.SQLITE_IOERR:
        return _of_system(_refusal_to_grow(path) or OSError(errno.EIO, str(error)), path)
    if code in _UNWRITABLE:
        return _of_system(OSError(errno.EACCES, str(error)), path)
    return JournalCorrupt(f"the journal {path} is damaged, or is no journal ({error}); {ADVICE_CORRUPT}")


def _refusal_to_grow(path: Path) -> OSError | None:
    """Why the system lets no file grow a little beyond the journal's longest; None if it does let them."""
    longest = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            longest = max(longest, os.stat(f"{path}{suffix}").st_size)
    probe = f"{path}-probe"
    try:
        file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(file, b"\0", longest + _GROWTH)
        finally:
            os.close(file)
            os.unlink(probe)
    except OSError as error:
        return error
    return None
