"""When two states of the world count as one.

`key_of` walks through every field of every object that the world consists of, and keeps it, except for what `RULES`
says otherwise. So a field that is new, or forgotten here, can only make the search longer; it can't make it miss a
state. What the rules take away is what the future does not depend on:

* **Absolute time.** All that core and venue do with time is to compare it with now. A time to come is kept as how far
  it is ahead, and one that has come as 0; a time gone by as how long ago it was, as far as anything asks (the venue's
  lag). Shifting a state in time shifts its future, and nothing else.
* **Absolute numbers.** Of post ids and nonces, only matters which are equal and which came first: they are kept as
  ranks among those that can still be met.
* **The past.** Evidence that the invariants have judged (slots taken, completions, previous nonces), all attempts of an
  intent but its last, and the texts of reasons: no guard and no branch reads them.

What time leaves out is the grain: between two events lies a whole number of the scenario's steps. The core does in such
a run exactly what it would do in life with these events, so every state that is found is real.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from hashlib import blake2b
from marshal import dumps
from typing import Any, Final, TypeAlias

from msgspec import Struct

from adapters.verification.small_venue import Frame, SmallVenue, VenueOrder
from adapters.verification.world import Reply, World
from machines.batch import BatchScheduler
from machines.executor import ExecutorCore
from machines.hard_stop import HardStop
from machines.inflight import InflightTracker
from machines.intent import Intent
from machines.post import PostRequest, PostRequestManager, PostState
from machines.rate_limit import MessageRate
from machines.register import IntentRegister
from machines.settlement import ABSENCES_NEEDED, VENUE_LAG_MS, Attempt, LookUp
from machines.settler import Settler
from machines.standing import StandingPosts

Rule: TypeAlias = Callable[["_Walk", Any, Any], None]
"""Puts a field into the key: given the walk, the field's value, and the object that it is of."""

_ATOMS: Final = frozenset({int, str, bool, type(None)})
_MARSHAL: Final = 2
"""A version that writes equal values alike, whoever else refers to them."""


def key_of(world: World) -> bytes:
    """The same for two states, if and only if they count as one."""
    walk = _Walk(world)
    walk.put(world)
    return blake2b(dumps(walk.finished(), _MARSHAL), digest_size=16).digest()


class _Walk:
    """One walk: a flat list of what was met, in which ids and nonces are turned into ranks at the end."""

    def __init__(self, world: World) -> None:
        """Nothing was met yet."""
        self.now = world.clock.monotonic_ms()
        self.out: list[Any] = []
        self.ids: list[int] = []
        self.nonces: list[int] = []
        self.weak_ids: list[int] = []
        self._seen_nonces = world.venue.nonces

    def put(self, value: Any) -> None:
        """Keep a value, whatever it is."""
        kind = type(value)
        if kind in _ATOMS:
            self.out.append(value)
            return
        writer = _WRITERS.get(kind)
        if writer is None:
            writer = _WRITERS[kind] = _writer_for(value)
        writer(self, value)

    def finished(self) -> list[Any]:
        """The list, with ranks; and which of the nonces that can still be met the venue has seen."""
        out = self.out
        known = {at: out[at] for at in self.ids}
        ranks = {post_id: rank for rank, post_id in enumerate(sorted(set(known.values())))}
        for at, post_id in known.items():
            out[at] = ranks[post_id]
        for at in self.weak_ids:
            out[at] = ranks.get(out[at], -1)
        nonces = sorted({out[at] for at in self.nonces})
        places = {nonce: rank for rank, nonce in enumerate(nonces)}
        for at in self.nonces:
            out[at] = places[out[at]]
        out.extend(nonce in self._seen_nonces for nonce in nonces)
        return out


# --------------------------------------------------------------------------------------------- rules for fields


def _leave_out(walk: _Walk, value: Any, of: Any) -> None:
    pass


def _to_come(walk: _Walk, value: int | None, of: Any) -> None:
    walk.out.append(None if value is None else max(0, value - walk.now))


def _deadline(walk: _Walk, value: int, of: PostRequest) -> None:
    if of.state is PostState.SENT:
        walk.out.append(value - walk.now)


def _absent_since(walk: _Walk, value: int, of: LookUp) -> None:
    if of.absences:
        walk.out.append(min(walk.now - value, VENUE_LAG_MS + 1))


