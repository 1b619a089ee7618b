"""Settings of a local venue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Literal

from adapters.venue.faults import Faults
from adapters.venue.limits import Limits
from adapters.venue.liquidity import Liquidity
from adapters.venue.units import USD_DECIMALS

DEFAULT_USDC: Final = Decimal(1_000_000)
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")


class InvalidVenueConfig(ValueError):
    """A setting that makes no sense; the message names it and says what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueConfig:
    """What a venue is started with.

    Attributes:
        port: TCP port on loopback; 0 lets the system choose one.
        network: Whose signatures are taken: `testnet` (source `b`) or `mainnet` (source `a`).
        seed: Of the faults and of the market makers.
        accounts: Address and USDC of every funded account; the USDC goes to each perp dex and to the spot wallet.
        agents: API wallets: agent address to the address that it signs for.
        vaults: Vaults and sub-accounts: their address to their leader's; funded like an account with the default.
        limits: Rate limits and budgets.
        faults: What goes wrong from the start; can be changed at run time.
        liquidity: What the market makers do.
        verifiers: Processes that recover signers; 0 does it in the venue's own.
        truth_log: File that the truth record is written to; None for memory alone.
        idle_close_ms: A connection to which nothing was sent for so long is closed (protocol.md §1).
    """

    port: int = 0
    network: Literal["mainnet", "testnet"] = "testnet"
    seed: int = 0
    accounts: Mapping[str, Decimal] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    vaults: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    faults: Faults = field(default_factory=Faults)
    liquidity: Liquidity = field(default_factory=Liquidity)
    verifiers: int = 0
    truth_log: Path | None = None
    idle_close_ms: int = 60_000


def parse_address(text: str) -> str:
    """A lower-case address.

    Raises:
        InvalidVenueConfig: It is not `0x` and 40 hex digits.
    """
    if not _ADDRESS.fullmatch(text):
        raise InvalidVenueConfig(f"{text[:60]!r} is no address; expected 0x and 40 hex digits")
    return text.lower()


def parse_money(usdc: Decimal | str) -> int:
    """Money units of an amount of USDC.

    Raises:
        InvalidVenueConfig: It is no non-negative amount with at most 8 decimals, below 10^12.
    """
    try:
        scaled = Decimal(usdc).scaleb(USD_DECIMALS)
    except InvalidOperation:
        scaled = Decimal("NaN")
    if not scaled.is_finite() or scaled < 0 or scaled != scaled.to_integral_value() or scaled >= 10**20:
        raise InvalidVenueConfig(f"{str(usdc)[:60]!r} is no amount of USDC; expected 0 or more, at most 8 decimals")
    return int(scaled)
