"""A plain model of the venue and of the network before it.

The venue knows the true time, keeps the nonces of the one signer, and remembers what it did with every frame, so that
what the executor reports can be compared with what happened. Whether a frame arrives, and what becomes of the answer
on its way back, is for the caller to decide. Sources: protocol.md §2 (frames, replies), §4 (nonces), §9 (texts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from machines import events as ev
from machines.clock import ManualClock
from machines.intent import ActionKind, Canceled, Filled, ItemResult, Rejected, Resting
from machines.reply import Accepted, GatewayError, PostReply, Refused, Unreadable

TRUE_ORIGIN_MS: Final = 1_700_000_000_000
"""The true time at monotonic 0, in unix ms."""
DAY_MS: Final = 86_400_000
MARGIN_MS: Final = 120_000
"""How much narrower the measured nonce window is at each end (protocol.md §4)."""

BENIGN: Final = "Order could not immediately match against any resting orders. asset=5"
MISSING: Final = "Order was never placed, already canceled, or filled. asset=5"
SERIOUS: Final = "Insufficient margin to place order. asset=5"
NO_WALLET: Final = "User or API Wallet 0x1 does not exist."
NO_DEPOSIT: Final = "Must deposit before performing actions. User: 0x1"
BENIGN_TEXTS: Final = (BENIGN, MISSING)
KEY_TEXTS: Final = (NO_WALLET, NO_DEPOSIT)

_CANCELS: Final = (ActionKind.CANCEL, ActionKind.CANCEL_BY_CLOID)


class Choice(Enum):
    """What the venue does with an item; a cancel is carried out by the first three."""

    REST = "rest"
    TRADE = "trade"
    WAIT = "wait"
    REJECT = "reject"
    REJECT_SERIOUSLY = "reject seriously"


class Way(Enum):
    """What becomes of a reply on its way to the executor."""

    CLEAR = "clear"
    UNREADABLE = "unreadable"
    NO_STATUS = "no status"
    ONE_STATUS_TOO_MANY = "one status too many"
    FOREIGN_STATUS = "statuses of another action"
    GATEWAY = "replaced by a gateway's error"


class Proof(Enum):
    """What a reply that proves nothing about single items proves."""

    NEVER_RAN = "the action never ran and never will"
    NOTHING = "nothing"


Meaning: TypeAlias = tuple[ItemResult, ...] | Proof


@dataclass(slots=True, eq=False)
class Frame:
    """A post on the wire, and what the venue did with it.

    Attributes:
        seqs: The intents that it carries, in request order.
        results: What the venue did with each; None while it has not run.
        dead: Whether it was turned away, so that it never runs.
    """

    post_id: int
    epoch: int
    nonce: int
    kind: ActionKind
    seqs: tuple[int, ...]
    results: tuple[ItemResult, ...] | None = None
    dead: bool = False


@dataclass(slots=True, eq=False)
class Reply:
    """An answer to a frame, as it will arrive.

    Attributes:
        meaning: What it proves: the venue knows, because it wrote it.
        as_error_frame: Whether it comes as an error frame that names the post, not as a reply to it.
    """

    frame: Frame
    content: PostReply
    meaning: Meaning
    as_error_frame: bool = False

    def event(self, epoch: int) -> ev.Event:
        """The event of its arrival on connection `epoch`."""
        if self.as_error_frame and isinstance(self.content, GatewayError):
            return ev.ErrorReceived(epoch, self.content.reason, self.frame.post_id)
        return ev.ReplyReceived(epoch, self.frame.post_id, self.content)


class Venue:
    """The venue.

    Attributes:
        frames: Every frame that was, or may have been, written to it.
        kept_nonces: How many of the highest nonces it remembers as a floor; the real one keeps 100.
    """

    def __init__(self, clock: ManualClock, kept_nonces: int = 100) -> None:
        self.frames: list[Frame] = []
        self.kept_nonces = kept_nonces
        self._clock = clock
        self._seen: list[int] = []
        self._last_oid = 0

    @property
    def now_ms(self) -> int:
        """The true time, in unix ms."""
        return TRUE_ORIGIN_MS + self._clock.monotonic_ms()

    def nonce_error(self, nonce: int) -> str | None:
        """Why the venue would refuse `nonce` now; None if it would not (protocol.md §4)."""
        if nonce in self._seen:
            return f"Invalid nonce: duplicate nonce {nonce}"
        floor = self.now_ms - 2 * DAY_MS + MARGIN_MS
        if len(self._seen) >= self.kept_nonces:
            floor = max(floor, self._seen[-self.kept_nonces])
        if nonce <= floor:
            return f"Invalid nonce: nonce too low {nonce} < {floor}"
        ceiling = self.now_ms + DAY_MS - MARGIN_MS
        return f"Invalid nonce: nonce too high {nonce} > {ceiling}" if nonce >= ceiling else None

    def spend(self, nonce: int) -> str | None:
        """An action with `nonce` arrives: why it is refused for that; None if it is not, and the nonce is spent."""
        error = self.nonce_error(nonce)
        if error is None:
            self._seen = sorted([*self._seen, nonce])
        return error

    def run(self, frame: Frame, choices: Sequence[Choice], way: Way = Way.CLEAR) -> Reply | None:
        """A frame arrives; the answer, as it leaves the network. None if the frame was turned away before."""
        results = tuple(self._result(frame.kind, choice) for choice in choices[: len(frame.seqs)])
        reply = self._answer(frame, results, Accepted(results))
        return reply if reply is None or isinstance(reply.meaning, Proof) else self._on_its_way(reply, way)

    def refuse_the_batch(self, frame: Frame, reason: str) -> Reply | None:
        """A frame arrives, and one error status stands for all of its items (pre-validation, protocol.md §2)."""
        results = (Rejected(reason),) * len(frame.seqs)
        return self._answer(frame, results, Accepted(results[:1]))

    def refuse_the_action(self, frame: Frame, reason: str) -> Reply | None:
        """A frame arrives, and is refused as a whole: status `err`, its nonce spent."""
        return self._answer(frame, (Rejected(reason),) * len(frame.seqs), Refused(reason))

    def turn_away(self, frame: Frame, reason: str, meaning: Proof, *, as_error_frame: bool = False) -> Reply | None:
        """A gate or gateway lets a frame go no further; what it says may or may not prove that."""
        if frame.dead or frame.results is not None:
            return None
        frame.dead = True
        return Reply(frame, GatewayError(reason), meaning, as_error_frame)

    def _answer(self, frame: Frame, results: tuple[ItemResult, ...], content: PostReply) -> Reply | None:
        if frame.dead:
            return None
        error = self.spend(frame.nonce)
        if error is None:
            frame.results = results
            return Reply(frame, content, results)
        if "too high" not in error:
            return Reply(frame, Refused(error), Proof.NOTHING)
        frame.dead = True
        frame.results = (Rejected(error),) * len(frame.seqs)
        return Reply(frame, Refused(error), frame.results)

    def _result(self, kind: ActionKind, choice: Choice) -> ItemResult:
        canceling = kind in _CANCELS
        if choice is Choice.REJECT_SERIOUSLY:
            return Rejected(SERIOUS)
        if choice is Choice.REJECT:
            return Rejected(MISSING if canceling else BENIGN)
        if canceling:
            return Canceled()
        self._last_oid += 1
        if choice is Choice.TRADE:
            return Filled(self._last_oid, "1", "400")
        return Resting(self._last_oid if choice is Choice.REST else None)

    def _on_its_way(self, reply: Reply, way: Way) -> Reply:
        frame, results = reply.frame, reply.frame.results or ()
        foreign: ItemResult = Resting(1) if frame.kind in _CANCELS else Canceled()
        content: PostReply
        match way:
            case Way.CLEAR:
                return reply
            case Way.UNREADABLE:
                content = Unreadable("cut off")
            case Way.NO_STATUS if results:
                content = Accepted(())
            case Way.FOREIGN_STATUS if results:
                content = Accepted((foreign, *results[1:]))
            case Way.GATEWAY:
                content = GatewayError("502 Bad Gateway")
            case _:
                content = Accepted((*results, Rejected(SERIOUS)))
        return Reply(frame, content, Proof.NOTHING)