def _opened(walk: _Walk, value: int, of: Attempt) -> None:
    if not of.overdue:
        walk.out.append(walk.now - value)


def _history(walk: _Walk, value: list[tuple[int, Any]], of: VenueOrder) -> None:
    walk.out.append(len(value))
    for since, record in value:
        walk.out.append(min(walk.now - since, VENUE_LAG_MS))
        walk.put(record)


def _post_id(walk: _Walk, value: int | None, of: Any) -> None:
    if value is not None:
        walk.ids.append(len(walk.out))
    walk.out.append(value)


def _nonce(walk: _Walk, value: int, of: Any) -> None:
    walk.nonces.append(len(walk.out))
    walk.out.append(value)


def _last_attempt(walk: _Walk, value: tuple[int, ...], of: Intent) -> None:
    walk.out.append(bool(value))
    walk.weak_ids.append(len(walk.out))
    walk.out.append(value[-1] if value else None)


def _ids_of(walk: _Walk, value: Mapping[int, Any], of: Any) -> None:
    """A mapping from post ids; its values know their own ids."""
    walk.put(list(value.values()))


def _values(walk: _Walk, value: Mapping[Any, int], of: Any) -> None:
    """A mapping that always has the same keys."""
    walk.out.extend(value.values())


def _class_and_oid(walk: _Walk, value: Any, of: Any) -> None:
    walk.out += (type(value).__name__, getattr(value, "oid", None))


def _whether(walk: _Walk, value: Any, of: Any) -> None:
    walk.out.append(value is not None)


def _at_most_needed(walk: _Walk, value: int, of: LookUp) -> None:
    walk.out.append(min(value, ABSENCES_NEEDED))


def _whole_intents(walk: _Walk, value: Mapping[int, Intent], of: World) -> None:
    walk.out.append(len(value))
    for _, intent in sorted(value.items()):
        _WHOLE(walk, intent)


def _look_ups_due(walk: _Walk, value: list[tuple[int, int, int]], of: Settler) -> None:
    walk.out.append(len(value))
    for due_ms, post_id, seq in sorted(value):
        _to_come(walk, due_ms, of)
        _post_id(walk, post_id, of)
        walk.out.append(seq)


def _questions(walk: _Walk, value: list[tuple[int, int, str]], of: World) -> None:
    walk.out.append(len(value))
    for post_id, seq, _ in sorted(value):
        _post_id(walk, post_id, of)
        walk.out.append(seq)


def _by_post(walk: _Walk, value: list[Reply], of: World) -> None:
    walk.put(sorted(value, key=lambda reply: reply.post_id))


_CONSTANT: Final = _leave_out  # the same in every state of a search
_AGAIN: Final = _leave_out  # says again what is kept elsewhere
_EVIDENCE: Final = _leave_out  # read by the invariants, which have judged it; by nothing else
_COUNTER: Final = _leave_out  # what it gives next is above all that it gave, which is all that matters
_PASSING: Final = _leave_out  # made anew by each step
_TEXT: Final = _leave_out  # for people

