"""Level `proof`: what holds for any limit, any number of posts and connections, and any clock.

The proofs are in `posts_proof` and `nonce_proof`. This module runs them, and makes sure that they prove something:
every step is possible, every row of the two tables is taken on some way, and wrong tables and wrong nonce managers
fail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

from adapters.verification import nonce_proof, posts_proof
from adapters.verification.level import Check, CheckFailed, Options, check
from machines import inflight, post
from machines.errors import MachinesError
from machines.inflight import INFLIGHT, InflightEvent, InflightState
from machines.post import POST, PostEvent, PostState
from machines.table import Row, StateMachine

AnyMachine: TypeAlias = StateMachine[Any, Any]
AnyRow: TypeAlias = Row[Any, Any]


def run_proof(_: Options) -> Iterator[Check]:
    """One check for each thing proven, then those of the proof itself."""
    posts = PostsProof()
    yield check("every way is followed", posts.follow)
    for rule in posts_proof.RULES:
        yield check(rule, partial(posts.verdict, rule))
    yield check("every step and row is taken", posts.not_vacuous)
    for rule in nonce_proof.RULES:
        yield check(rule, partial(_nonces, rule))
    yield check("wrong tables fail", _wrong_tables_fail)
    yield check("wrong nonce managers fail", _wrong_managers_fail)


class PostsProof:
    """The proof about slots and posts: followed once, then judged rule by rule."""

    def __init__(self) -> None:
        """Nothing was followed yet."""
        self._ways: list[posts_proof.Way] = []
        self._flaws: dict[str, list[str]] = defaultdict(list)

    def follow(self) -> str:
        """Follow every way."""
        for flaw in posts_proof.beginning():
            self._flaws[flaw.rule].append(f"before anything happened: {flaw.detail}")
        for way in posts_proof.steps():
            self._ways.append(way)
            for flaw in way.flaws:
                self._flaws[flaw.rule].append(flaw.detail)
        return f"{len(self._ways)} ways"

    def verdict(self, rule: str) -> str:
        """Whether one rule held on all of them."""
        if not self._ways:
            raise CheckFailed("no way was followed, so nothing is proven")
        if self._flaws[rule]:
            raise CheckFailed(f"broken on {len(self._flaws[rule])} ways, first: {self._flaws[rule][0]}")
        return f"holds on all {len(self._ways)} ways: for any limit, watermark, number of posts and of connections"

    def not_vacuous(self) -> str:
        """A proof about nothing would pass as well: every step must be possible, every row be taken."""
        possible = {way.place for way in self._ways}, {way.step for way in self._ways}
        impossible = {*posts_proof.PLACES} - possible[0] | {*posts_proof.JOINING, *posts_proof.STEPS} - possible[1]
        if impossible:
            raise CheckFailed(f"never possible: {sorted(impossible)}")
        moves = {move for way in self._ways for move in way.moves}
        rows = [(row.event, row.source, row.target) for machine in (POST, INFLIGHT) for row in machine.table]
        missed = [
            f"{event} from {source} to {target}"
            for event, source, target in rows
            if (event, source, target) not in moves
        ]
        if missed:
            raise CheckFailed(f"rows never taken: {missed}")
        return f"{len(possible[1])} steps from {len(possible[0])} places, {len(rows)} rows"


def _nonces(rule: str) -> str:
    ways = 0
    for broken in nonce_proof.ways(rule):
        ways += 1
        if broken:
            raise CheckFailed(broken[0])
    return f"holds on all {ways} ways: for any clock, offset and counter"


# ------------------------------------------------------------------------------------------- what has to fail


@dataclass(frozen=True, slots=True)
class WrongTable:
    """A table that is wrong on purpose, beside the other one as it is."""

    mistake: str
    post: AnyMachine = POST
    inflight: AnyMachine = INFLIGHT


def _row(machine: AnyMachine, event: Enum, source: Enum, target: Enum) -> AnyRow:
    return next(row for row in machine.table if (row.event, row.source, row.target) == (event, source, target))


def with_table(machine: AnyMachine, table: tuple[AnyRow, ...]) -> AnyMachine:
    """The machine with another table."""
    return StateMachine(
        machine.name, machine.states, machine.events, initial=machine.initial, final=machine.final, table=table
    )


def _changed(machine: AnyMachine, row: AnyRow, **changes: Any) -> AnyMachine:
    return with_table(machine, tuple(replace(row, **changes) if other is row else other for other in machine.table))


def wrong_tables() -> Iterator[WrongTable]:
    """Mistakes that findings.md forbids, each made by one wrong row."""
    queued, sent, acked = PostState.QUEUED, PostState.SENT, PostState.ACKED
    normal, full = InflightState.NORMAL, InflightState.FULL
    send = _row(POST, PostEvent.SEND, queued, sent)
    ack = _row(POST, PostEvent.ACK, sent, acked)
    time_out = _row(POST, PostEvent.TIME_OUT, sent, PostState.TIMED_OUT)
    fill_up = _row(INFLIGHT, InflightEvent.ACQUIRE, normal, full)
    yield WrongTable("a post is sent without a slot", post=_changed(POST, send, effect=None))
    yield WrongTable("a timeout leaks its slot", post=_changed(POST, time_out, effect=None))
    yield WrongTable("a timeout frees its slot, with no quarantine", post=_changed(POST, time_out, effect=ack.effect))
    yield WrongTable(
        "a second reply gives back a second slot", post=with_table(POST, (*POST.table, replace(ack, source=acked)))
    )
    over = replace(fill_up, source=full, guard=None)
    yield WrongTable("a slot is taken over the limit", inflight=with_table(INFLIGHT, (*INFLIGHT.table, over)))
    yield WrongTable("full is called normal", inflight=_changed(INFLIGHT, fill_up, target=normal))


def first_flaw(wrong: WrongTable) -> posts_proof.Flaw | None:
    """The first thing that the proof says against a table; None if it finds nothing."""
    with _in_place_of_the_real(wrong):
        try:
            return next((flaw for way in posts_proof.steps() for flaw in way.flaws), None)
        except MachinesError as error:
            return posts_proof.Flaw(posts_proof.PLACED, f"no post can be brought to its place: {error}")


@contextmanager
def _in_place_of_the_real(wrong: WrongTable) -> Iterator[None]:
    real = post.POST, inflight.INFLIGHT
    post.POST, inflight.INFLIGHT = wrong.post, wrong.inflight  # type: ignore[misc]  # final for everyone else
    try:
        yield
    finally:
        post.POST, inflight.INFLIGHT = real  # type: ignore[misc]  # final for everyone else


def _wrong_tables_fail() -> str:
    failed = []
    for wrong in wrong_tables():
        flaw = first_flaw(wrong)
        if flaw is None:
            raise CheckFailed(f"the proof does not notice that {wrong.mistake}")
        failed.append(f"{wrong.mistake}: {flaw.rule}")
    return "; ".join(failed)


def _wrong_managers_fail() -> str:
    failed = []
    for manager in nonce_proof.MISTAKES:
        broken = {rule for rule in nonce_proof.RULES if any(nonce_proof.ways(rule, manager))}
        if not broken:
            raise CheckFailed(f"the proof does not notice {manager.__name__}: {manager.__doc__}")
        failed.append(f"{manager.__name__}: {', '.join(sorted(broken))}")
    return "; ".join(failed)
