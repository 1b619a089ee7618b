"""What we send: requests as actions, and frames as text (protocol.md §1, §2, §6).

An action is hashed field by field, so the order of the fields below is part of the protocol. Requests come here in
the canonical form of `Markets.checked`: nothing is validated twice, and a price that is still a `Decimal` is refused
as a mistake of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypedDict

import msgspec

from adapters.hyperliquid.markets import Market, Markets
from adapters.hyperliquid.signing import Signature
from machines.intent import ActionKind, Cancel, Modify, Order, Request

Action: TypeAlias = dict[str, Any]

NOOP_ACTION: Final[Mapping[str, Any]] = {"type": "noop"}
"""Spends its nonce and does nothing else: the fence of settlement (protocol.md §5)."""

_PING: Final = '{"method":"ping"}'
_JSON: Final = msgspec.json.Encoder().encode


class Builder(TypedDict):
    """A builder's fee on the orders of an action.

    `b` is the builder's address, lower-case with `0x`; `f` the fee in tenths of a basis point.
    """

    b: str
    f: int


class UnsendableRequest(TypeError):
    """A request that is not canonical, or of another kind than its action: a mistake of ours, so nothing was made."""


def action_of(
    kind: ActionKind, requests: Sequence[Request], markets: Markets, *, builder: Builder | None = None
) -> Action:
    """The action that carries these requests, one item each, in their order.

    Args:
        kind: The action; all requests are of it (finding B1). A modify travels as `batchModify`, a noop is empty.
        requests: In the canonical form of `Markets.checked`.
        markets: Where the asset ids are found.
        builder: Whose fee the orders pay; only orders can have one.

    Raises:
        UnsendableRequest: A request is of another kind, or not canonical.
        UnknownMarket: A request names a market that is not listed.
    """
    match kind:
        case ActionKind.ORDER:
            orders = [_order(request, markets) for request in requests]
            action: Action = {"type": "order", "orders": orders, "grouping": "na"}
            if builder is not None:
                action["builder"] = {"b": builder["b"], "f": builder["f"]}
            return action
        case ActionKind.CANCEL:
            return {"type": "cancel", "cancels": [_cancel(request, markets) for request in requests]}
        case ActionKind.CANCEL_BY_CLOID:
            return {"type": "cancelByCloid", "cancels": [_cancel_by_cloid(request, markets) for request in requests]}
        case ActionKind.MODIFY:
            return {"type": "batchModify", "modifies": [_modify(request, markets) for request in requests]}
        case ActionKind.NOOP if not requests:
            return dict(NOOP_ACTION)
        case _:
            raise UnsendableRequest(f"no {kind} action carries {len(requests)} requests")


def schedule_cancel_action(time_ms: int | None) -> Action:
    """Cancels all open orders at `time_ms`, at least 5 s ahead (unix ms); None takes the schedule back."""
    return {"type": "scheduleCancel"} if time_ms is None else {"type": "scheduleCancel", "time": time_ms}


def update_leverage_action(market: Market, leverage: int, *, is_cross: bool) -> Action:
    """Sets the leverage of a market, cross or isolated."""
    return {"type": "updateLeverage", "asset": market.asset, "isCross": is_cross, "leverage": leverage}


def post_frame(
    post_id: int,
    action: Mapping[str, Any],
    nonce: int,
    signature: Signature,
    *,
    vault_address: str | None = None,
    expires_after: int | None = None,
) -> str:
    """The text of a post request (protocol.md §2); what is None is left out.

    Args:
        post_id: Comes back in the reply, the only key that does.
        action: The action that was signed.
        nonce: The nonce that was signed, unix ms.
        signature: Over exactly these arguments.
        vault_address: Lower-case with `0x`; None when the signer acts for itself.
        expires_after: Unix ms; None when the action does not expire.
    """
    payload: dict[str, Any] = {"action": action, "nonce": nonce, "signature": signature}
    if vault_address is not None:
        payload["vaultAddress"] = vault_address
    if expires_after is not None:
        payload["expiresAfter"] = expires_after
    request = {"type": "action", "payload": payload}
    return _JSON({"method": "post", "id": post_id, "request": request}).decode()


def ping_frame() -> str:
    """The text that the venue answers with a pong (protocol.md §1)."""
    return _PING


def subscribe_frame(subscription: Mapping[str, Any]) -> str:
    """The text that starts a stream, such as `{"type": "orderUpdates", "user": …}` (protocol.md §1)."""
    return _JSON({"method": "subscribe", "subscription": subscription}).decode()


def _order(request: Request, markets: Markets) -> Action:
    if not isinstance(request, Order):
        raise UnsendableRequest(f"an order is expected here, not {request!r}")
    trigger = request.trigger
    kind: Action
    if trigger is None:
        kind = {"limit": {"tif": request.tif}}
    else:
        price = _text(trigger.price)
        kind = {"trigger": {"isMarket": trigger.is_market, "triggerPx": price, "tpsl": trigger.kind}}
    wire: Action = {
        "a": markets.get(request.market).asset,
        "b": request.side == "buy",
        "p": _text(request.price),
        "s": _text(request.size),
        "r": request.reduce_only,
        "t": kind,
    }
    if request.cloid is not None:
        wire["c"] = request.cloid
    return wire


def _cancel(request: Request, markets: Markets) -> Action:
    if not isinstance(request, Cancel) or request.oid is None:
        raise UnsendableRequest(f"a cancel by oid is expected here, not {request!r}")
    return {"a": markets.get(request.market).asset, "o": request.oid}


def _cancel_by_cloid(request: Request, markets: Markets) -> Action:
    if not isinstance(request, Cancel) or request.cloid is None:
        raise UnsendableRequest(f"a cancel by cloid is expected here, not {request!r}")
    return {"asset": markets.get(request.market).asset, "cloid": request.cloid}


def _modify(request: Request, markets: Markets) -> Action:
    target = (request.oid if request.cloid is None else request.cloid) if isinstance(request, Modify) else None
    if not isinstance(request, Modify) or target is None:
        raise UnsendableRequest(f"a modify by oid or cloid is expected here, not {request!r}")
    return {"oid": target, "order": _order(request.order, markets)}


def _text(number: Decimal | str) -> str:
    if not isinstance(number, str):
        raise UnsendableRequest(f"{number!r} is no wire string; pass the request through Markets.checked first")
    return number
