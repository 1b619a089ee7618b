"""The gates that an action passes before it has an effect (protocol.md §3, §4, §5, §6, §9)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.venue.actions import MalformedRequest, decode_action
from adapters.venue.config import VenueConfig
from adapters.venue.limits import Limits
from adapters.venue.truth import ActionRecord
from adapters.venue.units import USD
from adapters.venue.verifying import verify
from tests.adapters.venue.support import BTC, NO_MAKERS, PURR, Desk, Trader, cloid, order, orders

NOOP = {"type": "noop"}
OK = {"status": "ok", "response": {"type": "default"}}
VECTORS = Path(__file__).parents[2] / "vectors" / "l1_signing.json"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def alice(desk: Desk) -> Trader:
    return desk.traders[0]


def last(desk: Desk) -> ActionRecord:
    record = desk.truth()[-1]
    assert isinstance(record, ActionRecord)
    return record


def refused(reply: dict[str, Any]) -> str:
    assert reply["status"] == "err", reply
    return str(reply["response"])


# --- who may sign ---------------------------------------------------------------------------------------------


def test_an_unknown_signer_is_refused_and_keeps_its_nonce(desk: Desk) -> None:
    stranger = Trader(99, desk.clock)
    payload = stranger.payload(NOOP)
    assert refused(desk.submit(payload)) == f"User or API Wallet {stranger.address} does not exist."
    assert not last(desk).spent
    desk.core.fund(stranger.address, Decimal(1))
    assert desk.submit(payload) == OK


def test_a_changed_action_has_another_signer(desk: Desk, alice: Trader) -> None:
    payload = alice.payload(orders(order(px="90000")))
    payload["action"]["orders"][0]["p"] = "91000"
    assert "does not exist" in refused(desk.submit(payload))
    assert desk.ask("openOrders", user=alice.address) == []


def test_the_signature_of_the_other_network_is_refused(desk: Desk, alice: Trader) -> None:
    other = Trader(1, desk.clock, network="mainnet")
    assert other.address == alice.address
    assert "does not exist" in refused(desk.send(other, NOOP))


def test_a_mainnet_venue_takes_mainnet_signatures() -> None:
    desk = Desk(VenueConfig(network="mainnet", liquidity=NO_MAKERS))
    assert desk.send(Trader(1, desk.clock, network="mainnet"), NOOP) == OK
    assert "does not exist" in refused(desk.send(Trader(2, desk.clock), NOOP))


def test_a_signature_that_no_key_made_is_refused(desk: Desk, alice: Trader) -> None:
    payload = alice.payload(NOOP)
    payload["signature"]["r"] = "0x0"
    assert refused(desk.submit(payload)).startswith("Unable to recover signer: ")
    assert last(desk).signer is None
    assert not last(desk).spent


def test_signers_of_the_official_vectors_are_recovered() -> None:
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert len(vectors) == 48
    for vector in vectors:
        body = {
            "action": vector["action"],
            "nonce": vector["nonce"],
            "signature": vector["signature"],
            "vaultAddress": vector["vault_address"],
            "expiresAfter": vector["expires_after"],
        }
        claim = decode_action(msgspec.json.encode(body)).claim
        assert verify(claim, vector["network"]).signer == vector["signer"]


def test_an_api_wallet_acts_for_its_account_with_nonces_of_its_own(desk: Desk, alice: Trader) -> None:
    agent = Trader(50, desk.clock)
    desk.core.approve_agent(agent.address, alice.address)
    assert desk.send(alice, NOOP, nonce=desk.clock.now_ms()) == OK
    assert desk.send(agent, orders(order(cloid=cloid(1))), nonce=desk.clock.now_ms())["status"] == "ok"
    assert desk.ask("openOrders", user=alice.address)[0]["cloid"] == cloid(1)
    assert desk.ask("openOrders", user=agent.address) == []
    assert (last(desk).signer, last(desk).user) == (agent.address, alice.address)


def test_a_vault_is_traded_by_its_leader_and_nobody_else(desk: Desk, alice: Trader) -> None:
    vault = "0x" + "Ab" * 20
    payload = alice.payload(orders(order(cloid=cloid(1))), vault=vault)
    assert refused(desk.submit(payload)) == f"Vault not registered: {vault}"
    assert not last(desk).spent
    desk.core.fund(vault, Decimal(10_000))
    desk.core.register_vault(vault, alice.address)
    assert desk.submit(payload)["status"] == "ok"
    assert desk.ask("openOrders", user=vault)[0]["cloid"] == cloid(1)
    assert desk.ask("openOrders", user=alice.address) == []
    bob = desk.traders[1]
    assert refused(desk.send(bob, NOOP, vault=vault)) == f"Vault not registered: {vault}"


def test_an_account_without_a_deposit_is_refused(desk: Desk) -> None:
    poor = Trader(60, desk.clock)
    desk.core.fund(poor.address, Decimal(0))
    assert refused(desk.send(poor, NOOP)) == f"Must deposit before performing actions. User: {poor.address}"


# --- nonces, expiry, budget -----------------------------------------------------------------------------------


def test_noop_uses_its_nonce_up_and_decides_the_post_with_that_nonce(desk: Desk, alice: Trader) -> None:
    nonce = desk.clock.now_ms()
    delayed = alice.payload(orders(order(cloid=cloid(1))), nonce=nonce)
    assert desk.send(alice, NOOP, nonce=nonce) == OK
    assert refused(desk.submit(delayed)) == f"Invalid nonce: duplicate nonce {nonce}"
    assert desk.ask("orderStatus", user=alice.address, oid=cloid(1)) == {"status": "unknownOid"}


def test_a_noop_after_the_post_with_its_nonce_is_a_duplicate(desk: Desk, alice: Trader) -> None:
    nonce = desk.clock.now_ms()
    desk.send(alice, orders(order()), nonce=nonce)
    assert refused(desk.send(alice, NOOP, nonce=nonce)) == f"Invalid nonce: duplicate nonce {nonce}"


@pytest.mark.parametrize(
    "action",
    [
        orders(order(tif="Ioc")),
        orders(order(asset=7)),
        orders(),
        {"type": "cancel", "cancels": [{"a": BTC, "o": 1}]},
        {"type": "scheduleCancel", "time": 1},
        {"type": "updateLeverage", "asset": BTC, "isCross": True, "leverage": 1000},
    ],
)
def test_business_rejections_use_the_nonce_up(desk: Desk, alice: Trader, action: dict[str, Any]) -> None:
    nonce = desk.clock.now_ms()
    desk.send(alice, action, nonce=nonce)
    assert last(desk).spent
    assert refused(desk.send(alice, NOOP, nonce=nonce)) == f"Invalid nonce: duplicate nonce {nonce}"


def test_an_expired_action_uses_its_nonce_up_and_costs_five(desk: Desk, alice: Trader) -> None:
    now = desk.clock.now_ms()
    assert desk.send(alice, NOOP, nonce=now, expires_after=now) == OK
    reply = desk.send(alice, orders(order(cloid=cloid(1))), nonce=now + 1, expires_after=now - 1)
    assert refused(reply) == "Action already expired"
    assert desk.ask("userRateLimit", user=alice.address)["nRequestsUsed"] == 6
    assert "duplicate nonce" in refused(desk.send(alice, NOOP, nonce=now + 1))
    assert desk.ask("openOrders", user=alice.address) == []


def test_the_expiry_is_signed(desk: Desk, alice: Trader) -> None:
    payload = alice.payload(NOOP, expires_after=desk.clock.now_ms() + 1000)
    payload["expiresAfter"] += 1
    assert "does not exist" in refused(desk.submit(payload))


def test_the_address_budget_runs_out_and_trading_refills_it() -> None:
    desk = Desk(VenueConfig(liquidity=NO_MAKERS, limits=Limits(address_budget=3)))
    alice, bob = desk.traders
    assert desk.send(alice, orders(order(), order(), order()))["status"] == "ok"
    assert desk.send(alice, NOOP) == OK  # used up: one per 10 s
    text = refused(desk.send(alice, NOOP))
    assert text.startswith("Too many cumulative requests sent (5 > 3) for cumulative volume traded $0. ")
    assert last(desk).spent
    desk.clock.advance(10_000)
    assert desk.send(alice, NOOP) == OK
    desk.place(bob, order(buy=False, px="90000", sz="0.001"))
    limits = desk.ask("userRateLimit", user=alice.address)
    assert limits == {"cumVlm": "90.0", "nRequestsUsed": 5, "nRequestsCap": 93, "nRequestsSurplus": 88}
    assert desk.send(alice, NOOP) == OK


# --- actions without items ------------------------------------------------------------------------------------


def test_schedule_cancel_needs_volume_and_five_seconds(desk: Desk, alice: Trader) -> None:
    def schedule(ahead_ms: int | None) -> dict[str, Any]:
        time = {} if ahead_ms is None else {"time": desk.clock.now_ms() + ahead_ms}
        return desk.send(alice, {"type": "scheduleCancel"} | time)

    assert refused(schedule(6_000)) == (
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $0."
    )
    desk.core.accounts.by_address[alice.address].traded = 1_000_000 * USD
    assert refused(schedule(4_999)) == "Scheduled cancel time too early, must be at least 5 seconds from now."
    stop = {"isMarket": True, "triggerPx": "80000", "tpsl": "sl"}
    desk.place(alice, order(cloid=cloid(1)), order(buy=False, cloid=cloid(2), trigger=stop))
    assert schedule(5_000) == OK
    desk.clock.advance(4_999)
    desk.core.trading.strike_scheduled()
    assert len(desk.ask("openOrders", user=alice.address)) == 2
    desk.clock.advance(1)
    desk.core.trading.strike_scheduled()
    assert desk.ask("openOrders", user=alice.address) == []
    for number in (1, 2):
        found = desk.ask("orderStatus", user=alice.address, oid=cloid(number))
        assert found["order"]["status"] == "scheduledCancel"


def test_schedule_cancel_can_be_disarmed_and_strikes_ten_times_a_day(desk: Desk, alice: Trader) -> None:
    desk.core.accounts.by_address[alice.address].traded = 1_000_000 * USD

    def schedule() -> dict[str, Any]:
        return desk.send(alice, {"type": "scheduleCancel", "time": desk.clock.now_ms() + 5_000})

    assert schedule() == OK
    assert desk.send(alice, {"type": "scheduleCancel"}) == OK
    for _ in range(10):
        desk.clock.advance(6_000)
        desk.core.trading.strike_scheduled()
        assert schedule() == OK
    desk.clock.advance(6_000)
    desk.core.trading.strike_scheduled()
    assert refused(schedule()) == "Scheduled cancel was triggered 10 times today."
    desk.clock.advance(86_400_000)
    assert schedule() == OK


def test_leverage_is_set_within_its_bounds(desk: Desk, alice: Trader) -> None:
    def update(leverage: int, *, asset: int = BTC, cross: bool = True) -> dict[str, Any]:
        return desk.send(alice, {"type": "updateLeverage", "asset": asset, "isCross": cross, "leverage": leverage})

    assert refused(update(0)) == refused(update(41)) == "Invalid leverage value"
    assert refused(update(2, asset=PURR)) == refused(update(2, asset=7)) == "Invalid asset for leverage update."
    assert update(40) == update(3, cross=False) == OK
    desk.place(desk.traders[1], order(buy=False, px="100000", sz="0.01"))
    desk.place(alice, order(px="100000", sz="0.01"))
    shown = desk.ask("clearinghouseState", user=alice.address)["assetPositions"][0]["position"]
    assert (shown["leverage"]["type"], shown["leverage"]["value"]) == ("isolated", 3)
    assert refused(update(3)) == "Cannot switch leverage type with open position."


# --- shape ----------------------------------------------------------------------------------------------------

GOOD = Trader(1).payload(orders(order(cloid=cloid(1))), nonce=1)


def changed(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"action":',
        changed(nonce=-1),
        changed(nonce="1"),
        changed(nonce=2**63),
        changed(signature={}),
        changed(signature={"r": "0x1", "s": "0x1", "v": "27"}),
        changed(signature={"r": "0x1", "s": "0x1", "v": -1}),
        changed(vaultAddress="0x12"),
        changed(expiresAfter=1.5),
        changed(action={"type": "usdSend"}),
        changed(action={"type": "noop", "extra": 1}),
        changed(action=orders(order() | {"x": 1})),
        changed(action=orders(order() | {"p": 90000})),
        changed(action=orders(order() | {"c": "0x12"})),
        changed(action=orders(order() | {"t": {}})),
        changed(action=orders(order() | {"t": {"limit": {"tif": "Fok"}}})),
        changed(action={"type": "modify", "oid": "x", "order": order()}),
    ],
)
def test_what_has_not_the_shape_of_a_signed_action_never_becomes_one(payload: bytes) -> None:
    with pytest.raises(MalformedRequest):
        decode_action(payload)


def test_null_and_missing_optional_fields_are_the_same() -> None:
    bare = {name: value for name, value in GOOD.items() if name not in ("vaultAddress", "expiresAfter")}
    assert decode_action(json.dumps(bare).encode()).claim == decode_action(changed()).claim


def test_every_action_leaves_one_record(desk: Desk, alice: Trader) -> None:
    desk.send(alice, orders(order(cloid=cloid(1)), order(tif="Ioc", cloid=cloid(2))), nonce=desk.clock.now_ms())
    record = last(desk)
    assert (record.action, record.nonce, record.spent, record.error) == ("order", desk.clock.now_ms(), True, None)
    resting, rejected = record.items
    assert (resting.status, resting.cloid, resting.error) == ("resting", cloid(1), None)
    assert (rejected.status, rejected.cloid) == ("error", cloid(2))
    assert rejected.error == "Order could not immediately match against any resting orders. asset=0"
