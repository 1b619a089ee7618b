"""What travels over the simulated network: posts one way; replies, errors and the order stream the other."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from machines.intent import ActionKind, Request
from machines.reply import PostReply
from machines.settlement import OrderRecord


class Frame(Struct, frozen=True):
    """A signed post.

    Attributes:
        post_id: Its id, all that a reply repeats of it (protocol.md §2).
        signer: Address of the key that signed it.
        nonce: Its nonce.
        kind: Its action.
        requests: The action's items.
        expires_ms: After this the venue refuses it, unix ms; None for never.
        run: The run of the executor that wrote it; like the rest not on the wire, the judge alone looks at it.
        epoch: The connection that it was written to.
        seqs: The numbers of the intents that its items are.
        cancel_at_ms: When a dead-man's switch is to go off, unix ms.
    """

    post_id: int
    signer: str
    nonce: int
    kind: ActionKind
    requests: tuple[Request, ...]
    expires_ms: int | None
    run: int
    epoch: int
    seqs: tuple[int, ...]
    cancel_at_ms: int | None = None


class Reply(Struct, frozen=True):
    """The reply to a post."""

    post_id: int
    reply: PostReply


class ErrorText(Struct, frozen=True):
    """An error frame; `post_id` is the post that it names, if it names one."""

    message: str
    post_id: int | None


class Update(Struct, frozen=True):
    """News of an order, from the order stream."""

    cloid: str
    record: OrderRecord


class Fill(Struct, frozen=True):
    """News of a trade, from the stream of trades."""

    cloid: str
    oid: int
    size: str


Message: TypeAlias = Reply | ErrorText | Update | Fill
