"""What the processes of a benchmark tell each other, as JSON: the job, the measures, and the venue's record."""

from __future__ import annotations

from msgspec import Struct


class Load(Struct, frozen=True, kw_only=True):
    """What is asked of a client.

    Attributes:
        orders: How many orders are measured.
        warm_up: How many go before, unmeasured.
        calls: How many calls are under way at a time.
        per_call: Orders in a call, and in a post.
        pause_ms: How long to wait after each call, ms.
        tick_ms: The executor's `tick_ms`.
        delay_ms: How long the venue waits before it answers, ms.
    """

    orders: int
    warm_up: int
    calls: int = 1
    per_call: int = 1
    pause_ms: int = 0
    tick_ms: int = 0
    delay_ms: int = 0


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
    load: Load
    ws_url: str
    http_url: str
    folder: str


class Where(Struct, frozen=True):
    """Where the venue listens: the first line of its output."""

    ws_url: str
    http_url: str


class Post(Struct, frozen=True, array_like=True):
    """A post that reached the venue: its id (0 over HTTP), its action, and how many items it carried."""

    post_id: int
    action: str
    items: int


class VenueRecord(Struct, frozen=True):
    """What the venue says of itself.

    Attributes:
        cpu_ns: Processor time that it has used so far, ns.
        posts: The last posts, in the order of their arrival.
    """

    cpu_ns: int
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


class Measures(Struct, frozen=True, kw_only=True):
    """What one run of one client gave.

    Attributes:
        orders: How many orders were measured.
        seconds: How long they took.
        orders_per_s: Their rate.
        cpu_us: Processor time of the client for each of them, µs.
        to_wire: From the call to the moment at which the venue had read its last order.
        to_outcome: From the call to the moment at which the caller had its last outcome.
        peak_rss_mb: The most memory that the process ever had, MB.
        pauses: The garbage collector's, while it was measured.
        venue_load: The part of its processor that the venue used; near 1 it is the venue that was measured.
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
