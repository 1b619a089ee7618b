"""How much of a last record was torn.

After a crash SQLite goes through the write-ahead log, takes every whole transaction, and drops what follows the last
one without a word. To be able to say so, the frames that are in the file are counted before it is opened; the ones
that SQLite then does not know were dropped. Format: the SQLite documentation, "WAL-Mode File Format".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_SALT: Final = slice(16, 24)
"""In the header; a frame repeats it at 8, or is left over from before the log was last begun anew."""


def frames(journal: Path) -> int:
    """Frames in the log of `journal` that belong to its present round, the last of them perhaps cut short."""
    try:
        with Path(f"{journal}-wal").open("rb") as file:
            return _count(file)
    except FileNotFoundError:
        return 0


def _count(file: BinaryIO) -> int:
    header = file.read(_HEADER)
    if len(header) < _HEADER:
        return min(1, len(header))
    size = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
    count = 0
    while head := os.pread(file.fileno(), _FRAME_HEADER, _HEADER + count * size):
        if len(head) >= 16 and head[8:16] != header[_SALT]:
            break
        count += 1
    return count
