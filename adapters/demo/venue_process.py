"""The local venue as a process of its own, for the demo and the end-to-end tests."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import msgspec

from adapters.venue.truth import TruthRecord, decode_truth

_START_S: Final = 20.0
_PAGE: Final = 10_000
"""Records in a full page of the truth (adapters/venue/operator.py)."""


class VenueFailed(Exception):
    """The venue's process did not start, or its answer made no sense."""


@dataclass(frozen=True, slots=True)
class VenueState:
    """What the venue holds of one account.

    Attributes:
        positions: Signed size in contracts, by market; none that is zero.
        open_oids: Orders on the book.
    """

    positions: dict[str, Decimal]
    open_oids: frozenset[int]


class VenueProcess:
    """`hip3 venue` in a process of its own, for as long as the context lasts.

    Attributes:
        url: Base of `/info` and `/exchange`.
        ws_url: The WebSocket.
        pid: The process.
    """

    def __init__(self, *options: str) -> None:
        """Prepare to start it with these command-line options."""
        self.url = ""
        self.ws_url = ""
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        command = [sys.executable, "-m", "adapters.cli", "venue", "--port", "0", "--json", *self._options]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            await self._read_address(self._process.stdout)
        except BaseException:
            await self._stop()
            raise
        self._session = aiohttp.ClientSession(self.url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        await self._stop()

    async def _read_address(self, output: asyncio.StreamReader | None) -> None:
        """Learn from the first line where it listens."""
        line = b"" if output is None else await asyncio.wait_for(output.readline(), _START_S)
        try:
            started = msgspec.json.decode(line)
            self.url, self.ws_url = started["url"], started["ws_url"]
        except (msgspec.DecodeError, KeyError, TypeError):
            raise VenueFailed(f"the venue did not start: it said {line[:200]!r}") from None

    async def _stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()

    async def set_faults(self, **faults: float) -> None:
        """Replace the fault settings (adapters/venue/faults.py); none means no faults.

        Raises:
            VenueFailed: The venue does not know such a setting.
        """
        await self._call("POST", "/local/faults", faults)

    async def truth(self) -> list[TruthRecord]:
        """Everything that the venue really did, in order."""
        records: list[TruthRecord] = []
        while True:
            page = decode_truth(await self._call("GET", f"/local/truth?from={len(records)}"))
            records.extend(page)
            if len(page) < _PAGE:
                return records

    async def state(self, user: str) -> VenueState:
        """What the venue holds of `user`."""
        state: dict[str, Any] = msgspec.json.decode(await self._call("GET", f"/local/state?user={user}"))
        return VenueState(
            {coin: Decimal(size) for coin, size in state["positions"].items()},
            frozenset(order["oid"] for order in state["open_orders"]),
        )

    async def _call(self, method: str, path: str, body: Any = None) -> bytes:
        if self._session is None:
            raise VenueFailed("the venue is not running")
        async with self._session.request(method, path, json=body) as response:
            answer = await response.read()
            if response.status != 200:
                raise VenueFailed(f"{path} answered {response.status}: {answer[:200]!r}")
            return answer