RULES: Final[Mapping[type, Mapping[str, Rule]]] = {
    World: {
        "scenario": _CONSTANT,
        "clock": _AGAIN,
        "intents": _whole_intents,
        "questions": _questions,
        "replies": _by_post,
        "faults": _values,
        "seen": _PASSING,
    },
    Frame: {"post_id": _post_id, "nonce": _nonce, "forget_ms": _to_come},
    Reply: {"post_id": _post_id, "forget_ms": _to_come},
    SmallVenue: {"streams": _CONSTANT, "nonces": _AGAIN},
    VenueOrder: {"history": _history},
    ExecutorCore: {
        "settings": _CONSTANT,
        "nonces": _COUNTER,
        "budget": _CONSTANT,  # without a report of the venue's, nothing depends on it
        "moved_posts": _PASSING,
        "_clock": _AGAIN,
        "_now": _AGAIN,
        "_effects": _PASSING,
        "_handlers": _CONSTANT,
    },
    MessageRate: {"_sent": _CONSTANT, "_blocked_until": _to_come},  # far fewer messages than the limit
    BatchScheduler: {"_inflight": _AGAIN, "limits": _CONSTANT, "outstanding": _values},
    InflightTracker: {"limit": _CONSTANT, "high_watermark": _CONSTANT},
    HardStop: {"reason": _TEXT, "reset_reason": _TEXT},
    StandingPosts: {"_renew_ms": _to_come},
    PostRequestManager: {
        "inflight": _AGAIN,
        "last_id": _COUNTER,
        "_last_nonce": _COUNTER,
        "_open": _ids_of,
        "_quarantine": _ids_of,
    },
    PostRequest: {
        "post_id": _post_id,
        "nonce": _nonce,
        "previous_nonce": _EVIDENCE,
        "server_time_ms": _EVIDENCE,
        "signed_nonce": _EVIDENCE,
        "slots_taken": _EVIDENCE,
        "slots_returned": _EVIDENCE,
        "completions": _EVIDENCE,
        "deadline_ms": _deadline,
        "fence_of": _post_id,
        "quarantined_until_ms": _to_come,
    },
    IntentRegister: {"moved": _PASSING, "_cloid_prefix": _CONSTANT, "population": _values},
    Intent: {"request": _AGAIN, "outcome": _class_and_oid, "attempts": _last_attempt, "settled_by": _whether},
    Settler: {"attempts": _ids_of, "moved": _PASSING, "_of_item": _AGAIN, "_due": _look_ups_due},
    Attempt: {"opened_ms": _opened, "fence_id": _post_id},
    LookUp: {"due_ms": _to_come, "absences": _at_most_needed, "absent_since_ms": _absent_since},
}
"""How the fields are kept that are not kept as they are."""

# ------------------------------------------------------------------------------------------- writers for values

Writer: TypeAlias = Callable[[_Walk, Any], None]


class UnknownKind(Exception):
    """A value of a kind that is neither an object with fields nor a collection known here."""


def fields_of(value: object) -> list[str]:
    """The names of all fields of a struct or another object, with slots or without.

    Raises:
        UnknownKind: It has none that can be seen, so that nothing of it would be kept.
    """
    if isinstance(value, Struct):
        return list(value.__struct_fields__)
    names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    names += list(getattr(value, "__dict__", ()))
    if not names:
        raise UnknownKind(f"can't keep {value!r}: say in adapters/verification what a {type(value).__name__} holds")
    return names


def _writer_for(value: object) -> Writer:
    if isinstance(value, Enum):
        return lambda walk, member: walk.out.append(member.value)
    kind = type(value)
    write = _writer_of_fields(kind, fields_of(value))
    if kind in RULES:
        return write

    def write_with_name(walk: _Walk, thing: Any) -> None:
        """Messages and outcomes stand for each other in one place: their kind tells them apart."""
        walk.out.append(kind.__name__)
        write(walk, thing)

    return write_with_name


def _writer_of_fields(kind: type, names: Sequence[str]) -> Writer:
    rules = RULES.get(kind, {})
    plan = [(name, rules.get(name)) for name in names if rules.get(name) is not _leave_out]

    def write(walk: _Walk, thing: Any) -> None:
        for name, rule in plan:
            field = getattr(thing, name)
            if rule is None:
                walk.put(field)
            else:
                rule(walk, field, thing)

    return write


_WHOLE: Final = _writer_of_fields(Intent, [entry.name for entry in fields(Intent)])


def _sequence(walk: _Walk, value: Any) -> None:
    walk.out.append(len(value))
    for item in value:
        walk.put(item)


def _mapping(walk: _Walk, value: Mapping[Any, Any]) -> None:
    walk.out.append(len(value))
    for name, item in value.items():
        walk.put(name)
        walk.put(item)


def _set(walk: _Walk, value: set[int] | frozenset[int]) -> None:
    walk.out.append(len(value))
    walk.out.extend(sorted(value))


def _reference(walk: _Walk, intent: Intent) -> None:
    """The intents stand in the world's own list; everything else refers to them."""
    walk.out.append(intent.seq)


_WRITERS: Final[dict[type, Writer]] = {
    tuple: _sequence,
    list: _sequence,
    deque: _sequence,
    dict: _mapping,
    OrderedDict: _mapping,
    set: _set,
    frozenset: _set,
    Intent: _reference,
}
