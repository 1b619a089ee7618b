"""Signed actions as they arrive: their shape, and what of an order can be judged without looking at the books.

An action is kept in its own field order, because that is what was hashed and signed, and decoded into the types
below, which allow exactly the fields of protocol.md §6. What does not fit them never becomes an action.

Pre-validation (§5, §9) judges a whole batch by what was sent alone, and one bad item refuses all of it: an empty
batch, an unknown asset, a price or size that is no canonical positive decimal or has too many decimals. Too many
significant figures are the one matter of tick size that is left to the item (`Price must be divisible by tick
size.`), so that a client meets both kinds of answer; which of the two the venue gives when is not established.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec

from adapters.venue import rejections
from adapters.venue.accounts import Account
from adapters.venue.markets import Market, Universe
from adapters.venue.orders import Order, Tif, Trigger
from adapters.venue.units import parse_units, significant_figures
from adapters.venue.verifying import Claim

_MAX_FIGURES: Final = 5

_U64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Asset = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Cloid = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{32}$")]
_Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]


class _Wire(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Base of what may be in an action."""


class LimitType(_Wire):
    """How long an order stays."""

    tif: Tif


class TriggerType(_Wire, rename="camel"):
    """What an order waits for."""

    is_market: bool
    trigger_px: str
    tpsl: Literal["tp", "sl"]


class OrderType(_Wire):
    """Exactly one of the two."""

    limit: LimitType | None = None
    trigger: TriggerType | None = None

    def __post_init__(self) -> None:
        """Refuse neither and both.

        Raises:
            ValueError: msgspec turns it into its `ValidationError`.
        """
        if (self.limit is None) == (self.trigger is None):
            raise ValueError("an order type is either limit or trigger")


class OrderWire(_Wire):
    """One order: asset, side, price, size, reduce-only, type, cloid."""

    a: _Asset
    b: bool
    p: str
    s: str
    r: bool
    t: OrderType
    c: _Cloid | None = None


class CancelWire(_Wire):
    """One cancel by oid."""

    a: _Asset
    o: _U64


class CancelByCloidWire(_Wire):
    """One cancel by cloid."""

    asset: _Asset
    cloid: _Cloid


class ModifyWire(_Wire):
    """One modify."""

    oid: _U64 | _Cloid
    order: OrderWire


class BuilderWire(_Wire):
    """A builder and its fee; accepted and without effect, as nothing costs a fee here."""

    b: _Address
    f: _U64


class OrderAction(_Wire, tag="order", tag_field="type"):
    """Places orders."""

    orders: list[OrderWire]
    grouping: Literal["na", "normalTpsl", "positionTpsl"]
    builder: BuilderWire | None = None


class CancelAction(_Wire, tag="cancel", tag_field="type"):
    """Cancels orders by oid."""

    cancels: list[CancelWire]


class CancelByCloidAction(_Wire, tag="cancelByCloid", tag_field="type"):
    """Cancels orders by cloid."""

    cancels: list[CancelByCloidWire]


class ModifyAction(_Wire, tag="modify", tag_field="type"):
    """Replaces one order."""

    oid: _U64 | _Cloid
    order: OrderWire


class BatchModifyAction(_Wire, tag="batchModify", tag_field="type"):
    """Replaces orders."""

    modifies: list[ModifyWire]


class NoopAction(_Wire, tag="noop", tag_field="type"):
    """Uses its nonce up."""


class ScheduleCancelAction(_Wire, tag="scheduleCancel", tag_field="type"):
    """Arms the dead man's switch, or disarms it."""

    time: _U64 | None = None


class UpdateLeverageAction(_Wire, tag="updateLeverage", tag_field="type", rename="camel"):
    """Sets the leverage of a market."""

    asset: _Asset
    is_cross: bool
    leverage: _U64


Action: TypeAlias = (
    OrderAction
    | CancelAction
    | CancelByCloidAction
    | ModifyAction
    | BatchModifyAction
    | NoopAction
    | ScheduleCancelAction
    | UpdateLeverageAction
)


class SignatureWire(_Wire):
    """A signature; `v` is a number."""

    r: str
    s: str
    v: Annotated[int, msgspec.Meta(ge=0, le=255)]


class _Envelope(msgspec.Struct, rename="camel", gc=False):
    action: msgspec.Raw
    nonce: _U64
    signature: SignatureWire
    vault_address: _Address | None = None
    expires_after: _U64 | None = None


class SignedAction(NamedTuple):
    """An action, and what its signature is said to cover."""

    action: Action
    claim: Claim

    @property
    def items(self) -> int:
        """How many items it counts for."""
        action = self.action
        if isinstance(action, OrderAction):
            return max(1, len(action.orders))
        if isinstance(action, CancelAction | CancelByCloidAction):
            return max(1, len(action.cancels))
        return max(1, len(action.modifies)) if isinstance(action, BatchModifyAction) else 1


class MalformedRequest(ValueError):
    """A request that is not JSON, or not of the shape of protocol.md §6; the message says where."""


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_ACTION: Final = msgspec.json.Decoder(Action)


def decode_action(payload: bytes | msgspec.Raw) -> SignedAction:
    """Read the body of `POST /exchange`, or the payload of an action post.

    Raises:
        MalformedRequest: It has not the shape of a signed action.
    """
    try:
        envelope = _ENVELOPE.decode(payload)
        signature = envelope.signature
        claim = Claim(
            bytes(envelope.action),
            envelope.nonce,
            signature.r,
            signature.s,
            signature.v,
            envelope.vault_address,
            envelope.expires_after,
        )
        return SignedAction(_ACTION.decode(envelope.action), claim)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequest(str(error)) from error


class Draft(NamedTuple):
    """An order that passed pre-validation.

    Attributes:
        order: Without an oid yet.
        on_tick: Whether price and trigger price have few enough significant figures.
    """

    order: Order
    on_tick: bool


def draft(wire: OrderWire, account: Account, universe: Universe) -> Draft | str:
    """The order that an item asks for, or the pre-validation error that refuses its whole batch."""
    market = universe.by_asset.get(wire.a)
    if market is None:
        return rejections.INVALID_ASSET
    px = parse_units(wire.p, market.px_decimals)
    if not px:
        return rejections.INVALID_PRICE
    sz = parse_units(wire.s, market.sz_decimals)
    if not sz:
        return rejections.INVALID_SIZE
    on_tick = significant_figures(wire.p) <= _MAX_FIGURES
    tif: Tif = "Gtc"
    trigger = None
    if wire.t.limit is not None:
        tif = wire.t.limit.tif
    elif wire.t.trigger is not None:
        trigger = _trigger(wire.t.trigger, market)
        if trigger is None:
            return rejections.INVALID_PRICE
        on_tick = on_tick and significant_figures(wire.t.trigger.trigger_px) <= _MAX_FIGURES
    order = Order(
        account=account,
        market=market,
        is_buy=wire.b,
        px=px,
        sz=sz,
        tif=tif,
        reduce_only=wire.r,
        cloid=None if wire.c is None else wire.c.lower(),
        trigger=trigger,
    )
    return Draft(order, on_tick)


def _trigger(wire: TriggerType, market: Market) -> Trigger | None:
    px = parse_units(wire.trigger_px, market.px_decimals)
    return Trigger(px, is_market=wire.is_market, kind=wire.tpsl) if px else None
