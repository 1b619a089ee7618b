"""The venue without its sockets: everything that one process of it shares, wired together.

Nothing in here waits or reads a socket: requests are taken by `engine` and `info`, and whoever owns the venue lets
time pass (`makers.step`, `trading.strike_scheduled`). The server adds connections; tests can do without.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from adapters.venue.accounts import Account, Accounts
from adapters.venue.actions import SignedAction
from adapters.venue.config import InvalidVenueConfig, VenueConfig, parse_address, parse_money
from adapters.venue.engine import Engine, Reply
from adapters.venue.faults import FaultInjector
from adapters.venue.info import InfoDesk
from adapters.venue.limits import Client
from adapters.venue.liquidity import HOUSE, HOUSE_FUNDS, MarketMakers
from adapters.venue.markets import Universe
from adapters.venue.trading import Trading
from adapters.venue.truth import TruthLog
from adapters.venue.units import USD_DECIMALS, format_units, parse_units
from adapters.venue.verifying import Verifiers
from machines.clock import Clock


class SystemClock:
    """This machine's clock."""

    def now_ms(self) -> int:
        """Unix time in ms."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary origin; never falls."""
        return time.monotonic_ns() // 1_000_000


class VenueCore:
    """One venue.

    Args:
        config: Its settings.
        clock: Its time, before the fault `clock_offset_ms`.

    Attributes:
        universe: Its markets.
        trading: Its books and orders.
        verifiers: Recover who signed an action.
        engine: Takes signed actions.
        info: Takes info requests.
        makers: Its market makers.
        accounts: Who there is.
        faults: Decides what goes wrong.
        truth: What really happened.

    Raises:
        InvalidVenueConfig: A setting that makes no sense.
    """

    def __init__(self, config: VenueConfig, clock: Clock | None = None) -> None:
        self.config: Final = config
        self._clock: Final = clock or SystemClock()
        self.universe: Final = Universe()
        self.accounts: Final = Accounts(self.universe.dexs, self.universe.tokens)
        self.faults: Final = FaultInjector(config.seed, config.faults)
        self.verifiers: Final = Verifiers(config.network, config.verifiers)
        self.truth: Final = TruthLog(config.truth_log)
        self.trading: Final = Trading(self.universe, self.truth, config.limits, self.now_ms)
        self.engine: Final = Engine(
            universe=self.universe,
            accounts=self.accounts,
            trading=self.trading,
            truth=self.truth,
            limits=config.limits,
            now_ms=self.now_ms,
        )
        self.info: Final = InfoDesk(
            self.accounts, self.trading, self.engine, self.now_ms, lambda: self.faults.settings.lookup_lag_ms
        )
        house = self.accounts.open(HOUSE, HOUSE_FUNDS, is_house=True)
        self.makers: Final = MarketMakers(house, self.trading, config.seed, config.liquidity)
        self._clients: Final[dict[str, Client]] = {}
        for address, usdc in config.accounts.items():
            self.fund(address, usdc)
        for agent, principal in config.agents.items():
            self.approve_agent(agent, principal)
        for vault, leader in config.vaults.items():
            self.register_vault(vault, leader)
        self.makers.step()

    def now_ms(self) -> int:
        """The venue's time, unix ms."""
        return self._clock.now_ms() + self.faults.settings.clock_offset_ms

    def monotonic_ms(self) -> int:
        """Time that no fault moves, for limits and keep-alive."""
        return self._clock.monotonic_ms()

    def client(self, address: str) -> Client:
        """What the client at a network address uses."""
        client = self._clients.get(address)
        if client is None:
            client = self._clients[address] = Client(address, self.config.limits)
        return client

    def submit(self, signed: SignedAction, client: str, done: Callable[[Reply], None]) -> None:
        """Have an action verified and carried out; `done` is called with the reply, in the order of these calls."""
        self.verifiers.verify(signed.claim, lambda verdict: done(self.engine.submit(signed, verdict, client)))

    # --- operator -------------------------------------------------------------------------------------------

    def fund(self, address: str, usdc: Decimal | str) -> Account:
        """Open an account, or add to one.

        Raises:
            InvalidVenueConfig: The address or the amount makes no sense.
        """
        return self.accounts.open(parse_address(address), parse_money(usdc))

    def approve_agent(self, agent: str, principal: str) -> None:
        """Let an API wallet sign for an account.

        Raises:
            InvalidVenueConfig: An address makes no sense, or there is no such account.
        """
        self.accounts.approve(parse_address(agent), self._existing(principal).address)

    def register_vault(self, vault: str, leader: str) -> None:
        """Let an account act for another one, a vault or sub-account, through `vaultAddress`.

        Raises:
            InvalidVenueConfig: An address makes no sense, or there is no such account.
        """
        self._existing(vault).leader = self._existing(leader).address

    def set_price(self, coin: str, price: str) -> None:
        """Put the mark price of a market, and the market makers' quotes with it.

        Raises:
            InvalidVenueConfig: There is no such market, or the price is none of its prices.
        """
        market = self.universe.by_coin.get(coin)
        if market is None:
            raise InvalidVenueConfig(f"no market {coin[:40]!r}; there are {', '.join(self.universe.by_coin)}")
        px = parse_units(price, market.px_decimals)
        if not px:
            raise InvalidVenueConfig(f"{price[:40]!r} is no price of {coin}: at most {market.px_decimals} decimals")
        self.makers.set_price(market, px)

    def state(self, user: str) -> dict[str, Any]:
        """Positions, balances and open orders of an account, and what every client address uses.

        Raises:
            InvalidVenueConfig: There is no such account.
        """
        account = self._existing(user)
        positions = {
            position.market.coin: format_units(position.szi, position.market.sz_decimals)
            for clearinghouse in account.clearinghouses.values()
            for position in clearinghouse.positions.values()
            if position.szi
        }
        return {
            "user": account.address,
            "positions": positions,
            "usdc": {
                dex: format_units(clearinghouse.balance, USD_DECIMALS)
                for dex, clearinghouse in account.clearinghouses.items()
            },
            "open_orders": [order.full() for order in account.open_orders.values()],
            "clients": {
                client.address: {
                    "connections": client.connections,
                    "inflight": client.inflight,
                    "max_inflight": client.max_inflight,
                    "refused_posts": client.refused_posts,
                    "refused_messages": client.refused_messages,
                }
                for client in self._clients.values()
            },
        }

    def close(self) -> None:
        """Write the rest of the truth log."""
        self.truth.close()

    def _existing(self, address: str) -> Account:
        account = self.accounts.by_address.get(parse_address(address))
        if account is None:
            raise InvalidVenueConfig(f"no account {address[:60]}; fund it first")
        return account
