"""The unmodified official SDK against `hip3 venue` as a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import requests
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from tests.adapters.venue.support import key, statuses, venue_process

DEXS = ["", "xyz"]
MARKETS = {"BTC": 0.01, "PURR/USDC": 500.0, "xyz:TSLA": 1.5}
"""A market of each kind, and a size to trade there."""

LIMITS = {"weight_per_minute": 1_000_000, "connections_per_minute": 1000}
STILL = {"volatility_bps": 0.0}


class Sdk:
    """The SDK's two halves for one account."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.account = Account.from_key(key(1))
        self.address = self.account.address
        self.exchange = Exchange(self.account, url, perp_dexs=DEXS)
        self.info = self.exchange.info

    def mid(self, coin: str) -> float:
        dex = coin.partition(":")[0] if ":" in coin else ""
        return float(self.info.all_mids(dex)[coin])

    def far_below(self, coin: str) -> float:
        """A legal price at which nothing trades."""
        return float(f"{self.mid(coin) * 0.7:.4g}")

    def open_orders(self, coin: str) -> list[Any]:
        dex = coin.partition(":")[0] if ":" in coin else ""
        return [one for one in self.info.open_orders(self.address, dex) if one["coin"] == coin]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    address = Account.from_key(key(1)).address
    options = ["--account", address, "--limits", msgspec.json.encode(LIMITS).decode()]
    with venue_process(*options, "--liquidity", msgspec.json.encode(STILL).decode()) as facts:
        yield facts["url"]


@pytest.fixture
def sdk(url: str) -> Sdk:
    return Sdk(url)


