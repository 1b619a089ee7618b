"""What holds of slots and posts for **any** limit, any number of posts, and any number of connections.

An inductive proof: the invariants hold at the start, and each step keeps them. The steps are the code's own: the real
`PostRequestManager` and `InflightTracker` run, with the rows, guards and effects of their tables, over numbers that are
not known (adapters/verification/symbolic.py); the invariants are the predicates of spec/invariants.py, run over the
same numbers. Nothing of either is written a second time, so a changed row changes the proof.

**Any number of posts.** A step moves one post and the tracker. So one post stands for whichever moves; of the others
only counted is how many are sent and how many quarantined, unknown integers from 0 up. What the code does to many posts
in one go is as many such steps.

**What may come before a step.** The post is at one of the places where a post can be (`PLACES`), with unknown numbers
in all of its fields; the tracker is in each band, with unknown counts. What the invariants forbid is left out, and what
they allow is stepped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import partial
from itertools import product
from typing import Any, Final, TypeAlias

from adapters.verification.symbolic import Unknowns, explore
from machines.catalogue import observing
from machines.errors import InvalidSetting
from machines.inflight import InflightState, InflightTracker
from machines.intent import ActionKind
from machines.post import PostEvent, PostRequest, PostRequestManager, PostState
from machines.session import SessionState
from machines.snapshot import Snapshot
from spec.invariants import INVARIANTS

PROVEN: Final = (
    "InflightNeverNegative",
    "InflightNeverAboveLimit",
    "InflightMatchesSent",
    "VenueInflightWithinLimit",
    "ExactlyOneCompletion",
    "CompletedReleasesOnce",
    "UnsentHoldsNoSlot",
    "SignedNonceIsRegisteredNonce",
)
"""The invariants of spec/invariants.py that are proven here."""
STAYS: Final = "RefusedStepChangesNothing"
ENDS: Final = "SlotCanAlwaysBeGivenBack"
PLACED: Final = "PostIsWhereItsStateSays"
FREED: Final = "OnlyAnswersAndTimeFreeSlots"
RULES: Final = (*PROVEN, STAYS, ENDS, PLACED, FREED)
"""All that is proven: the invariants, and four rules about single steps."""

_PREDICATES: Final = {invariant.id: invariant.check for invariant in INVARIANTS if invariant.id in PROVEN}
_SLOTS: Final = tuple(InflightTracker.__slots__)
_POST_ID: Final = 1

Move: TypeAlias = tuple[Enum, Enum, Enum]
Place: TypeAlias = tuple[PostState | None, bool, int, int, bool]


@dataclass(frozen=True, slots=True)
class Flaw:
    """A way on which the proof fails: what is broken, and the counterexample."""

    rule: str
    detail: str


class System:
    """One post, or none yet; the tracker, the register of posts, and how many other posts there are.

    Attributes:
        run: The unknowns.
        tracker: The slots.
        manager: The register; of all posts it holds the one.
        post: The post.
    """

    def __init__(self, run: Unknowns, place: str) -> None:
        """Bring a post to `place`, in the smallest of worlds; nothing is unknown yet."""
        self.run = run
        self.tracker = InflightTracker(1, 1)
        self.manager = PostRequestManager(self.tracker)
        self.post = PLACES[place](self.manager)

    def unknown(self, name: str) -> Any:
        """An unknown integer; typed as whatever the code wants."""
        return self.run.number(name)

    @property
    def place(self) -> Place:
        """Where the post is: its state, in hand, among the open ones, in quarantine, with a time to leave that."""
        post, manager = self.post, self.manager
        if post is None:
            return None, False, len(manager), manager.quarantined, False
        leaves = post.quarantined_until_ms is not None
        return post.state, manager.in_hand is post, len(manager), manager.quarantined, leaves

    def facts(self) -> dict[str, object]:
        """All that a step may change."""
        found: dict[str, object] = {name: getattr(self.tracker, name) for name in _SLOTS}
        found["place"] = self.place
        if self.post is not None:
            found |= {f"post's {entry.name}": getattr(self.post, entry.name) for entry in fields(self.post)}
        return found

    def flaws(self) -> Iterator[Flaw]:
        """What the invariants say of it now."""
        now = self._snapshot()
        for name, predicate in _PREDICATES.items():
            detail = predicate(now)
            if detail is not None:
                yield Flaw(name, detail)

    @property
    def sound(self) -> bool:
        """Whether all invariants hold; after the first that does not, no other is looked at."""
        return next(self.flaws(), None) is None

    def _snapshot(self) -> Snapshot:
        tracker, manager = self.tracker, self.manager
        return Snapshot(
            inflight=tracker.count,
            quarantined=tracker.quarantined,
            inflight_state=tracker.state,
            limit=tracker.limit,
            high_watermark=tracker.high_watermark,
            open_posts=self.unknown("others sent") + len(manager),
            quarantined_posts=self.unknown("others quarantined") + manager.quarantined,
            items_in_flight=0,
            in_hand=manager.in_hand,
            posts=() if self.post is None else (self.post,),
            intents=(),
            attempts=(),
            unknown_items=0,
            waiting_cancels=0,
            queues={},
            population={},
            halted=False,
            session=SessionState.READY,
            batch_limit=1,
        )


# --------------------------------------------------------------------------------------------------------- places


def _prepare(manager: PostRequestManager) -> PostRequest:
    return manager.prepare(ActionKind.NOOP, None, (), nonce=1, server_time_ms=1)


def _send(manager: PostRequestManager) -> PostRequest:
    _prepare(manager)
    return manager.sent(_POST_ID, signed_nonce=1, epoch=1, now=0)


def _refuse(manager: PostRequestManager) -> PostRequest:
    _prepare(manager)
    return manager.refused(_POST_ID)


def _end(event: PostEvent, manager: PostRequestManager) -> PostRequest:
    post = _send(manager)
    manager.end(post, event, now=0)
    return post


def _end_and_leave(event: PostEvent, manager: PostRequestManager) -> PostRequest:
    post = _end(event, manager)
    manager.expire_quarantine(now=manager.quarantine_ms)
    return post


PLACES: Final[Mapping[str, Callable[[PostRequestManager], PostRequest | None]]] = {
    "nowhere": lambda _: None,
    "in hand": _prepare,
    "sent": _send,
    "unsent": _refuse,
    "acked": partial(_end, PostEvent.ACK),
    "failed": partial(_end, PostEvent.FAIL),
    "timed out, in quarantine": partial(_end, PostEvent.TIME_OUT),
    "timed out, quarantine over": partial(_end_and_leave, PostEvent.TIME_OUT),
    "disconnected, in quarantine": partial(_end, PostEvent.DISCONNECT),
    "disconnected, quarantine over": partial(_end_and_leave, PostEvent.DISCONNECT),
}
"""Every place where a post can be, and how one comes there."""

# ---------------------------------------------------------------------------------------------------------- steps

Step: TypeAlias = Callable[[System], object]


def _is_made(system: System) -> None:
    system.post = _prepare(system.manager)


def _is_recovered(state: PostState, system: System) -> None:
    """A restart takes up a post of the run before."""
    post = PostRequest(_POST_ID, 1, ActionKind.NOOP, None, (), 0, 1, state, epoch=1, signed_nonce=1)
    system.manager.recover(post, system.unknown("now"))
    system.post = post


def _is_written(system: System) -> None:
    system.manager.sent(_POST_ID, system.unknown("signed"), system.unknown("epoch now"), system.unknown("now"))


def _is_answered(system: System) -> None:
    """A reply arrives on some connection: in time, or late."""
    manager, epoch = system.manager, system.unknown("reply's epoch")
    open_post = manager.find(_POST_ID, epoch)
    if open_post is not None:
        manager.end(open_post, PostEvent.ACK, system.unknown("now"))
        return
    late = manager.find_quarantined(_POST_ID, epoch)
    if late is not None:
        manager.answered_late(late)


def _ends(event: PostEvent, system: System) -> None:
    if system.post is not None:
        system.manager.end(system.post, event, system.unknown("now"))


JOINING: Final[Mapping[str, Step]] = {
    "it is made": _is_made,
    "it is recovered, unanswered": partial(_is_recovered, PostState.SENT),
    "it is recovered, answered unclearly": partial(_is_recovered, PostState.FAILED),
}
STEPS: Final[Mapping[str, Step]] = {
    "the socket takes it": _is_written,
    "the socket refuses it": lambda system: system.manager.refused(_POST_ID),
    "a reply arrives": _is_answered,
    **{f"it ends by {event.value}": partial(_ends, event) for event in PostEvent},
    "its deadline may pass": lambda system: system.manager.expire(system.unknown("now")),
    "its quarantine may end": lambda system: system.manager.expire_quarantine(system.unknown("now")),
    "the connection is lost": lambda system: system.manager.disconnect(system.unknown("now")),
}
_ENDINGS: Final = (PostEvent.ACK, PostEvent.FAIL, PostEvent.TIME_OUT, PostEvent.DISCONNECT)
_FORCED: Final[Mapping[str, tuple[str, ...]]] = {
    "in hand": ("the socket refuses it",),
    "sent": (
        *(f"it ends by {event.value}" for event in _ENDINGS),
        "a reply arrives",
        "its deadline may pass",
        "the connection is lost",
    ),
    "timed out, in quarantine": ("a reply arrives", "its quarantine may end"),
    "disconnected, in quarantine": ("a reply arrives", "its quarantine may end"),
}
"""Steps that the world forces on a post at each place: no table may stand in their way."""

_FREEING: Final = (
    "a reply arrives",
    *(f"it ends by {event.value}" for event in (PostEvent.ACK, PostEvent.FAIL)),
    "its quarantine may end",
)
"""After all other steps the venue may still count as many posts as before (finding X3)."""

# --------------------------------------------------------------------------------------------------------- proof


def beginning() -> Iterator[Flaw]:
    """What is broken before anything has happened."""

    def begin(run: Unknowns) -> list[Flaw]:
        system = System(run, "nowhere")
        nothing_else = system.unknown("others sent") == 0 and system.unknown("others quarantined") == 0
        return list(system.flaws()) if nothing_else and _any_settings(system) else []

    for flaws in explore(begin):
        yield from flaws


@dataclass(frozen=True, slots=True)
class Way:
    """One way through one step.

    Attributes:
        place: Where the post was.
        step: What happened.
        flaws: What it broke.
        moves: The table rows that it took: (event, source, target).
    """

    place: str
    step: str
    flaws: tuple[Flaw, ...]
    moves: tuple[Move, ...]


def steps() -> Iterator[Way]:
    """Every way through every step, from everything that the invariants allow."""
    known = {place for name in PLACES for place in explore(partial(_place_of, name=name))}
    for place, band in product(PLACES, InflightState):
        for before in list(explore(partial(_before, place=place, band=band))):
            for name in (JOINING if place == "nowhere" else STEPS) if before is not None else ():
                walk = partial(_walk, place=place, name=name, band=band, known=known)
                yield from explore(walk, start=before or ())


def _place_of(run: Unknowns, name: str) -> Place:
    return System(run, name).place


def _before(run: Unknowns, place: str, band: InflightState) -> tuple[bool, ...] | None:
    """The decisions on a way to something that may come before a step; None on the other ways."""
    return run.decisions if _forget(System(run, place), band) else None


def _walk(run: Unknowns, place: str, name: str, band: InflightState, known: set[Place]) -> Way:
    system = System(run, place)
    _forget(system, band)
    before, occupied = system.facts(), system.tracker.occupied
    moves: list[Move] = []
    try:
        with observing(lambda _, event, source, target: moves.append((event, source, target))):
            {**JOINING, **STEPS}[name](system)
    except Exception as error:
        flaws = _refused(system, place, name, before, error)
    else:
        flaws = list(system.flaws())
        if name not in _FREEING and system.tracker.occupied < occupied:
            flaws.append(Flaw(FREED, "a slot is free that the venue may still count"))
        if system.place not in known:
            flaws.append(Flaw(PLACED, f"it is at {system.place}"))
    example = run.example() if flaws else ""
    told = (Flaw(flaw.rule, f"{flaw.detail}; post {place}, {name}: {example}") for flaw in flaws)
    return Way(place, name, tuple(told), tuple(moves))


def _forget(system: System, band: InflightState) -> bool:
    """Make unknown what was known; False on a way on which settings or invariants do not allow it."""
    post, tracker = system.post, system.tracker
    for entry in fields(post) if post is not None else ():
        value = getattr(post, entry.name)
        if isinstance(value, int) and not isinstance(value, bool) and entry.name != "post_id":
            setattr(post, entry.name, system.unknown(entry.name))
    if not _any_settings(system):
        return False
    tracker.count, tracker.quarantined, tracker.state = system.unknown("sent"), system.unknown("quarantined"), band
    others = system.unknown("others sent") >= 0 and system.unknown("others quarantined") >= 0
    return bool(others) and system.sound


def _any_settings(system: System) -> bool:
    """Set any legal limits and periods; False on a way on which they are not legal."""
    limit, high_watermark = system.unknown("limit"), system.unknown("high watermark")
    timeout, quarantine = system.unknown("timeout"), system.unknown("quarantine time")
    try:
        InflightTracker(limit, high_watermark)
        PostRequestManager(system.tracker, timeout, quarantine)
    except InvalidSetting:
        return False
    system.tracker.limit, system.tracker.high_watermark = limit, high_watermark
    system.manager.timeout_ms, system.manager.quarantine_ms = timeout, quarantine
    return True


def _refused(system: System, place: str, name: str, before: dict[str, object], error: Exception) -> list[Flaw]:
    """A step that is refused must be one that may be, and must change nothing."""
    after = system.facts()
    flaws = [Flaw(STAYS, f"{fact} changes, then {error!r}") for fact in before if not _same(before[fact], after[fact])]
    needless = name in _FORCED.get(place, ())
    if place == "in hand" and name == "the socket takes it":
        has_slot = system.tracker.occupied < system.tracker.limit
        needless = has_slot and bool(system.unknown("signed") == system.unknown("nonce"))
    if needless:
        flaws.append(Flaw(ENDS, f"refused: {error!r}"))
    return flaws


def _same(before: object, after: object) -> bool:
    return before is after or bool(before == after)
