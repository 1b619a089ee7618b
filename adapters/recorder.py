"""Between the core and the journal: steps as records, and records as what a restart takes up.

Steps are noted one by one and written together, just before something of them takes effect outside. A row is written
once, as it stands after the last of them.

Nothing is decided here. What the core did in a step becomes one `Step` with the rows that it changed; what the journal
kept of an earlier run becomes one `Recovered` event (settlement.md, rules 1, 3 and 15).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from msgspec import convert, to_builtins
from msgspec.structs import replace

from adapters.journal import Changes, IntentRow, Journal, Move, PostRow, Recovered, Step
from adapters.journal.rows import as_json
from adapters.outcomes import outcome_from
from machines import events as ev
from machines.catalogue import MACHINES
from machines.clock import Clock
from machines.executor import ExecutorCore
from machines.intent import INTENT, ActionKind, Cancel, Intent, IntentState, Modify, Order, Priority, Request, Trigger
from machines.post import POST, PostRequest, PostState
from machines.settlement import SETTLEMENT, Attempt
from machines.table import StateMachine

BEGAN: Final = "Began"
"""The first step of every run; it is no event of the core."""


class Recorder:
    """Records the steps of one core.

    Attributes:
        journal: Where they go.
    """

    def __init__(self, core: ExecutorCore, journal: Journal, clock: Clock, recorded: int = 0) -> None:
        """Record the steps of `core`; `recorded` of its run are in the journal already."""
        self.journal = journal
        self._core = core
        self._clock = clock
        self._watching = _Watching()
        self._steps: list[Step] = []  # noted, and not written yet; with what they moved
        self._intents: list[Intent] = []
        self._posts: list[PostRequest] = []
        self._next = recorded  # the number of the next step
        self._handed: int | None = None
        self._attempts: dict[int, Attempt] = {}  # of open posts; that includes settled ones in quarantine

    def begin(self, run_id: int, earlier: Recovered) -> None:
        """Write what the core began with, as the first step: all that a replay needs beside the events.

        Raises:
            JournalError: It is not recorded, and nothing more will be.
        """
        facts = {
            "settings": self._core.settings,
            "run_id": f"{run_id:016x}",
            "last_nonce": earlier.last_nonce,
            "last_post_id": earlier.last_post_id,
            "last_seq": earlier.last_intent_seq,
        }
        self._note_step(BEGAN, facts, ())
        self.commit()

    def watching(self) -> AbstractContextManager[None]:
        """Note the transitions of the step inside."""
        return self._watching

    def record(self, event: ev.Event, effects: Sequence[ev.Effect]) -> None:
        """Note the step that `event` caused; it is written with the next `commit`."""
        core = self._core
        kind = type(event)
        cause = self._handed if kind in _HAND_OVER else None
        self._note_step(kind.__name__, facts_of(event), tuple([_asked(effect) for effect in effects]), cause)
        if core.posts.in_hand is not None:
            self._handed = self._next - 1
        self._intents += core.intents.moved
        self._posts += core.moved_posts
        for attempt in core.settler.moved:
            self._attempts[attempt.post.post_id] = attempt
            self._posts.append(attempt.post)

    @property
    def pending(self) -> bool:
        """Whether steps are noted that are not written yet."""
        return bool(self._steps)

    def commit(self) -> None:
        """Write the steps that were noted: before a frame leaves, before an outcome is told.

        Raises:
            JournalError: They are not recorded, and nothing more will be.
        """
        if not self._steps:
            return
        intents, posts = dict.fromkeys(self._intents), dict.fromkeys(self._posts)  # each once
        changes = Changes((*map(intent_row, intents),), (*map(self._post_row, posts),))
        steps, self._steps = self._steps, []
        self._intents.clear()
        self._posts.clear()
        self.journal.append(steps, changes)

    def _note_step(
        self, event: str, facts: dict[str, Any], effects: tuple[dict[str, Any], ...], cause: int | None = None
    ) -> None:
        step = Step(
            seq=self._next,
            unix_ms=self._clock.now_ms(),
            monotonic_ms=self._clock.monotonic_ms(),
            event=event,
            facts=facts,
            moves=tuple(self._watching.moves),
            effects=effects,
            cause=cause,
        )
        self._steps.append(step)
        self._next += 1

    def _post_row(self, post: PostRequest) -> PostRow:
        row = post_row(post, self._attempts.get(post.post_id))
        if not row.open:  # and so not written again
            self._attempts.pop(post.post_id, None)
        return row


class _Watching(AbstractContextManager[None]):
    """Notes the transitions of one step after the other.

    Attributes:
        moves: Those of the last step.
    """

    def __init__(self) -> None:
        self.moves: list[Move] = []
        self._observer = self._note  # one and the same object, each time

    def __enter__(self) -> None:
        self.moves.clear()
        StateMachine.observers.append(self._observer)

    def __exit__(self, *_: object) -> None:
        StateMachine.observers.remove(self._observer)

    def _note(self, obj: Any, event: Enum, source: Enum, target: Enum) -> None:
        machine, key_of = _MACHINE_OF[type(event)]
        self.moves.append(Move(machine, key_of(obj), event._value_, source._value_, target._value_))


_KEY_OF: Final[dict[str, Callable[[Any], int]]] = {
    INTENT.name: attrgetter("seq"),
    POST.name: attrgetter("post_id"),
    SETTLEMENT.name: attrgetter("post.post_id"),
}
"""Which one of its kind an object is; of the others there is one each."""
_MACHINE_OF: Final[dict[type[Enum], tuple[str, Callable[[Any], int]]]] = {
    machine.events: (machine.name, _KEY_OF.get(machine.name, lambda _: 0)) for machine in MACHINES
}
_HAND_OVER: Final = frozenset({ev.PostWritten, ev.SendRefused, ev.SendBroken})


def facts_of(event: ev.Event) -> dict[str, Any]:
    """The fields of an event; what a recovered run hands over is written whole, because nothing else of it is here."""
    if type(event) is not ev.Recovered:
        return as_json(event)
    # As it was handed over: the step has moved it since.
    return {
        "posts": [
            {
                "row": to_builtins(replace(post_row(post, None), state=_state_taken_up(post).value)),
                "items": [_handed(item, IntentState.UNKNOWN) for item in post.items],
            }
            for post in event.posts
        ],
        "never_sent": [_handed(item, IntentState.QUEUED) for item in event.never_sent],
        "lost_cancels": [_handed(item, IntentState.QUEUED) for item in event.lost_cancels],
        "same_key": event.same_key,
    }


def _handed(intent: Intent, state: IntentState) -> dict[str, Any]:
    row: dict[str, Any] = to_builtins(replace(intent_row(intent), state=state.value, outcome=None))
    return row


def _state_taken_up(post: PostRow | PostRequest) -> PostState:
    """Unanswered and not yet forgotten by the venue: its slot has to be quarantined again."""
    return PostState.DISCONNECTED if post.answered or post.quarantine_over else PostState.SENT


def _asked(effect: ev.Effect) -> dict[str, Any]:
    """What the step asked for. Of what goes out, and of what ends, enough that no other replay says the same."""
    asked: dict[str, Any] = {"type": type(effect).__name__}
    for name in effect.__struct_fields__:
        asked[name] = _referred(getattr(effect, name))
    if type(effect) is ev.Transmit:  # `isinstance` takes four times as long to say no of a struct
        post = effect.post
        asked["nonce"], asked["kind"] = post.nonce, post.kind
        asked["priority"], asked["items"] = post.priority, _referred(post.items)
        asked["expires_ms"], asked["fence_of"] = post.expires_ms, post.fence_of
    elif type(effect) is ev.IntentEnded:
        asked["outcome"] = effect.intent.outcome
        asked["settled_by"] = effect.intent.settled_by
    return asked


def _referred(value: Any) -> Any:
    """A field of an effect: intents and posts, which go on to change, by their number, and values as they are."""
    refer = _REFERENCES.get(type(value))
    return value if refer is None else refer(value)


_REFERENCES: Final[dict[type[Any], Callable[[Any], Any]]] = {
    Intent: lambda intent: {"intent": intent.seq},
    PostRequest: lambda post: {"post": post.post_id},
    tuple: lambda items: [_referred(item) for item in items],
}


def intent_row(intent: Intent) -> IntentRow:
    """How an intent stands."""
    return IntentRow(
        seq=intent.seq,
        cloid=intent.cloid,
        market=intent.market,
        priority=intent.priority._value_,
        kind=intent.kind._value_,
        request=as_json(intent.request),
        state=intent.state._value_,
        attempts=intent.attempts,
        outcome=None if intent.outcome is None else as_json(intent.outcome),
    )


def intent_of(row: IntentRow) -> Intent:
    """The intent of a row, as it stood."""
    intent = _intent(row, IntentState(row.state))
    intent.outcome = None if row.outcome is None else outcome_from(row.outcome)
    return intent


def post_row(post: PostRequest, attempt: Attempt | None) -> PostRow:
    """How a post stands."""
    return PostRow(
        post_id=post.post_id,
        nonce=post.nonce,
        kind=post.kind._value_,
        priority=None if post.priority is None else post.priority._value_,
        items=tuple([item.seq for item in post.items]),
        fence_of=post.fence_of,
        epoch=post.epoch,
        prepared_unix_ms=post.server_time_ms,
        expires_after=post.expires_ms,
        state=post.state._value_,
        settlement=None if attempt is None else attempt.state._value_,
        answered=post.answered,
        quarantine_over=post.quarantine_over,
    )


def numbered(recovered: Recovered, now_ms: int) -> Recovered:
    """What earlier runs left, with a post id and a nonce set aside for what one may have sent unrecorded."""
    if not recovered.unrecorded:
        return recovered
    nonce = max(recovered.last_nonce + 1, now_ms)
    return replace(recovered, last_post_id=recovered.last_post_id + 1, last_nonce=nonce)


def restored(recovered: Recovered, signer: str, expires_ms: int | None = None) -> ev.Recovered:
    """What an earlier run left, as the event that hands it to a new core.

    An order is with the last post that carried it, whether the frame left or not (rule 1): the fate of that one is
    unknown, while earlier ones were proven dead (rule 20). A cancel that was ever sent may have run; it is sent again
    (rule 19). All others were never sent, or are dead, and are handed over to be ended: a stale order is not sent by
    itself.

    Of a run that went on after its journal had failed it is not known what it sent last. Its fences prove nothing then,
    and its reduce-only orders and cancels may all be out: orders are looked up once what it sent has expired.

    Args:
        recovered: What the journal holds; `numbered`, if steps are missing from it.
        signer: The address that signs in this run.
        expires_ms: When the last that an unrecorded run may have sent has expired, unix ms; None for never.
    """
    rows = {row.seq: row for row in recovered.intents}
    carried = {entry.row.post_id: _carried(entry.row, rows) for entry in recovered.posts}
    posts = tuple(_post(entry.row, _items(entry.row, carried[entry.row.post_id])) for entry in recovered.posts)
    sent = {seq for seqs in carried.values() for seq in seqs}
    lost_cancels, never_sent = [], []
    for seq, row in rows.items():
        if row.priority == Priority.CANCEL.value and (row.attempts or seq in sent):
            lost_cancels.append(_intent(row, IntentState.QUEUED, lost=True))
        elif seq not in sent:
            never_sent.append(_intent(row, IntentState.QUEUED))
    same_key = all(entry.signer == signer for entry in recovered.posts)
    left = ev.Recovered(posts, tuple(never_sent), same_key, tuple(lost_cancels))
    return _distrusted(left, recovered, expires_ms) if recovered.unrecorded else left


def _distrusted(left: ev.Recovered, recovered: Recovered, expires_ms: int | None) -> ev.Recovered:
    """What a run may have left that went on unrecorded: its new orders had ended, everything else may be out."""
    posts = [dataclasses.replace(post, expires_ms=expires_ms) for post in left.posts]
    of = {priority: [item for item in left.never_sent if item.priority is priority] for priority in Priority}
    for item in of[Priority.CANCEL]:
        item.lost = True
    for item in of[Priority.REDUCE_ONLY]:
        item.state = IntentState.UNKNOWN
        item.attempts += (recovered.last_post_id,)
    if of[Priority.REDUCE_ONLY]:
        row = PostRow(
            post_id=recovered.last_post_id,
            nonce=recovered.last_nonce,
            kind=ActionKind.ORDER.value,
            priority=Priority.REDUCE_ONLY.value,
            items=(),
            fence_of=None,
            epoch=0,
            prepared_unix_ms=recovered.last_nonce,
            expires_after=expires_ms,
            state=PostState.SENT.value,
        )
        posts.append(_post(row, tuple(of[Priority.REDUCE_ONLY])))
    lost_cancels = (*left.lost_cancels, *of[Priority.CANCEL])
    return ev.Recovered(tuple(posts), tuple(of[Priority.NEW_ORDER]), same_key=False, lost_cancels=lost_cancels)


def recovered_event(facts: dict[str, Any]) -> ev.Recovered:
    """The event of which `facts_of` made these facts."""
    return ev.Recovered(
        tuple(
            _post(convert(post["row"], PostRow), tuple(_taken(item, IntentState.UNKNOWN) for item in post["items"]))
            for post in facts["posts"]
        ),
        tuple(_taken(item, IntentState.QUEUED) for item in facts["never_sent"]),
        facts["same_key"],
        tuple(_taken(item, IntentState.QUEUED, lost=True) for item in facts["lost_cancels"]),
    )


def _taken(row: dict[str, Any], state: IntentState, *, lost: bool = False) -> Intent:
    return _intent(convert(row, IntentRow), state, lost=lost)


def _carried(post: PostRow, rows: dict[int, IntentRow]) -> dict[int, IntentRow]:
    """The items of a post whose fate depends on it: it was in hand, or it is the last that carried them."""
    in_hand = post.state == PostState.QUEUED.value
    held = (IntentState.POSTED.value, IntentState.UNKNOWN.value)
    items = {seq: rows[seq] for seq in post.items if seq in rows}
    return {
        seq: row for seq, row in items.items() if in_hand or (row.state in held and row.attempts[-1] == post.post_id)
    }


def _items(post: PostRow, carried: dict[int, IntentRow]) -> tuple[Intent, ...]:
    rows = (row for row in carried.values() if row.priority != Priority.CANCEL.value)
    return tuple(_intent(row, IntentState.UNKNOWN, post_id=post.post_id) for row in rows)


def _post(row: PostRow, items: tuple[Intent, ...]) -> PostRequest:
    return PostRequest(
        row.post_id,
        row.nonce,
        ActionKind(row.kind),
        None if row.priority is None else Priority(row.priority),
        items,
        previous_nonce=0,
        server_time_ms=row.prepared_unix_ms,
        state=_state_taken_up(row),
        signed_nonce=row.nonce,
        expires_ms=row.expires_after,
        fence_of=row.fence_of,
        answered=row.answered,
        quarantine_over=row.quarantine_over,
    )


def _intent(row: IntentRow, state: IntentState, *, post_id: int | None = None, lost: bool = False) -> Intent:
    kind = ActionKind(row.kind)
    request = _request(kind, row.request)
    attempts = row.attempts if post_id is None or post_id in row.attempts else (*row.attempts, post_id)
    alo = isinstance(request, Order) and request.tif == "Alo" and request.trigger is None
    return Intent(
        row.seq,
        request,
        row.cloid,
        Priority(row.priority),
        kind,
        alo,
        state=state,
        attempts=attempts,
        lost=lost,
    )


def _request(kind: ActionKind, facts: dict[str, Any]) -> Request:
    """The request of an intent's row."""
    if kind is ActionKind.ORDER:
        return _order(facts)
    if kind is ActionKind.MODIFY:
        return Modify(**{**_without_type(facts), "order": _order(facts["order"])})
    return Cancel(**_without_type(facts))


def _order(facts: dict[str, Any]) -> Order:
    trigger = facts["trigger"]
    made = None if trigger is None else Trigger(**_without_type(trigger))
    return Order(**{**_without_type(facts), "trigger": made})


def _without_type(facts: dict[str, Any]) -> dict[str, Any]:
    """Rows of older versions have no type at the top."""
    return {name: value for name, value in facts.items() if name != "type"}
