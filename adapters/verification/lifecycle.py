"""The part of the executor that `code` and TLC both count: spec/Lifecycle.tla, and the same of the real core.

Queues, priorities, the watermark, slots, quarantine, connections; no settlement, because no order is ever lost here.
Cancels are lost, and go out again. Bounds: limit 2, watermark 1, `EPOCHS` connections, the `REQUESTS` in this order.

**Variables.** `view` projects a state of the real core, with its world, on the variables of the module:

* `submitted`: how many requests were submitted;
* `state`: of each request, whether it was refused, is queued, posted (carried by a post that is open), or done;
* `answerable`, `old`: how many posts are quarantined of the latest connection, and of those before;
* `connected`, `epoch`: whether there is a connection, and how many there were.

The module's `inflight` is the number of requests that are posted, which is one of its invariants.

**Actions.** The module's are the world's, the network's moves apart: `Submit` (submit), `Send` (tick), `Answer` (a
reply arrives at its open post), `LateAnswer` (at its quarantined one), `Time`, `Lose` and `Connect`.
A step of time is as long as a post's patience and its quarantine are: what was sent before it times out with it, and
what was quarantined before it leaves. The network (frames and replies on their way) is in the world only: it says when
a reply can come, and since that is any time from the sending on, it takes no state away.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from adapters.verification.world import Fault, Scenario, World
from machines.batch import QueueLimits
from machines.intent import INTENT, Cancel, IntentState, Order
from machines.settings import CoreSettings

EPOCHS: Final = 2
STEP_MS: Final = 3_000
STATES: Final = 494
"""Distinct states, pinned; TLC's count for spec/Lifecycle.tla, too."""

REQUESTS: Final = (
    Cancel(market="BTC", oid=1),
    Order(market="BTC", side="buy", size="1", price="400", cloid=f"0x{1:032x}"),
    Order(market="BTC", side="sell", size="1", price="400", cloid=f"0x{2:032x}", reduce_only=True),
    Cancel(market="BTC", oid=2),
)

LIFECYCLE: Final = Scenario(
    name="the common sub-model",
    requests=REQUESTS,
    settings=CoreSettings(
        inflight_limit=2,
        high_watermark=1,
        post_timeout_ms=STEP_MS,
        quarantine_ms=STEP_MS,
        expires_after_ms=None,
        queues=QueueLimits(batch=1),
    ),
    grain_ms=STEP_MS,
    faults={Fault.LOSS: EPOCHS - 1},
    fates=("rests",),
    orders_get_lost=False,
)

View: TypeAlias = tuple[int, tuple[str, ...], int, int, bool, int]


def view(world: World) -> View:
    """The variables of spec/Lifecycle.tla, of a state of the real core."""
    states = {intent.request: intent.state for intent in world.intents.values()}
    session, posts = world.core.session, world.core.posts
    answerable = sum(posts.find_quarantined(post_id, session.epoch) is not None for post_id in range(posts.last_id + 1))
    return (
        world.submitted,
        tuple(_word(states.get(request)) for request in REQUESTS[: world.submitted]),
        answerable,
        posts.quarantined - answerable,
        session.connected,
        session.epoch,
    )


def _word(state: IntentState | None) -> str:
    if state is None:
        return "refused"
    return "done" if state in INTENT.final else state.value
