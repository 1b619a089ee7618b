"""What the processes of a benchmark tell each other, as JSON: the job, the measures, and the venue's record."""

from __future__ import annotations

from msgspec import Struct, structs


class Load(Struct, frozen=True, kw_only=True, tag=True):
    """What is asked of a client, and on what terms.

    Attributes:
        per_call: Orders that are placed together, and the most that go in a post.
        tick_ms: The executor's `tick_ms`.
        delay_ms: How long the venue waits before it answers, ms.
    """

    per_call: int = 1
    tick_ms: int = 0
    delay_ms: int = 0


class Steady(Load, frozen=True, kw_only=True):
    """Calls, always as many under way.

    Attributes:
        calls: How many.
        pause_ms: How long each caller waits after an answer, ms.
        warm_up_s: How long that goes on before it is measured, s.
        seconds: How long it is measured.
    """

    calls: int = 1
    pause_ms: int = 0
    warm_up_s: float = 0.5
    seconds: float = 1.2

    def hurried(self) -> Steady:
        """The same in a tenth of the time, after half of the warm-up."""
        return structs.replace(self, warm_up_s=self.warm_up_s / 2, seconds=self.seconds / 10)


class Burst(Load, frozen=True, kw_only=True):
    """Many orders at once, and cancels as soon as no more than some of the orders wait; again and again.

    Attributes:
        orders: Orders in a burst.
        waiting: How many of them may wait when the cancels are submitted.
        cancels: Cancels in a burst.
        seconds: How long it is measured; one burst is done before.
    """

    orders: int
    waiting: int
    cancels: int
    seconds: float = 1.2

    def hurried(self) -> Burst:
        """The same in a tenth of the time."""
        return structs.replace(self, seconds=self.seconds / 10)


class Course(Load, frozen=True, kw_only=True):
    """A long run without a warm-up, with marks on the way.

    Attributes:
        calls: How many calls are under way at a time.
        orders: How many orders.
        marks: How many times it is noted how things stand.
    """

    calls: int
    orders: int
    marks: int = 20

    def hurried(self) -> Course:
        """The same with a twentieth of the orders."""
        return structs.replace(self, orders=self.orders // 20)


class Job(Struct, frozen=True, kw_only=True):
    """What a client's process has to do.

    Attributes:
        variant: Who it is (adapters/bench/variants.py).
        load: What it is asked.
        ws_url: The venue's WebSocket.
        http_url: The venue's HTTP side.
        folder: Where a journal may be written.
    """

    variant: str
    load: Steady | Burst | Course
    ws_url: str
    http_url: str
    folder: str


class Where(Struct, frozen=True):
    """Where the venue listens: the first line of its output."""

    ws_url: str
    http_url: str


class Post(Struct, frozen=True, array_like=True):
    """A post that reached the venue: its action, how many items it carried, and when, ns of the monotonic clock."""

    action: str
    items: int
    received_ns: int


class VenueRecord(Struct, frozen=True):
    """What the venue says of itself.

    Attributes:
        cpu_ns: Processor time that it has used so far, ns.
        seen: Posts that arrived so far.
        posts: The last of them, in the order of their arrival.
    """

    cpu_ns: int
    seen: int
    posts: tuple[Post, ...]


class Percentiles(Struct, frozen=True):
    """How a duration is spread, µs."""

    p50: float
    p99: float
    p999: float


class Pauses(Struct, frozen=True):
    """What the garbage collector did: how many collections, how long in all and at most, µs."""

    number: int
    total_us: float
    longest_us: float


class Mark(Struct, frozen=True, kw_only=True):
    """How things stood in the course of a long run.

    Attributes:
        orders: Orders so far.
        rss_mb: Memory of the process at that moment, MB.
        orders_per_s: Rate since the mark before.
        journal_mb: What the journal's files hold, MB.
    """

    orders: int
    rss_mb: float
    orders_per_s: float
    journal_mb: float


class Measures(Struct, frozen=True, kw_only=True):
    """What one run of one client gave.

    Attributes:
        orders: How many orders and cancels were measured.
        seconds: How long they took.
        orders_per_s: Their rate.
        cpu_us: Processor time of the client for each of them, µs.
        to_wire: From the call to the moment at which the venue had read its last order, or its last cancel.
        to_outcome: From the call to the moment at which the caller had its last outcome, or its last cancel's.
        peak_rss_mb: The most memory that the process ever had, MB.
        pauses: The garbage collector's, while it was measured.
        venue_load: The part of its processor that the venue used; near 1 it is the venue that was measured.
        posts_ahead: Of bursts: posts with orders that went out between the submission of the cancels and the last
            of these; the most in a burst.
        course: Of a long run: how things stood on the way.
    """

    orders: int
    seconds: float
    orders_per_s: float
    cpu_us: float
    to_wire: Percentiles
    to_outcome: Percentiles
    peak_rss_mb: float
    pauses: Pauses
    venue_load: float
    posts_ahead: int | None = None
    course: tuple[Mark, ...] = ()
