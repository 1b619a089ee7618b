"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from adapters.bench.messages import Load
from adapters.bench.variants import SDK, VARIANTS, Variant

_EVERYBODY: Final = tuple(VARIANTS.values())


@dataclass(frozen=True, slots=True)
class Scenario:
    """One comparison.

    Attributes:
        name: How it is chosen on the command line.
        title: How it is shown.
        load: What is asked of each client in a round.
        quick: The same, in a hurry.
        variants: Who is compared.
        sdk_orders: How many orders the SDK is given; it takes them one after another.
    """

    name: str
    title: str
    load: Load
    quick: Load
    sdk: Load
    variants: tuple[Variant, ...] = _EVERYBODY

    def load_of(self, variant: Variant, *, quick: bool) -> Load:
        """What is asked of a client: less of the SDK, which is slower and sends one post after another."""
        if quick:
            return self.quick
        return self.sdk if variant is SDK else self.load


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "one",
            "one at a time",
            Load(orders=3_000, warm_up=500),
            quick=Load(orders=300, warm_up=100),
            sdk=Load(orders=1_000, warm_up=200),
        ),
        Scenario(
            "flight",
            "50 in flight, one order a post",
            Load(orders=10_000, warm_up=1_000, calls=50),
            quick=Load(orders=1_000, warm_up=200, calls=50),
            sdk=Load(orders=1_000, warm_up=200, calls=50),
        ),
        Scenario(
            "posts",
            "50 orders a post, 4 posts in flight",
            Load(orders=100_000, warm_up=10_000, calls=4, per_call=50),
            quick=Load(orders=5_000, warm_up=1_000, calls=4, per_call=50),
            sdk=Load(orders=20_000, warm_up=2_000, calls=4, per_call=50),
        ),
    )
}
"""All of them, by name."""
