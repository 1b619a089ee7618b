"""A strategy without a plan: it submits what strategies submit, and some of what they should not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec.structs import replace

from adapters.simulation.faults import Troubles
from machines.intent import Cancel, Intent, Modify, Order, Request, Tif, Trigger

T = TypeVar("T")

_MARKETS: Final = ("BTC", "ETH", "xyz:TSLA")
_TIFS: Final[tuple[Tif, ...]] = ("Gtc", "Gtc", "Ioc", "Alo")
_TRIGGER: Final = Trigger(price="90", is_market=True, kind="sl")
_MEMORY: Final = 40
"""How many of its latest orders it thinks of when it cancels or modifies."""


class Strategy:
    """Makes up requests."""

    def __init__(
        self, troubles: Troubles, oid_of: Callable[[str], int | None], resting: Callable[[], list[str]]
    ) -> None:
        """Begin without a memory; `oid_of` tells the venue's id of an order, `resting` which orders may be open."""
        self._troubles = troubles
        self._oid_of = oid_of
        self._resting = resting
        self._cloids: deque[str] = deque(maxlen=_MEMORY)
        self._own_cloids = 0

    def accepted(self, intent: Intent) -> None:
        """An intent was accepted."""
        if not isinstance(intent.request, Cancel) and intent.cloid is not None:
            self._cloids.append(intent.cloid)

    def request(self) -> Request:
        """The next request."""
        chance = self._troubles.rng.random()
        if chance < 0.45 or not self._cloids:
            return self._order(reduce_only=False)
        if chance < 0.62:
            return self._order(reduce_only=True)
        if chance < 0.68:
            return replace(self._order(reduce_only=True), tif="Ioc", trigger=None, flatten=True)
        # Mostly an order that is known to rest, but also one on its way, or long gone.
        resting = self._resting() if self._troubles.between(0, 2) else []
        cloid = self._pick(tuple(resting or self._cloids))
        market = self._pick(_MARKETS)
        if chance < 0.71:
            # A cloid that was used before must not be accepted again (settlement.md, rule 13).
            return replace(self._order(reduce_only=chance < 0.7), cloid=cloid)
        oid = self._oid_of(cloid) if self._troubles.between(0, 3) == 0 else None
        named = {"cloid": cloid} if oid is None else {"oid": oid}
        if chance < 0.79:
            return Modify(order=self._order(reduce_only=chance < 0.75), **named)
        return Cancel(market=market, **named)

    def _order(self, *, reduce_only: bool) -> Order:
        chance = self._troubles.rng.random()
        return Order(
            market=self._pick(_MARKETS),
            side="sell" if reduce_only else "buy",
            size="1",
            price="100",
            tif=self._pick(_TIFS),
            reduce_only=reduce_only,
            cloid=self._own_cloid() if chance < 0.2 else None,
            trigger=_TRIGGER if chance > 0.93 else None,
        )

    def _own_cloid(self) -> str:
        self._own_cloids += 1
        return f"0x{'5' * 16}{self._own_cloids:016x}"

    def _pick(self, choices: tuple[T, ...]) -> T:
        return choices[self._troubles.between(0, len(choices) - 1)]
