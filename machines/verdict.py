"""What a reply proves about the items of a post.

Three answers, and the whole safety of the executor hangs on telling them apart (settlement.md, rules 5 to 8):

* `Answered`: the venue says what became of each item. One error may stand for the whole batch (finding X4).
* `NeverRan`: the venue turned the post away at its gate; its action had no effect and never will.
* `Unclear`: the reply proves nothing. `duplicate nonce` and `nonce too low` say that the nonce is spent, perhaps by
  this very order in a frame delivered twice; an unknown error text may stand for a reply lost behind a gateway.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from machines.intent import ActionKind, Canceled, Filled, ItemResult, Rejected, Resting
from machines.reply import Accepted, GatewayError, PostReply, Refused

PROOFS_OF_REFUSAL: Final = ("429", "too many pending post requests")
"""Beginnings of the error texts that prove that a post never ran (settlement.md, rule 8; texts protocol.md §2)."""
SPENT_NONCE: Final = ("Invalid nonce: duplicate nonce", "Invalid nonce: nonce too low")
"""Beginnings of the refusals that only say that the nonce is spent (protocol.md §4)."""

_CANCELS: Final = (ActionKind.CANCEL, ActionKind.CANCEL_BY_CLOID)


class Answered(Struct, frozen=True):
    """Each item's result, in request order."""

    results: tuple[ItemResult, ...]


class NeverRan(Struct, frozen=True):
    """Proof that the action had no effect and never will."""

    reason: str


class Unclear(Struct, frozen=True):
    """No proof of anything."""

    reason: str


Verdict: TypeAlias = Answered | NeverRan | Unclear


def verdict_on(reply: PostReply, kind: ActionKind, items: int) -> Verdict:
    """What `reply` proves for a post of `kind` with `items` items."""
    if isinstance(reply, Accepted):
        return _on_results(reply.results, kind, items)
    if isinstance(reply, Refused):
        return Unclear(reply.reason) if nonce_spent(reply) else Answered((Rejected(reply.reason),) * items)
    if isinstance(reply, GatewayError):
        return NeverRan(reply.reason) if reply.reason.startswith(PROOFS_OF_REFUSAL) else Unclear(reply.reason)
    return Unclear(f"unreadable reply: {reply.detail}")


def _on_results(results: tuple[ItemResult, ...], kind: ActionKind, items: int) -> Verdict:
    if len(results) == 1 and items > 1 and isinstance(results[0], Rejected):
        return Answered(results * items)
    if len(results) != items:
        return Unclear(f"the reply has {len(results)} statuses for {items} items")
    expected = (Canceled, Rejected) if kind in _CANCELS else (Resting, Filled, Rejected)
    if not all(isinstance(result, expected) for result in results):
        return Unclear(f"the reply has statuses that do not fit a {kind.value} action")
    return Answered(results)


def told_by(verdict: Verdict, items: int) -> tuple[ItemResult, ...]:
    """What a verdict says of each item, to be compared with what is known; empty if it says nothing."""
    if isinstance(verdict, Answered):
        return verdict.results
    return (Rejected(verdict.reason),) * items if isinstance(verdict, NeverRan) else ()


def fence_won(reply: PostReply) -> bool:
    """Whether `reply` to a fence says that it ran; a noop has no items, so that statuses are not its answer."""
    return reply == Accepted(())


def nonce_spent(reply: PostReply) -> bool:
    """Whether `reply` says that the nonce is spent: by this very action, or by another one with the same nonce."""
    return isinstance(reply, Refused) and reply.reason.startswith(SPENT_NONCE)
