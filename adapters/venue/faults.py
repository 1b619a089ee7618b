"""Faults on demand: what can go wrong between a client and the venue, drawn from one seeded generator.

The same seed and the same sequence of settings and questions give the same decisions; a post costs the same number
of draws whatever the settings are. Settings can be changed while the venue runs. None of this changes what the venue
records as the truth.
"""

from __future__ import annotations

import random
from typing import Final, Literal, NamedTuple

import msgspec


class InvalidFaults(ValueError):
    """Fault settings that make no sense; the message names the one."""


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings; probabilities are from 0 to 1, and everything is off by default.

    Of the faults that can hit one post, the first in this order wins: `refuse`, `error_unprocessed`, `close_before`
    (none of which lets it be processed); then `close_after`, `drop_reply`, `error_processed`, `duplicate_reply`.

    Attributes:
        processing_delay_ms: A post is processed after 0 to so many ms; posts overtake each other.
        reply_delay_ms: A reply leaves after another 0 to so many ms.
        refuse: Probability of `429 Too Many Requests` instead of processing.
        error_unprocessed: Probability of `502 Bad Gateway` instead of processing.
        error_processed: Probability of `502 Bad Gateway` instead of the reply of a processed post.
        drop_reply: Probability that a reply is lost.
        duplicate_reply: Probability that a reply is sent twice.
        close_before: Probability that the connection is closed instead of processing a post.
        close_after: Probability that the connection is closed after processing a post, without a reply.
        close_every_ms: Connections are closed after an exponentially distributed time with this mean; 0 for never.
        drop_update: Probability that a stream frame is lost.
        update_delay_ms: A stream frame leaves after 0 to so many ms; frames overtake each other.
        garbage: Probability that a frame which is no JSON follows a reply.
        clock_offset_ms: By how much the venue's clock is ahead of this machine's.
        lookup_lag_ms: For how long `orderStatus` does not know an order yet (§5: `unknownOid` right after a fill).
    """

    processing_delay_ms: int = 0
    reply_delay_ms: int = 0
    refuse: float = 0.0
    error_unprocessed: float = 0.0
    error_processed: float = 0.0
    drop_reply: float = 0.0
    duplicate_reply: float = 0.0
    close_before: float = 0.0
    close_after: float = 0.0
    close_every_ms: int = 0
    drop_update: float = 0.0
    update_delay_ms: int = 0
    garbage: float = 0.0
    clock_offset_ms: int = 0
    lookup_lag_ms: int = 0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            InvalidFaults: A probability outside 0 to 1, or a negative time.
        """
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not 0 <= value <= 1:
                raise InvalidFaults(f"{name} is a probability from 0 to 1, not {value}")
            if name != "clock_offset_ms" and value < 0:
                raise InvalidFaults(f"{name} must not be negative: {value}")


class PostPlan(NamedTuple):
    """What happens to one post.

    Attributes:
        before_ms: Time until it is processed.
        after_ms: Time from then until its reply leaves.
        processed: Whether it is processed at all.
        reply: Its own reply, one of the error texts, none, or a closed connection.
        copies: How many times the reply is sent.
        garbage: Whether a frame of garbage follows.
    """

    before_ms: float
    after_ms: float
    processed: bool
    reply: Literal["own", "429 Too Many Requests", "502 Bad Gateway", "none", "close"]
    copies: int
    garbage: bool


_UNDISTURBED: Final = PostPlan(0.0, 0.0, True, "own", 1, False)


class FaultInjector:
    """Decides what goes wrong.

    Attributes:
        settings: The present settings; assign to change them.
    """

    def __init__(self, seed: int, settings: Faults) -> None:
        self._random: Final = random.Random(seed)  # noqa: S311 - it must be repeatable, and guards nothing
        self.settings = settings

    @property
    def settings(self) -> Faults:
        """The present settings."""
        return self._settings

    @settings.setter
    def settings(self, settings: Faults) -> None:
        self._settings = settings
        names = Faults.__struct_fields__
        on_posts = [name for name in names if name not in _NOT_ON_POSTS and getattr(settings, name)]
        self._disturbs_posts = bool(on_posts)

    def plan(self) -> PostPlan | None:
        """What happens to the next post; None stands for nothing out of the ordinary."""
        if not self._disturbs_posts:
            return None
        draw, now = self._random.random, self._settings
        before, after = draw() * now.processing_delay_ms, draw() * now.reply_delay_ms
        refuse, error_unprocessed, close_before = draw(), draw(), draw()
        close_after, drop, error_processed, duplicate, garbage = draw(), draw(), draw(), draw(), draw()
        plan = _UNDISTURBED._replace(before_ms=before, after_ms=after, garbage=garbage < now.garbage)
        if refuse < now.refuse:
            return plan._replace(processed=False, reply="429 Too Many Requests")
        if error_unprocessed < now.error_unprocessed:
            return plan._replace(processed=False, reply="502 Bad Gateway")
        if close_before < now.close_before:
            return plan._replace(processed=False, reply="close")
        if close_after < now.close_after:
            return plan._replace(reply="close")
        if drop < now.drop_reply:
            return plan._replace(reply="none")
        if error_processed < now.error_processed:
            return plan._replace(reply="502 Bad Gateway")
        return plan._replace(copies=2) if duplicate < now.duplicate_reply else plan

    def update_delay_ms(self) -> float | None:
        """How long the next stream frame is held back; None if it is lost."""
        now = self._settings
        if not (now.drop_update or now.update_delay_ms):
            return 0.0
        lost = self._random.random() < now.drop_update
        delay = self._random.random() * now.update_delay_ms
        return None if lost else delay

    def connection_life_ms(self) -> float | None:
        """How long a new connection lives; None for as long as it likes."""
        mean = self._settings.close_every_ms
        return self._random.expovariate(1 / mean) if mean else None


_NOT_ON_POSTS: Final = frozenset(
    {"close_every_ms", "drop_update", "update_delay_ms", "clock_offset_ms", "lookup_lag_ms"}
)


def parse_faults(text: str | bytes) -> Faults:
    """Fault settings from a JSON object; what it leaves out is off.

    Raises:
        InvalidFaults: It is not such an object; the message says what is wrong and where.
    """
    try:
        return msgspec.json.decode(text, type=Faults)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidFaults(
            f"fault settings: {error}; known settings: {', '.join(Faults.__struct_fields__)}"
        ) from error
