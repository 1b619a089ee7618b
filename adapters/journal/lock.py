"""One executor per journal: a lock that dies with its holder.

The lock is the system's (`flock`) on a file beside the journal, because the system frees it however the process ends,
`kill -9` included. It is not on the journal itself: SQLite has locks of its own there. The file says who holds it, for
the message to the one who is refused; what it says is worth nothing without the lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from adapters.journal.errors import JournalInUse

_PATIENCE: Final = 20
_PAUSE_S: Final = 0.005
"""How often, and after what pause, the holder's name is looked for: it stands there microseconds after the lock."""


_ROOM: Final = 512
"""Bytes that the file takes from the start, so that a full disk does not keep a note out of it."""


class _Holder(msgspec.Struct):
    pid: int
    signer: str
    unrecorded: bool = False


class JournalLock:
    """The lock of one journal, held until released or until this process ends.

    Attributes:
        unrecorded: Whether a holder went on after its journal had failed, and what it left is not settled yet.
    """

    def __init__(self, journal: Path, signer: str) -> None:
        """Take it.

        Raises:
            JournalInUse: Somebody has it.
            OSError: The lock file can't be opened or written.
        """
        self._file = os.open(f"{journal}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.unrecorded = _noted(self._file)
            self._signer = signer
            self.note(self.unrecorded)
        except BlockingIOError:
            holder = _holder(self._file)
            self.release()
            raise _in_use(journal, holder) from None
        except BaseException:
            self.release()
            raise

    def note(self, unrecorded: bool) -> None:
        """Name the holder, and note for the next one whether steps are missing from the journal.

        Raises:
            OSError: The lock file can't be written.
        """
        text = msgspec.json.encode(_Holder(os.getpid(), self._signer, unrecorded))
        os.pwrite(self._file, text.ljust(_ROOM), 0)  # in one piece, and in place
        self.unrecorded = unrecorded

    def release(self) -> None:
        """Give it back."""
        os.close(self._file)


def _noted(file: int) -> bool:
    """Whether the last holder noted that steps are missing."""
    try:
        return msgspec.json.decode(os.pread(file, _ROOM, 0), type=_Holder).unrecorded
    except msgspec.DecodeError:
        return False  # a new file


def _holder(file: int) -> _Holder | None:
    """Who holds the lock; None if nobody alive says so."""
    for _ in range(_PATIENCE):
        with suppress(msgspec.DecodeError):
            holder = msgspec.json.decode(os.pread(file, 1_000, 0), type=_Holder)
            if _alive(holder.pid):
                return holder
        time.sleep(_PAUSE_S)  # it has the lock, and is about to write its name
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # and another user's
    return True


def _in_use(journal: Path, holder: _Holder | None) -> JournalInUse:
    who = "another process" if holder is None else f"process {holder.pid}, signer {holder.signer}"
    return JournalInUse(
        f"the journal {journal} is in use by {who}; stop that executor, or give this one a journal and a signer of "
        "its own",
        None if holder is None else holder.pid,
    )