@pytest.fixture(params=MARKETS)
def coin(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_order_query_and_cancel_by_oid(sdk: Sdk, coin: str) -> None:
    price = sdk.far_below(coin)
    (status,) = statuses(sdk.exchange.order(coin, True, MARKETS[coin], price, {"limit": {"tif": "Gtc"}}))
    oid = status["resting"]["oid"]
    assert [one["oid"] for one in sdk.open_orders(coin)] == [oid]
    found = sdk.info.query_order_by_oid(sdk.address, oid)["order"]
    assert (found["status"], found["order"]["coin"]) == ("open", coin)
    assert float(found["order"]["limitPx"]) == price
    assert statuses(sdk.exchange.cancel(coin, oid)) == ["success"]
    assert sdk.info.query_order_by_oid(sdk.address, oid)["order"]["status"] == "canceled"
    assert sdk.open_orders(coin) == []


def test_order_query_and_cancel_by_cloid(sdk: Sdk, coin: str) -> None:
    name = Cloid.from_int(time.time_ns())
    price = sdk.far_below(coin)
    sdk.exchange.order(coin, True, MARKETS[coin], price, {"limit": {"tif": "Alo"}}, cloid=name)
    assert sdk.info.query_order_by_cloid(sdk.address, name)["order"]["order"]["tif"] == "Alo"
    assert statuses(sdk.exchange.cancel_by_cloid(coin, name)) == ["success"]
    (again,) = statuses(sdk.exchange.cancel_by_cloid(coin, name))
    assert again["error"].startswith("Order was never placed, already canceled, or filled.")
    unknown = sdk.info.query_order_by_cloid(sdk.address, Cloid.from_int(1))
    assert unknown == {"status": "unknownOid"}


def test_bulk_orders_and_bulk_cancel(sdk: Sdk, coin: str) -> None:
    price = sdk.far_below(coin)
    wanted = [
        {
            "coin": coin,
            "is_buy": True,
            "sz": MARKETS[coin],
            "limit_px": price,
            "order_type": {"limit": {"tif": tif}},
            "reduce_only": False,
        }
        for tif in ("Gtc", "Ioc", "Alo")
    ]
    first, refused, third = statuses(sdk.exchange.bulk_orders(wanted))
    assert refused["error"].startswith("Order could not immediately match")
    oids = [first["resting"]["oid"], third["resting"]["oid"]]
    reply = sdk.exchange.bulk_cancel([{"coin": coin, "oid": oid} for oid in oids])
    assert statuses(reply) == ["success", "success"]


def test_modify_orders(sdk: Sdk, coin: str) -> None:
    price = sdk.far_below(coin)
    name = Cloid.from_int(time.time_ns())
    limit = {"limit": {"tif": "Gtc"}}
    (placed,) = statuses(sdk.exchange.order(coin, True, MARKETS[coin], price, limit, cloid=name))
    old = placed["resting"]["oid"]
    (modified,) = statuses(sdk.exchange.modify_order(old, coin, True, 2 * MARKETS[coin], price, limit))
    assert modified["resting"]["oid"] != old
    assert modified["resting"]["cloid"] == name.to_raw()
    change = {
        "oid": name,
        "order": {
            "coin": coin,
            "is_buy": True,
            "sz": MARKETS[coin],
            "limit_px": price,
            "order_type": limit,
            "reduce_only": False,
        },
    }
    (renewed,) = statuses(sdk.exchange.bulk_modify_orders_new([change]))
    assert float(sdk.open_orders(coin)[0]["sz"]) == MARKETS[coin]
    assert statuses(sdk.exchange.cancel(coin, renewed["resting"]["oid"])) == ["success"]


def test_market_open_and_the_fills_and_balances_that_follow(sdk: Sdk, coin: str) -> None:
    (status,) = statuses(sdk.exchange.market_open(coin, True, MARKETS[coin]))
    assert Decimal(status["filled"]["totalSz"]) == Decimal(str(MARKETS[coin]))
    fill = sdk.info.user_fills(sdk.address)[0]
    assert (fill["coin"], fill["side"], fill["oid"]) == (coin, "B", status["filled"]["oid"])
    if coin == "PURR/USDC":
        balances = {one["coin"]: one for one in sdk.info.spot_user_state(sdk.address)["balances"]}
        assert float(balances["PURR"]["total"]) >= MARKETS[coin]
        (sold,) = statuses(sdk.exchange.market_open(coin, False, MARKETS[coin]))
        assert Decimal(sold["filled"]["totalSz"]) == Decimal(str(MARKETS[coin]))
        return
    dex = coin.partition(":")[0] if ":" in coin else ""
    (held,) = sdk.info.user_state(sdk.address, dex)["assetPositions"]
    assert (held["position"]["coin"], float(held["position"]["szi"])) == (coin, MARKETS[coin])
    (closed,) = statuses(sdk.exchange.market_close(coin))
    assert Decimal(closed["filled"]["totalSz"]) == Decimal(str(MARKETS[coin]))
    assert sdk.info.user_state(sdk.address, dex)["assetPositions"] == []
    assert sdk.info.user_fills(sdk.address)[0]["dir"] == "Close Long"


def test_trigger_orders_and_frontend_open_orders(sdk: Sdk) -> None:
    kind = {"trigger": {"isMarket": True, "triggerPx": 80_000.0, "tpsl": "sl"}}
    (status,) = statuses(sdk.exchange.order("BTC", False, 0.01, 79_000.0, kind, reduce_only=True))
    (shown,) = sdk.info.frontend_open_orders(sdk.address)
    assert shown["isTrigger"] is True
    assert (shown["orderType"], shown["triggerPx"], shown["reduceOnly"]) == ("Stop Market", "80000.0", True)
    assert statuses(sdk.exchange.cancel("BTC", status["resting"]["oid"])) == ["success"]


def test_leverage(sdk: Sdk) -> None:
    assert sdk.exchange.update_leverage(7, "xyz:NVDA")["response"] == {"type": "default"}
    sdk.exchange.market_open("xyz:NVDA", True, 1.0)
    (held,) = sdk.info.user_state(sdk.address, "xyz")["assetPositions"]
    assert held["position"]["leverage"] == {"type": "cross", "value": 7}
    sdk.exchange.market_close("xyz:NVDA")


def test_noop_and_expiry(sdk: Sdk) -> None:
    nonce = int(time.time() * 1000) - 5_000
    assert sdk.exchange.noop(nonce) == {"status": "ok", "response": {"type": "default"}}
    assert sdk.exchange.noop(nonce)["response"] == f"Invalid nonce: duplicate nonce {nonce}"
    sdk.exchange.set_expires_after(1)
    expired = sdk.exchange.order("BTC", True, 0.01, 50_000.0, {"limit": {"tif": "Gtc"}})
    assert expired == {"status": "err", "response": "Action already expired"}


def test_an_api_wallet_and_a_vault(sdk: Sdk) -> None:
    agent, vault = Account.from_key(key(33)), "0x" + "5e" * 20
    body = {"address": sdk.address, "agents": [agent.address]}
    assert requests.post(f"{sdk.url}/local/account", json=body, timeout=5).status_code == 200
    body = {"address": vault, "usdc": "1000", "leader": sdk.address}
    assert requests.post(f"{sdk.url}/local/account", json=body, timeout=5).status_code == 200
    exchange = Exchange(agent, sdk.url, vault_address=vault, account_address=sdk.address)
    (status,) = statuses(exchange.order("BTC", True, 0.001, 50_000.0, {"limit": {"tif": "Gtc"}}))
    assert sdk.info.open_orders(vault)[0]["oid"] == status["resting"]["oid"]
    stranger = Exchange(Account.from_key(key(34)), sdk.url)
    reply = stranger.order("BTC", True, 0.001, 50_000.0, {"limit": {"tif": "Gtc"}})
    assert reply["response"] == f"User or API Wallet {stranger.wallet.address.lower()} does not exist."


def test_market_data(sdk: Sdk, coin: str) -> None:
    book = sdk.info.l2_snapshot(coin)
    bids, asks = book["levels"]
    assert float(bids[0]["px"]) < sdk.mid(coin) < float(asks[0]["px"])
    universe, contexts = sdk.info.meta_and_asset_ctxs()
    assert [one["name"] for one in universe["universe"]] == ["BTC", "ETH"]
    assert len(contexts) == 2
    assert sdk.info.user_rate_limit(sdk.address)["nRequestsCap"] >= 10_000


def test_schedule_cancel_strikes_when_its_time_has_come(sdk: Sdk) -> None:
    refused = sdk.exchange.schedule_cancel(int(time.time() * 1000) + 20_000)
    assert refused["response"].startswith("Cannot set scheduled cancel time until enough volume traded.")
    for is_buy in (True, False):
        statuses(sdk.exchange.market_open("BTC", is_buy, 6.0))
    (status,) = statuses(sdk.exchange.order("BTC", True, 0.01, 50_000.0, {"limit": {"tif": "Gtc"}}))
    assert sdk.exchange.schedule_cancel(int(time.time() * 1000) + 20_000)["status"] == "ok"
    time.sleep(0.2)
    assert len(sdk.open_orders("BTC")) == 1
    assert requests.post(f"{sdk.url}/local/faults", json={"clock_offset_ms": 21_000}, timeout=5).ok
    eventually(lambda: sdk.open_orders("BTC") == [])
    found = sdk.info.query_order_by_oid(sdk.address, status["resting"]["oid"])
    assert found["order"]["status"] == "scheduledCancel"
    assert requests.post(f"{sdk.url}/local/faults", json={}, timeout=5).ok


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 5 s"
        time.sleep(0.02)


class Listener:
    """What the SDK's WebSocket delivered, by channel."""

    def __init__(self, url: str) -> None:
        self.info = Info(url, perp_dexs=DEXS)
        self.frames: list[Any] = []
        self._lock = threading.Lock()

    def take(self, frame: Any) -> None:
        with self._lock:
            self.frames.append(frame)

    def data(self, channel: str) -> list[Any]:
        with self._lock:
            return [frame["data"] for frame in self.frames if frame["channel"] == channel]


@pytest.fixture(scope="module")
def listener(url: str) -> Iterator[Listener]:
    made = Listener(url)
    yield made
    made.info.disconnect_websocket()  # its reading thread notices within 10 s; nobody waits for it


def test_subscriptions(sdk: Sdk, coin: str, listener: Listener) -> None:
    wanted: list[dict[str, str]] = [
        {"type": "l2Book", "coin": coin},
        {"type": "bbo", "coin": coin},
        {"type": "allMids"},
        {"type": "orderUpdates", "user": sdk.address},
        {"type": "userFills", "user": sdk.address},
    ]
    listener.frames.clear()
    ids = [listener.info.subscribe(one, listener.take) for one in wanted]
    eventually(lambda: all(listener.data(name) for name in ("l2Book", "bbo", "allMids", "userFills")))
    assert listener.data("userFills")[0]["isSnapshot"] is True
    assert listener.data("l2Book")[0]["coin"] == listener.data("bbo")[0]["coin"] == coin
    assert "BTC" in listener.data("allMids")[0]["mids"]
    name = Cloid.from_int(time.time_ns())
    (filled,) = statuses(sdk.exchange.market_open(coin, True, MARKETS[coin], cloid=name))
    eventually(lambda: bool(listener.data("orderUpdates")) and len(listener.data("userFills")) > 1)
    (update,) = listener.data("orderUpdates")[0]
    assert (update["status"], update["order"]["cloid"]) == ("filled", name.to_raw())
    later = listener.data("userFills")[1]
    assert "isSnapshot" not in later
    assert later["fills"][0]["oid"] == filled["filled"]["oid"]
    sdk.exchange.market_open(coin, False, MARKETS[coin])
    eventually(lambda: len(listener.data("l2Book")) > 1 and len(listener.data("bbo")) > 1)
    assert all(listener.info.unsubscribe(one, number) for one, number in zip(wanted, ids, strict=True))
