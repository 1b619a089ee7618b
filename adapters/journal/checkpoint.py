"""Copying SQLite's log into the database, beside the thread that trades.

Each transaction is appended to the log of the database; a checkpoint copies the log into it and waits for the disk, 15
to 40 ms. So it has a thread and a connection of its own: SQLite lets one connection write meanwhile, and Python lets
others run. What was written meanwhile is a small rest. Once that is copied too, SQLite begins the log anew; where it is
written to without a pause the rest is copied by the writer, each time that the log has become long.
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

FEW_STEPS: Final = 100
"""Steps after which the log is copied when nothing else is to do: 1.5 MB of it if each had a transaction of its own."""
MANY_STEPS: Final = 5_000
"""Steps after which the log is copied, however much else there is to do: 10 MB of it in transactions of 50 steps."""
LONG_LOG: Final = 8_000
"""Pages (32 MB) from which on the log is to be begun anew."""
_COPY: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """Copies the log of one journal."""

    def __init__(self, path: Path, db: sqlite3.Connection, patience_s: float) -> None:
        """Copy what `db`, a connection of the calling thread, writes to the journal at `path`.

        Raises:
            sqlite3.Error: It can't be opened once more.
        """
        self._db = db
        self._beside = sqlite3.connect(path, timeout=patience_s, isolation_level=None, check_same_thread=False)
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._steps = 0  # written since a copy last began
        self._copy: Future[int] | None = None  # under way, or its end was not seen yet
        try:
            self._beside.execute("SELECT 1 FROM runs").fetchone()  # a file is opened by what is first asked of it
        except BaseException:
            self.close()
            raise

    def wrote(self, steps: int) -> None:
        """So many steps more are in the log.

        Raises:
            sqlite3.Error: The last copy failed, or copying the rest did.
        """
        self._steps += steps
        self.copy(MANY_STEPS)

    def copy(self, least: int) -> None:
        """Begin to copy, if at least so many steps were written and no copy is under way.

        Raises:
            sqlite3.Error: The last copy failed, or copying the rest did.
        """
        if self._copy is not None and self._copy.done():
            ended, self._copy = self._copy, None
            if ended.result() > LONG_LOG:
                self._db.execute(_COPY).fetchone()
        if self._copy is None and self._steps >= least:
            self._steps = 0
            self._copy = self._thread.submit(self._copied)

    def close(self) -> None:
        """Let a copy that is under way end, and begin no other."""
        self._thread.shutdown()
        self._beside.close()

    def _copied(self) -> int:
        """Copy; how many pages the log has."""
        _, pages, _ = self._beside.execute(_COPY).fetchone()
        return int(pages)
