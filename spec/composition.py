"""How the machines drive each other: which event of one brings about which event of another, in the same step.

The table is read by people (the composed diagram) and by TLC (adapters/verification/tla_tables.py writes from it which
event of a recorded run may cause which moves). It drives nothing itself; the code does, and recorded runs are held
against this table: every move has a cause here that stands in the same step, and every row here was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Drive:
    """One event that brings about another.

    Attributes:
        cause: An event of the core (machines/events.py), or `machine.event`.
        effect: `machine.event`.
        when: Under which condition, or for which items; empty for always.
    """

    cause: str
    effect: str
    when: str = ""


DRIVES: Final = (
    # What the strategy or the operator says.
    Drive("Submit", "intent.enqueue", "admitted to its queue"),
    Drive("Submit", "intent.cancel", "a cancel of an order that is still queued here: it is done at once"),
    Drive("Submit", "intent.drop", "that order, which was never sent"),
    Drive("Submit", "hard_stop.trip", "the reduce-only queue is full"),
    Drive("StopTripped", "hard_stop.trip"),
    Drive("StopReset", "hard_stop.reset"),
    Drive("DrainStarted", "session.drain"),
    Drive("Closed", "session.close"),
    # What the clock says.
    Drive("Tick", "settlement.fence", "an unknown attempt, a free slot, no cancel waiting"),
    Drive("Tick", "hard_stop.trip", "no nonce is inside the venue's window"),
    Drive("TimePassed", "post.time_out", "sent, and not answered in time"),
    Drive("TimePassed", "inflight.clear", "the quarantine's time is over"),
    Drive("TimePassed", "settlement.spend", "no fence can prove anything, and the action has surely expired"),
    # What became of handing a frame to the socket.
    Drive("PostWritten", "post.send"),
    Drive("SendRefused", "post.refuse", "before any byte left"),
    Drive("SendBroken", "post.send", "the frame may be out, so it counts as sent"),
    Drive("SendBroken", "post.disconnect"),
    # What the connection says.
    Drive("ConnectStarted", "session.connect"),
    Drive("ConnectionOpened", "session.open"),
    Drive("ConnectionLost", "session.lose"),
    Drive("ServerTimeLearned", "session.synced", "the last thing that was not known"),
    Drive("ServerTimeLearned", "hard_stop.trip", "the clock drifted by more than 5 s"),
    Drive("MarketsLoaded", "session.synced", "the last thing that was not known"),
    # What the venue says.
    Drive("ReplyReceived", "post.ack", "the venue took the action"),
    Drive("ReplyReceived", "post.fail", "it refused the action, or the answer can't be read"),
    Drive("ErrorReceived", "post.fail", "the error names the post"),
    Drive("ReplyReceived", "inflight.clear", "late: the post was in quarantine"),
    Drive("ErrorReceived", "inflight.clear", "late: the post was in quarantine"),
    Drive("ReplyReceived", "settlement.answer", "late: the attempt's own reply"),
    Drive("ReplyReceived", "settlement.refuse", "late: a refusal that proves that it never ran"),
    Drive("ErrorReceived", "settlement.refuse", "late: a refusal that proves that it never ran"),
    Drive("ReplyReceived", "settlement.spend", "late: its nonce is spent, or an earlier fence's answer says so"),
    Drive("ReplyReceived", "settlement.fence_won", "late: the answer to an earlier fence"),
    Drive("OrderSeen", "intent.rest", "the order stream comes first"),
    Drive("OrderSeen", "intent.fill", "the order stream comes first"),
    Drive("OrderSeen", "intent.reject", "the order stream comes first"),
    Drive("OrderSeen", "intent.cancel", "the order stream comes first"),
    Drive("OrderSeen", "settlement.find", "the attempt's last open item"),
    Drive("FillSeen", "settlement.spend", "a trade of an unknown order: it ran"),
    Drive("LookedUp", "intent.rest", "the venue has a record of it"),
    Drive("LookedUp", "intent.fill", "the venue has a record of it"),
    Drive("LookedUp", "intent.reject", "the venue has a record of it"),
    Drive("LookedUp", "intent.cancel", "the venue has a record of it"),
    Drive("LookedUp", "intent.abandon", "no record of it, surely: a new order, or one that is wanted no more"),
    Drive("LookedUp", "intent.return_", "no record of it, surely: reduce-only, or its order rests"),
    Drive("LookedUp", "settlement.find", "every item has its fate"),
    Drive("LookedUp", "settlement.miss", "no item left a record"),
    # What an earlier run left.
    Drive("Recovered", "inflight.acquire", "the slot of an unanswered post"),
    Drive("Recovered", "post.disconnect", "a post that was still called sent"),
    Drive("Recovered", "intent.drop", "what was never sent: a stale order is not sent by itself"),
    # Post: the only owner of its slot, and of its items while they travel.
    Drive("post.send", "inflight.acquire"),
    Drive("post.send", "intent.post", "each item"),
    Drive("post.refuse", "intent.drop", "new orders; cancels and reduce-only orders keep their place in the queue"),
    Drive("post.refuse", "settlement.fence_lost", "it was a fence"),
    Drive("post.ack", "inflight.release"),
    Drive("post.ack", "intent.rest", "each item by its own status"),
    Drive("post.ack", "intent.fill", "each item by its own status"),
    Drive("post.ack", "intent.reject", "each item by its own status"),
    Drive("post.ack", "intent.cancel", "each item by its own status"),
    Drive("post.ack", "intent.wait", "a cancel of a missing order, while that order's fate is not known"),
    Drive("post.ack", "intent.return_", "a cancel that overtook its order, which rests"),
    Drive("post.ack", "intent.lose", "a cancel that was lost before, and is refused now"),
    Drive("post.ack", "settlement.fence_won", "the fence won: the attempt never ran"),
    Drive("post.ack", "session.synced", "the noop proved the key: the last thing that was not known"),
    Drive("post.ack", "hard_stop.trip", "too many rejections in a row that are not benign"),
    Drive("post.fail", "inflight.release"),
    Drive("post.fail", "intent.reject", "a refusal by the exchange is each item's"),
    Drive("post.fail", "intent.abandon", "proven never to have run: new orders"),
    Drive(
        "post.fail", "intent.return_", "proven never to have run: cancels and reduce-only orders go back to their place"
    ),
    Drive("post.fail", "intent.lose", "the answer does not tell if the action ran"),
    Drive("post.fail", "intent.wait", "a cancel that was lost before, while its order's fate is not known"),
    Drive("post.fail", "settlement.spend", "the nonce is spent, by this post or a fence"),
    Drive("post.fail", "settlement.fence_lost", "the answer to a fence proves nothing"),
    Drive("post.fail", "hard_stop.trip", "too many rejections in a row that are not benign"),
    Drive("post.time_out", "inflight.quarantine"),
    Drive("post.time_out", "intent.lose", "orders and modifies: their fate is unknown, reduce-only ones too"),
    Drive("post.time_out", "intent.return_", "cancels: sending them again does no harm"),
    Drive("post.time_out", "settlement.fence_lost", "it was a fence"),
    Drive("post.disconnect", "inflight.quarantine"),
    Drive("post.disconnect", "intent.lose", "orders and modifies: their fate is unknown, reduce-only ones too"),
    Drive("post.disconnect", "intent.return_", "cancels: sending them again does no harm"),
    Drive("post.disconnect", "settlement.fence_lost", "it was a fence"),
    # Session and hard stop.
    Drive("session.lose", "post.disconnect", "every post that is sent; what is queued stays queued"),
    Drive("session.lose", "intent.drop", "while shutting down"),
    Drive("session.drain", "intent.drop", "new orders; everything, if there is no connection"),
    Drive("session.close", "post.disconnect", "every post that is sent"),
    Drive("session.close", "intent.drop", "what still waits"),
    Drive("hard_stop.trip", "intent.drop", "queued new orders"),
    # Settlement: what it proves, its items get.
    Drive("settlement.fence_won", "intent.abandon", "new orders, or ones that are wanted no more"),
    Drive("settlement.fence_won", "intent.return_", "reduce-only orders go back to their place in the queue"),
    Drive("settlement.fence_won", "session.synced", "the last thing of an earlier run"),
    Drive("settlement.answer", "intent.rest", "each item by its own status"),
    Drive("settlement.answer", "intent.fill", "each item by its own status"),
    Drive("settlement.answer", "intent.reject", "each item by its own status"),
    Drive("settlement.refuse", "intent.abandon", "new orders, or ones that are wanted no more"),
    Drive("settlement.refuse", "intent.return_", "reduce-only orders go back to their place in the queue"),
    Drive("settlement.refuse", "intent.reject", "refused by the exchange"),
    Drive("settlement.find", "session.synced", "the last thing of an earlier run"),
    Drive("settlement.miss", "session.synced", "the last thing of an earlier run"),
    # Intent: cancels that waited for the fate of their order.
    Drive("intent.rest", "intent.return_", "cancels that waited: the order rests, so again"),
    Drive("intent.fill", "intent.reject", "cancels that waited: the order is gone"),
    Drive("intent.reject", "intent.return_", "cancels that waited and may have run: again"),
    Drive("intent.abandon", "intent.return_", "cancels that waited and may have run: again"),
    Drive("intent.abandon", "intent.reject", "cancels that waited: the order is gone"),
)
"""First the events of the core, then those of the machines."""
