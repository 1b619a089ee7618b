"""`hip3 venue`: the local venue as a process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from adapters.exit_codes import ExitCode
from adapters.venue.config import DEFAULT_USDC, InvalidVenueConfig, VenueConfig
from adapters.venue.faults import InvalidFaults, parse_faults
from adapters.venue.limits import Limits
from adapters.venue.liquidity import Liquidity
from adapters.venue.server import PortInUse, Venue

T = TypeVar("T")


class _Network(StrEnum):
    TESTNET = "testnet"
    MAINNET = "mainnet"


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 lets the system choose.")] = 8645,
    account: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS[=USDC]", help="Fund an account; repeatable.")
    ] = None,
    agent: Annotated[
        list[str] | None,
        typer.Option(metavar="AGENT=ACCOUNT", help="Let an API wallet sign for an account; repeatable."),
    ] = None,
    vault: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS=LEADER", help="Register a funded vault or sub-account; repeatable."),
    ] = None,
    network: Annotated[_Network, typer.Option(help="Whose signatures are taken.")] = _Network.TESTNET,
    seed: Annotated[int, typer.Option(help="Of the market makers and the faults.")] = 0,
    address_budget: Annotated[
        int | None, typer.Option(min=0, help="Actions that each account has to begin with (the real venue: 10000).")
    ] = None,
    limits: Annotated[
        str, typer.Option(metavar="JSON", help='Other limits to change, such as {"messages_per_minute": 100000}.')
    ] = "{}",
    faults: Annotated[
        str, typer.Option(metavar="JSON", help='What goes wrong, such as {"drop_reply": 0.1, "reply_delay_ms": 500}.')
    ] = "{}",
    liquidity: Annotated[
        str,
        typer.Option(
            metavar="JSON", help='The market makers; {"levels": 0} for none, {"volatility_bps": 0} for still prices.'
        ),
    ] = "{}",
    verifiers: Annotated[
        int, typer.Option(min=0, max=64, help="Processes that verify signatures; 0 does it in the venue's own.")
    ] = 0,
    truth_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the truth record here, as NDJSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the first line as JSON.")] = False,
) -> None:
    """Run a local Hyperliquid venue on loopback.

    It speaks /ws, POST /info and POST /exchange like the real one: it verifies signatures, nonces and limits, matches
    orders, and keeps two-sided books around a seeded random walk. BTC and ETH perps, PURR/USDC spot, and the builder
    dex xyz with xyz:TSLA and xyz:NVDA are traded.

    One line says where it listens. Faults can be changed while it runs (POST /local/faults), accounts added
    (POST /local/account), and what really happened read back (GET /local/truth). Ctrl-C stops it.
    """
    try:
        config = VenueConfig(
            port=port,
            network=network.value,
            seed=seed,
            accounts=_accounts(account or [])
            | {address: DEFAULT_USDC for address, _ in _pairs("--vault", vault or [])},
            agents=dict(_pairs("--agent", agent or [])),
            vaults=dict(_pairs("--vault", vault or [])),
            limits=_limits(limits, address_budget),
            faults=parse_faults(faults),
            liquidity=_decoded("--liquidity", liquidity, Liquidity),
            verifiers=verifiers,
            truth_log=truth_log,
        )
        asyncio.run(_serve(config, as_json=as_json))
    except PortInUse as error:
        typer.echo(f"hip3 venue: {error.strerror}", err=True)
        raise typer.Exit(ExitCode.ADDRESS_IN_USE) from error
    except (InvalidVenueConfig, InvalidFaults, OSError) as error:
        typer.echo(f"hip3 venue: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE) from error


async def _serve(config: VenueConfig, *, as_json: bool) -> None:
    """Run until a signal asks to stop."""
    async with Venue(config) as venue:
        running = asyncio.create_task(venue.run())
        for number in _STOP_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
        # Orders and records live long and form no cycles: looking through them again and again only makes pauses.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        facts = {"url": venue.url, "ws_url": venue.ws_url, "network": config.network, "seed": config.seed}
        typer.echo(
            json.dumps(facts)
            if as_json
            else f"venue on {venue.url} (WebSocket {venue.ws_url}), {config.network} signatures, seed {config.seed}"
        )
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _accounts(texts: list[str]) -> dict[str, Decimal]:
    """Addresses with their USDC, from `ADDRESS` or `ADDRESS=USDC`."""
    accounts: dict[str, Decimal] = {}
    for text in texts:
        address, given, usdc = text.partition("=")
        try:
            accounts[address] = Decimal(usdc) if given else DEFAULT_USDC
        except ArithmeticError as error:
            raise InvalidVenueConfig(f"--account {text}: expected ADDRESS or ADDRESS=USDC") from error
    return accounts


def _pairs(option: str, texts: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in texts:
        first, given, second = text.partition("=")
        if not given:
            raise InvalidVenueConfig(f"{option} {text}: expected two addresses with = between them")
        pairs.append((first, second))
    return pairs


def _limits(text: str, address_budget: int | None) -> Limits:
    limits = _decoded("--limits", text, Limits)
    return limits if address_budget is None else msgspec.structs.replace(limits, address_budget=address_budget)


def _decoded(option: str, text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidVenueConfig(f"{option}: {error}; known: {', '.join(_fields(kind))}") from error


def _fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(kind.__struct_fields__)
