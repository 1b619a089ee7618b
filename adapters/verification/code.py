"""Level `code`: exhaustive search over the real `ExecutorCore`, in scenarios small enough to be searched to the end.

Each scenario bounds what can happen (adapters/verification/world.py); within its bounds every order of events is tried.
In every state all invariants of spec/invariants.py hold, the venue's truth agrees with what the owner was told, and a
settled end can be reached. That a search saw something is checked as well: the count of its states is pinned, so that a
silent change is noticed, and together the scenarios take every row of every table and meet everything in `SOMETIMES`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Final

from adapters.verification import lifecycle
from adapters.verification.level import Check, CheckFailed, Options, check
from adapters.verification.search import Found, Move, Search, SearchFailed
from adapters.verification.world import Deed, Fault, Scenario
from machines.batch import QueueLimits
from machines.catalogue import MACHINES
from machines.intent import Cancel, Canceled, Filled, NotExecuted, Order, Rejected, Request, Resting
from machines.post import POST
from machines.settings import CoreSettings

_STEP_MS: Final = 3_000
_NEW: Final = Order(market="BTC", side="buy", size="1", price="400", cloid=f"0x{1:032x}")
_REDUCE: Final = Order(market="BTC", side="sell", size="1", price="400", cloid=f"0x{2:032x}", reduce_only=True)
_CANCEL_NEW: Final = Cancel(market="BTC", cloid=_NEW.cloid)
_CANCEL_REDUCE: Final = Cancel(market="BTC", cloid=_REDUCE.cloid)


def _cancels(count: int) -> tuple[Cancel, ...]:
    return tuple(Cancel(market="BTC", oid=oid) for oid in range(1, count + 1))


def _settings(limit: int = 2, high_watermark: int | None = None) -> CoreSettings:
    """Patience and quarantine are one step of time each, the alarm comes with the first one, and nothing expires."""
    return CoreSettings(
        inflight_limit=limit,
        high_watermark=high_watermark or limit,
        post_timeout_ms=_STEP_MS,
        quarantine_ms=_STEP_MS,
        expires_after_ms=None,
        settlement_alarm_ms=1,
        queues=QueueLimits(batch=1),
    )


def _scenario(name: str, *requests: Request, **bounds: Any) -> Scenario:
    return Scenario(name=name, requests=requests, **{"settings": _settings(), "grain_ms": _STEP_MS, **bounds})


_RESTS: Final = ("rests",)
_ONE_SLOT: Final = _settings(limit=1)
_SHUT_DOWN: Final = (Deed.DRAIN, Deed.CLOSE)

PINNED: Final[tuple[tuple[Scenario, int], ...]] = (
    (_scenario("an order, two connections", _NEW, faults={Fault.LOSS: 1}), 2750),
    (_scenario("a reduce-only order, two connections", _REDUCE, faults={Fault.LOSS: 1}, fates=_RESTS), 2322),
    (_scenario("an order and its cancel", _NEW, _CANCEL_NEW, fates=_RESTS), 5493),
    (_scenario("a reduce-only order and its cancel, one slot", _REDUCE, _CANCEL_REDUCE, settings=_ONE_SLOT), 1999),
    (_scenario("an order and a reduce-only order, one slot", _NEW, _REDUCE, settings=_ONE_SLOT, fates=_RESTS), 2038),
    (_scenario("the gate refuses an order", _NEW, faults={Fault.GATE: 1, Fault.GATEWAY: 1}, fates=_RESTS), 2896),
    (_scenario("the gate refuses a reduce-only order", _REDUCE, faults={Fault.GATE: 1}, fates=_RESTS), 1308),
    (
        _scenario(
            "frames and replies come twice",
            _NEW,
            settings=_ONE_SLOT,
            faults={Fault.TWICE: 1, Fault.REPEATED: 1},
            fates=_RESTS,
        ),
        1596,
    ),
    (_scenario("the socket fails an order", _NEW, faults={Fault.REFUSED: 1, Fault.BROKEN: 1}, fates=_RESTS), 2117),
    (_scenario("the socket fails a reduce-only order", _REDUCE, faults={Fault.REFUSED: 1}, fates=_RESTS), 839),
    (_scenario("order stream and failing look-ups", _NEW, faults={Fault.LOOK_UP: 1}, streams=True), 1195),
    (
        _scenario("the session, step by step", faults={Fault.LOSS: 1}, deeds=_SHUT_DOWN, step_by_step=True),
        1252,
    ),
    (
        _scenario("a hard stop", _NEW, settings=_ONE_SLOT, deeds=(Deed.HALT, Deed.HALT, Deed.RESET), fates=_RESTS),
        412,
    ),
    (_scenario("a shutdown", _NEW, _CANCEL_NEW, settings=_ONE_SLOT, deeds=_SHUT_DOWN, fates=_RESTS), 4111),
    *(
        (
            _scenario(f"limit {limit}, watermark {mark}", *_cancels(min(limit, 2)), settings=_settings(limit, mark)),
            states,
        )
        for limit, mark, states in ((1, 1, 11), (2, 1, 128), (3, 1, 180), (3, 2, 180), (3, 3, 180))
    ),
)
"""The scenarios, with the distinct states of each."""


SOMETIMES: Final = frozenset(
    {
        *(f"outcome {kind.__name__}" for kind in (Resting, Filled, Rejected, Canceled, NotExecuted)),
        *(f"post {state.value}" for state in POST.final),
        "admission queued",
        "admission queued_degraded",
        "admission halted",
        "admission not_ready",
        "the limit is reached",
        "an intent is unknown",
        "settled by its fence won: it never ran and never can",
        "settled by the venue's record",
        "settled by its own late reply",
        "settled by the order stream",
        "an intent is left to the next run",
        "a reply comes for no open post",
        "the hard stop trips",
    }
)
"""What has to happen in one scenario at least, or the checks passed because nothing happened."""


def run_code(_: Options) -> Iterator[Check]:
    """One check for each scenario, on all processors, then those over all of them."""
    together = Found()
    # Forked, so that the machines searched are the ones that are loaded here.
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        for done, found in pool.map(_searched_alone, range(len(PINNED) + 1)):
            together.seen.update(found.seen)
            together.moves |= found.moves
            yield done
    yield check("every row of every table is taken", lambda: _every_row(together.moves))
    yield check("everything notable happens", lambda: _everything_notable(together.seen))


def _searched_alone(place: int) -> tuple[Check, Found]:
    """The check of one scenario, the last of them the common sub-model, and what was seen in it."""
    found = Found()
    if place == len(PINNED):
        return check(lifecycle.LIFECYCLE.name, partial(_explore_lifecycle, found)), found
    scenario, states = PINNED[place]
    return check(scenario.name, partial(_explore, scenario, states, found)), found


def _explore(scenario: Scenario, states: int, together: Found) -> str:
    found = _searched(Search(scenario), together)
    _compare(found.states, states)
    return _told(found)


def _explore_lifecycle(together: Found) -> str:
    found = _searched(Search(lifecycle.LIFECYCLE, lifecycle.view), together)
    _compare(len(found.views), lifecycle.STATES)
    return f"{_told(found)}; {len(found.views)} as spec/Lifecycle.tla sees them"


def _searched(search: Search, together: Found) -> Found:
    try:
        found = search.run()
    except SearchFailed as failure:
        raise CheckFailed(str(failure)) from failure
    together.seen.update(found.seen)
    together.moves |= found.moves
    return found


def _compare(found: int, pinned: int) -> None:
    if found != pinned:
        raise CheckFailed(
            f"{found} distinct states, {pinned} are pinned: if the machines were changed on purpose, see why the count "
            "changed, and pin it anew in adapters/verification"
        )


def _told(found: Found) -> str:
    return f"{found.states} states, {found.steps} steps, at most {found.depth} deep, {found.settled} settled ends"


def _every_row(moves: set[Move]) -> str:
    rows = [(row.event, row.source, row.target) for machine in MACHINES for row in machine.table]
    missed = [
        f"{event.value} from {source.value} to {target.value}"
        for event, source, target in rows
        if (event, source, target) not in moves
    ]
    if missed:
        raise CheckFailed(f"never taken: {', '.join(missed)}")
    return f"{len(rows)} rows"


def _everything_notable(seen: Counter[str]) -> str:
    missed = SOMETIMES - set(seen)
    if missed:
        raise CheckFailed(f"never seen: {', '.join(sorted(missed))}")
    return f"{len(SOMETIMES)} things, the rarest {min(seen[what] for what in SOMETIMES)} times"
