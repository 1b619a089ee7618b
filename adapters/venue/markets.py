"""What can be traded: the universe of the local venue, in the numbering of protocol.md §7.

Core perps, one spot pair, and a builder dex behind an empty one, so that a client which forgets to count null and
empty dexes computes wrong asset ids here as it would on the real venue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from adapters.venue.units import POWERS, USD_DECIMALS

QUOTE: Final = "USDC"


@dataclass(frozen=True, slots=True)
class Market:
    """One market.

    Attributes:
        asset: Id in actions: the index for core perps, 10000 + index for spot, 100000 + dex·10000 + index for the
            perps of a builder dex.
        coin: Name in queries and streams: `BTC`, `PURR/USDC`, `xyz:TSLA`.
        dex: Name of the perp dex; empty for core perps and for spot.
        is_spot: Whether tokens change hands instead of positions.
        sz_decimals: Decimals of a size.
        px_decimals: Most decimals of a price.
        max_leverage: Highest leverage of a position; 1 for spot.
        start_px: Price at which the venue opens, in price steps.
        money_per_unit: Money units in one price step x one lot.
        token: Name of the token that a spot pair trades; empty for perps.
    """

    asset: int
    coin: str
    dex: str
    is_spot: bool
    sz_decimals: int
    px_decimals: int
    max_leverage: int
    start_px: int
    money_per_unit: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class MarketSpec:
    """A market as configured, its start price in USD; its id follows from its place in its list."""

    name: str
    kind: Literal["perp", "spot"]
    sz_decimals: int
    max_leverage: int
    start_px: Decimal


CORE: Final = (MarketSpec("BTC", "perp", 5, 40, Decimal(100_000)), MarketSpec("ETH", "perp", 4, 25, Decimal(3500)))
SPOT: Final = (MarketSpec("PURR/USDC", "spot", 0, 1, Decimal("0.2")),)
BUILDER_DEXS: Final[tuple[tuple[str, tuple[MarketSpec, ...]], ...]] = (
    ("void", ()),  # deployed, but without a market: it takes up an index all the same
    ("xyz", (MarketSpec("xyz:TSLA", "perp", 3, 10, Decimal(400)), MarketSpec("xyz:NVDA", "perp", 3, 20, Decimal(180)))),
)


class Universe:
    """All markets, found by asset id or by name, and their descriptions as info requests give them."""

    def __init__(self) -> None:
        self.dexs: Final = ("", *(name for name, _ in BUILDER_DEXS))
        self.spot: Final = _number(SPOT, "", 10_000)
        self._perps: Final = {"": _number(CORE, "", 0)} | {
            name: _number(specs, name, 100_000 + 10_000 * position)
            for position, (name, specs) in enumerate(BUILDER_DEXS, start=1)
        }
        self.markets: Final = (*(market for perps in self._perps.values() for market in perps), *self.spot)
        self.by_asset: Final = {market.asset: market for market in self.markets}
        self.by_coin: Final = {market.coin: market for market in self.markets}
        self.tokens: Final = (QUOTE, *(market.token for market in self.spot))

    def perps(self, dex: str) -> tuple[Market, ...] | None:
        """The perps of a dex in index order, or None if there is no such dex."""
        return self._perps.get(dex)

    def meta(self, dex: str) -> dict[str, Any] | None:
        """The answer to `{"type":"meta","dex":…}`."""
        perps = self.perps(dex)
        if perps is None:
            return None
        universe = [
            {"name": market.coin, "szDecimals": market.sz_decimals, "maxLeverage": market.max_leverage}
            for market in perps
        ]
        return {"universe": universe, "marginTables": [], "collateralToken": 0}

    def spot_meta(self) -> dict[str, Any]:
        """The answer to `{"type":"spotMeta"}`."""
        tokens = [_token(0, QUOTE, USD_DECIMALS)]
        tokens += [_token(index, market.token, market.sz_decimals) for index, market in enumerate(self.spot, start=1)]
        pairs = [
            {"name": market.coin, "tokens": [index + 1, 0], "index": index, "isCanonical": True}
            for index, market in enumerate(self.spot)
        ]
        return {"universe": pairs, "tokens": tokens}

    def perp_dexs(self) -> list[dict[str, Any] | None]:
        """The answer to `{"type":"perpDexs"}`: null stands for the core dex."""
        return [
            None,
            *(
                {"name": name, "fullName": name, "deployer": f"0x{position:040x}", "oracleUpdater": None}
                for position, name in enumerate(self.dexs[1:], start=1)
            ),
        ]


def _number(specs: Sequence[MarketSpec], dex: str, first: int) -> tuple[Market, ...]:
    """Markets with their ids, and the price decimals that §7 gives their kind."""
    markets = []
    for index, spec in enumerate(specs):
        is_spot = spec.kind == "spot"
        px_decimals = (8 if is_spot else 6) - spec.sz_decimals
        markets.append(
            Market(
                asset=first + index,
                coin=spec.name,
                dex=dex,
                is_spot=is_spot,
                sz_decimals=spec.sz_decimals,
                px_decimals=px_decimals,
                max_leverage=spec.max_leverage,
                start_px=int(spec.start_px * POWERS[px_decimals]),
                money_per_unit=POWERS[USD_DECIMALS - px_decimals - spec.sz_decimals],
                token=spec.name.partition("/")[0] if is_spot else "",
            )
        )
    return tuple(markets)


def _token(index: int, name: str, sz_decimals: int) -> dict[str, Any]:
    return {
        "name": name,
        "szDecimals": sz_decimals,
        "weiDecimals": USD_DECIMALS,
        "index": index,
        "tokenId": f"0x{index + 1:032x}",
        "isCanonical": True,
        "evmContract": None,
        "fullName": None,
    }
