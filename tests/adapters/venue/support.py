"""Peers for the venue's tests: a trader who signs, a venue without sockets, a clock that is turned by hand."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from adapters.hyperliquid.signing import Signer
from adapters.venue.actions import decode_action
from adapters.venue.config import VenueConfig
from adapters.venue.core import VenueCore
from adapters.venue.info import decode_info
from adapters.venue.liquidity import Liquidity
from adapters.venue.truth import TruthRecord
from machines.clock import ManualClock

NO_MAKERS = Liquidity(levels=0, volatility_bps=0.0)
STILL = Liquidity(volatility_bps=0.0)
BTC, ETH, PURR, TSLA = 0, 1, 10_000, 120_000


def key(number: int) -> bytes:
    """A private key for tests."""
    return number.to_bytes(32, "big")


def order(
    asset: int = BTC,
    *,
    buy: bool = True,
    px: str = "90000",
    sz: str = "0.001",
    tif: str = "Gtc",
    reduce_only: bool = False,
    cloid: str | None = None,
    trigger: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One order in wire form."""
    kind: dict[str, Any] = {"limit": {"tif": tif}} if trigger is None else {"trigger": trigger}
    wire: dict[str, Any] = {"a": asset, "b": buy, "p": px, "s": sz, "r": reduce_only, "t": kind}
    return wire if cloid is None else wire | {"c": cloid}


def orders(*wires: dict[str, Any], grouping: str = "na") -> dict[str, Any]:
    """An order action."""
    return {"type": "order", "orders": list(wires), "grouping": grouping}


def cloid(number: int) -> str:
    """A client order id."""
    return f"0x{number:032x}"


class Trader:
    """Someone with a key who signs actions; nonces count up from the clock's time."""

    def __init__(self, number: int, clock: ManualClock | None = None, network: Any = "testnet") -> None:
        self.signer = Signer(key(number))
        self.address = self.signer.address
        self.nonce = 0
        self._clock = clock
        self._network = network

    def payload(
        self,
        action: dict[str, Any],
        *,
        nonce: int | None = None,
        vault: str | None = None,
        expires_after: int | None = None,
    ) -> dict[str, Any]:
        """A signed action, as the body of `POST /exchange`."""
        if nonce is None:
            now = 0 if self._clock is None else self._clock.now_ms()
            nonce = self.nonce = max(self.nonce + 1, now)
        signature = self.signer.sign(
            action, nonce, network=self._network, vault_address=vault, expires_after=expires_after
        )
        return {
            "action": action,
            "nonce": nonce,
            "signature": dict(signature),
            "vaultAddress": vault,
            "expiresAfter": expires_after,
        }


class Desk:
    """A venue without sockets, with a clock that stands still until it is turned."""

    def __init__(
        self, config: VenueConfig | None = None, *, funded: int = 2, usdc: Decimal = Decimal(1_000_000)
    ) -> None:
        self.clock = ManualClock()
        self.traders = [Trader(number, self.clock) for number in range(1, funded + 1)]
        config = config or VenueConfig(liquidity=NO_MAKERS)
        accounts = {trader.address: usdc for trader in self.traders}
        self.core = VenueCore(replace(config, accounts={**accounts, **config.accounts}), self.clock)

    def send(self, trader: Trader, action: dict[str, Any], **signed: Any) -> dict[str, Any]:
        """Submit an action; the venue's reply."""
        return self.submit(trader.payload(action, **signed))

    def submit(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Submit a signed action; the venue's reply."""
        replies: list[dict[str, Any]] = []
        self.core.submit(decode_action(msgspec.json.encode(payload)), "client", replies.append)
        return replies[0]

    def place(self, trader: Trader, *wires: dict[str, Any]) -> list[Any]:
        """Submit orders; their statuses."""
        return statuses(self.send(trader, orders(*wires)))

    def ask(self, kind: str, **fields: Any) -> Any:
        """An info request, its answer as a client reads it."""
        request = decode_info(msgspec.json.encode({"type": kind} | fields))
        return msgspec.json.decode(msgspec.json.encode(self.core.info.answer(request)))

    def truth(self) -> list[TruthRecord]:
        """Everything that was recorded."""
        return self.core.truth.since(0)


def statuses(reply: dict[str, Any]) -> list[Any]:
    """The statuses of an accepted action."""
    assert reply["status"] == "ok", reply
    result = reply["response"]["data"]["statuses"]
    assert isinstance(result, list)
    return result


@contextlib.contextmanager
def venue_process(*options: str) -> Iterator[dict[str, Any]]:
    """`hip3 venue` as a process; yields the line that it prints, as JSON, and stops it afterwards."""
    command = [sys.executable, "-c", "from adapters.cli import main; main()", "venue", "--port", "0", "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            assert process.wait(15) == 0
