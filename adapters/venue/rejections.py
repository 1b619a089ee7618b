"""Why the venue refuses an order: its texts (protocol.md §9) and the order statuses that go with them."""

from __future__ import annotations

from typing import Final, NamedTuple


class Rejection(NamedTuple):
    """A reason: the error text of the reply, and the status that the order's record gets."""

    text: str
    status: str


TICK: Final = Rejection("Price must be divisible by tick size.", "tickRejected")
MIN_VALUE: Final = Rejection("Order must have minimum value of $10.", "minTradeNtlRejected")
MARGIN: Final = Rejection("Insufficient margin to place order.", "perpMarginRejected")
REDUCE_ONLY: Final = Rejection("Reduce only order would increase position.", "reduceOnlyRejected")
IOC_CANCEL: Final = Rejection("Order could not immediately match against any resting orders.", "iocCancelRejected")
BAD_TRIGGER: Final = Rejection("Invalid TP/SL price.", "badTriggerPxRejected")
NO_LIQUIDITY: Final = Rejection("No liquidity available for market order.", "marketOrderNoLiquidityRejected")
SPOT_BALANCE: Final = Rejection("Order has insufficient spot balance to trade", "insufficientSpotBalanceRejected")
# §3 gives the rule, not the text.
TOO_MANY_OPEN: Final = Rejection("Too many open orders.", "openOrderLimitRejected")


def bad_alo(bbo: str) -> Rejection:
    """A post-only order that would have taken liquidity; `bbo` is `bid@ask`."""
    return Rejection(
        f"Post only order would have immediately matched, bbo was {bbo}.",
        "badAloPxRejected",
    )


# Of a whole batch, before anything of it is looked at by the books (§5, §9): no record, one error for all.
EMPTY_BATCH: Final = "Batch contains no items."
INVALID_ASSET: Final = "Order has invalid asset."
INVALID_PRICE: Final = "Order has invalid price."
INVALID_SIZE: Final = "Order has invalid size."
UNSUPPORTED_GROUPING: Final = "The local venue supports grouping na only."

# Of one item, without a record.
CLOID_IN_USE: Final = "Cloid belongs to an open order."
MISSING_ORDER: Final = "Order was never placed, already canceled, or filled."
CANNOT_MODIFY: Final = "Cannot modify canceled or filled order"
MODIFY_FAILED: Final = "Error placing new order during modify: "
