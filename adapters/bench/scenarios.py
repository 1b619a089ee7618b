"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import structs

from adapters.bench.messages import Burst, Course, Steady
from adapters.bench.variants import EXECUTOR, EXECUTOR_ON_UVLOOP, FLOOR, FLOOR_ON_UVLOOP, SDK, VARIANTS, Variant
from machines.inflight import HIGH_WATERMARK


@dataclass(frozen=True, slots=True)
class Entry:
    """One who is compared.

    Attributes:
        name: How it is shown.
        variant: The client.
        load: What is asked of it.
        base: The name of the entry that it is compared with; None for who others are compared with.
    """

    name: str
    variant: Variant
    load: Steady | Burst | Course
    base: str | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One comparison.

    Attributes:
        name: How it is chosen on the command line.
        title: How it is shown.
        entries: Who is compared.
        once: Whether one round has to do, whatever is asked for, because it takes long.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    once: bool = False


def _same(load: Steady | Burst, *variants: Variant) -> tuple[Entry, ...]:
    """The same load for all, each compared with the floor on the same event loop.

    The SDK's calls return only when they are answered, so that it has one under way at a time.
    """
    bases = {FLOOR: None, FLOOR_ON_UVLOOP: FLOOR.name, EXECUTOR_ON_UVLOOP: FLOOR_ON_UVLOOP.name}
    alone = structs.replace(load, calls=1) if isinstance(load, Steady) else load
    return tuple(
        Entry(variant.name, variant, alone if variant is SDK else load, bases.get(variant, FLOOR.name))
        for variant in variants
    )


def _waiting(number: int, base: str | None) -> Entry:
    """So many orders that wait behind the posts in flight: with a post each, new orders fill the high watermark."""
    load = Steady(calls=HIGH_WATERMARK + number, warm_up_s=3.0, seconds=3.0)
    return Entry(f"{number:,} wait", EXECUTOR, load, base)


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario("one", "one at a time", _same(Steady(), *VARIANTS.values())),
        Scenario("flight", "50 in flight, one order a post", _same(Steady(calls=50), *VARIANTS.values())),
        Scenario(
            "posts", "50 orders a post, 4 posts in flight", _same(Steady(calls=4, per_call=50), *VARIANTS.values())
        ),
        Scenario(
            "late",
            "50 in flight, one order a post; the venue answers after 50 ms",
            _same(Steady(calls=50, delay_ms=50), FLOOR, EXECUTOR, SDK),
        ),
        Scenario(
            "idle",
            "an order every 150 ms, the executor with its tick of 100 ms",
            _same(Steady(pause_ms=150, tick_ms=100, warm_up_s=0.5, seconds=12.0), FLOOR, EXECUTOR),
        ),
        Scenario(
            "cancels",
            "1,000 cancels submitted while 900 orders wait, 50 items a post",
            _same(Burst(per_call=50, orders=900, waiting=900, cancels=1_000), FLOOR, EXECUTOR, SDK),
        ),
        Scenario(
            "cancel",
            "one cancel submitted while 900 orders wait behind full flight",
            _same(Burst(orders=1_000, waiting=900, cancels=1), EXECUTOR),
        ),
        Scenario(
            "queue",
            "the executor with few and with many orders waiting",
            (_waiting(10, None), _waiting(10_000, "10 wait")),
        ),
        Scenario(
            "million",
            "a long run, 1,000,000 orders (50,000 in a hurry), 50 a post, 400 at a time",
            (Entry(EXECUTOR.name, EXECUTOR, Course(per_call=50, calls=8, orders=1_000_000), None),),
            once=True,
        ),
    )
}
"""All of them, by name."""
