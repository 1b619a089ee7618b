"""Commands to a running executor, and its answers: one JSON object a line, in either direction.

A strategy in any language, or an operator, writes lines such as

    {"op": "order", "ref": "a1", "market": "BTC", "side": "buy", "size": "0.01", "price": "50000", "tif": "Ioc"}
    {"op": "cancel", "ref": "a2", "market": "BTC", "cloid": "0x…"}
    {"op": "flatten"}
    {"op": "outcome", "ref": "a3", "cloid": "0x…"}

and reads, for each, one line with the admission or the error at once, and one with the outcome once it is certain; both
carry the `ref`. A line that makes no sense is answered with what is wrong, and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from adapters.driver import ExecutorFailed
from adapters.executor import Executor
from adapters.hyperliquid.info import VenueError
from adapters.hyperliquid.markets import BadRequest
from adapters.journal import JournalError
from adapters.outcomes import describe
from adapters.ticket import Ticket
from machines.errors import IllegalEvent
from machines.intent import Cancel, Modify, Order, Side, Tif, Trigger

Answer: TypeAlias = Callable[[dict[str, Any]], None]

LINE_LIMIT: Final = 64 * 1024
"""Bytes in a command; an order takes about 200."""
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Command(msgspec.Struct, tag_field="op", forbid_unknown_fields=True, kw_only=True):
    ref: str | None = None


class TriggerTerms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When a trigger order becomes active."""

    price: str
    is_market: bool
    kind: Literal["tp", "sl"]


class OrderTerms(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An order's terms; the fields of `machines.intent.Order`."""

    market: str
    side: Side
    size: str
    price: str
    tif: Tif = "Gtc"
    reduce_only: bool = False
    cloid: str | None = None
    trigger: TriggerTerms | None = None

    def order(self) -> Order:
        """The order."""
        terms = msgspec.structs.asdict(self)
        trigger = None if self.trigger is None else Trigger(**msgspec.structs.asdict(self.trigger))
        return Order(**{name: terms[name] for name in OrderTerms.__struct_fields__} | {"trigger": trigger})


class PlaceOrder(OrderTerms, tag_field="op", tag="order"):
    """Place an order."""

    ref: str | None = None


class CancelOrder(_Command, tag="cancel"):
    """Cancel an order by cloid or oid."""

    market: str
    cloid: str | None = None
    oid: int | None = None


class ModifyOrder(_Command, tag="modify"):
    """Replace an order, named by cloid or oid."""

    order: OrderTerms
    cloid: str | None = None
    oid: int | None = None


class Flatten(_Command, tag="flatten"):
    """Close the position in one market, or all."""

    market: str | None = None


class AskOutcome(_Command, tag="outcome"):
    """Ask what became of an order, of this run or an earlier one."""

    cloid: str


class Halt(_Command, tag="halt"):
    """Trip the hard stop."""

    reason: str


class Reset(_Command, tag="reset"):
    """Reset the hard stop."""

    reason: str


class Status(_Command, tag="status"):
    """Ask how the executor is."""


class _Reference(msgspec.Struct):
    ref: str | None = None


Command: TypeAlias = PlaceOrder | CancelOrder | ModifyOrder | Flatten | AskOutcome | Halt | Reset | Status
_DECODER: Final = msgspec.json.Decoder(Command)
_REFERENCE: Final = msgspec.json.Decoder(_Reference)


class UnknownCloid(Exception):
    """There is no order with this cloid."""


class CommandSession:
    """Carries out the commands of one peer, and answers it.

    Attributes:
        waiting: Outcomes that the peer is still to be told.
    """

    def __init__(self, executor: Executor, answer: Answer) -> None:
        """Command `executor`; give every answer to `answer`."""
        self.waiting: set[asyncio.Task[None]] = set()
        self._executor = executor
        self._answer = answer

    async def serve(self, lines: AsyncIterator[bytes]) -> None:
        """Carry out each line; returns at the end of input, when all outcomes have been told."""
        async for line in lines:
            if line.strip():
                await self.take(line)
        await self.told()

    async def told(self) -> None:
        """Wait until all outcomes have been told."""
        if self.waiting:
            await asyncio.wait(self.waiting)

    async def take(self, line: bytes) -> None:
        """Carry out one line."""
        try:
            if len(line) > LINE_LIMIT:
                raise msgspec.DecodeError(f"a command has at most {LINE_LIMIT} bytes")
            command = _DECODER.decode(line)
        except _UNREADABLE as error:
            self._answer({"ref": _reference(line), "error": "MalformedCommand", "message": f"{error}"})
            return
        try:
            await self._carry_out(command)
        except (BadRequest, IllegalEvent, VenueError, JournalError, UnknownCloid) as error:
            self._refuse(command.ref, error)

    async def _carry_out(self, command: Command) -> None:
        executor = self._executor
        match command:
            case PlaceOrder():
                self._track(command.ref, executor.submit(command.order()))
            case CancelOrder(market=market, cloid=cloid, oid=oid):
                self._track(command.ref, executor.submit(Cancel(market=market, cloid=cloid, oid=oid)))
            case ModifyOrder(order=terms, cloid=cloid, oid=oid):
                self._track(command.ref, executor.submit(Modify(order=terms.order(), cloid=cloid, oid=oid)))
            case Flatten(market=market):
                tickets = await executor.flatten(market)
                self._answer({"ref": command.ref, "flattening": len(tickets)})
                for ticket in tickets:
                    self._track(command.ref, ticket)
            case AskOutcome(cloid=cloid):
                known = executor.ticket_of(cloid.lower())
                if known is None:
                    raise UnknownCloid(f"the journal has no order {cloid} that has ended or is under way")
                self._track(command.ref, known)
            case Halt(reason=reason):
                executor.halt(reason)
                self._answer(self._status(command.ref))
            case Reset(reason=reason):
                executor.reset(reason)
                self._answer(self._status(command.ref))
            case Status():
                self._answer(self._status(command.ref))

    def _track(self, ref: str | None, ticket: Ticket) -> None:
        self._executor.driver.make_durable()  # whoever is told that it was accepted finds it after a crash
        self._answer({"ref": ref, "admission": ticket.admission.value, "cloid": ticket.cloid})
        task = asyncio.ensure_future(self._tell(ref, ticket))
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)

    async def _tell(self, ref: str | None, ticket: Ticket) -> None:
        try:
            outcome = await ticket
        except ExecutorFailed as error:
            self._refuse(ref, error)
        else:
            self._answer({"ref": ref, "cloid": ticket.cloid, **describe(outcome)})

    def _refuse(self, ref: str | None, error: Exception) -> None:
        self._answer({"ref": ref, "error": type(error).__name__, "message": str(error)})

    def _status(self, ref: str | None) -> dict[str, Any]:
        core = self._executor.core
        return {
            "ref": ref,
            "session": core.session.state.value,
            "halted": core.hard_stop.reason,
            "inflight": core.inflight.count,
            "queued": {priority.value: core.scheduler.queued(priority) for priority in core.scheduler.outstanding},
            "accepted": core.intents.accepted,
            "ended": core.intents.ended,
            "invariant_violations": self._executor.driver.monitor.violated,
        }


def _reference(line: bytes) -> str | None:
    """The `ref` of a line that makes no sense otherwise, if it can be read."""
    try:
        return _REFERENCE.decode(line).ref
    except _UNREADABLE:
        return None
