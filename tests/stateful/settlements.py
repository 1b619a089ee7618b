"""Ambiguous posts and what becomes of them: the composed core, led along the rules of settlement.md and off them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant
from msgspec.structs import replace

from machines.batch import QueueLimits
from machines.settings import CoreSettings
from tests.stateful.plots import PLOTS, Stage, Step
from tests.stateful.record import Explorer, rule
from tests.stateful.venue import Choice
from tests.stateful.world import World

_COMMON: Final = (
    *(Step.ORDER, Step.REDUCE, Step.CANCEL, Step.SEND, Step.SEND, Step.RUN, Step.RUN_NEWEST, Step.HEAR),
    *(Step.TIME_OUT, Step.SOON, Step.LOOK, Step.STREAM, Step.HEAR_FIRST, Step.SEND, Step.RUN_NEWEST, Step.HEAR),
)
STEPS: Final = st.lists(st.sampled_from((*_COMMON, *Step)), min_size=4, max_size=12)
ROOMY: Final = CoreSettings(
    inflight_limit=8, high_watermark=7, settlement_alarm_ms=30_000, queues=QueueLimits(cancel=5, reduce_only=5, batch=2)
)
TIGHT: Final = replace(ROOMY, inflight_limit=3, high_watermark=2, schedule_cancel_ms=60_000)
CHOICES: Final = st.lists(
    st.sampled_from((Choice.REST, Choice.REST, Choice.TRADE, Choice.WAIT, Choice.REJECT_SERIOUSLY)),
    min_size=2,
    max_size=2,
)


@st.composite
def settings_for_settling(draw: st.DrawFn) -> CoreSettings:
    """Small limits, so that quarantine is felt, and an alarm that a run reaches."""
    limit = draw(st.sampled_from((8, 5, 8, 3, 2)))
    return CoreSettings(
        inflight_limit=limit,
        high_watermark=draw(st.sampled_from((limit, limit - 1))),
        expires_after_ms=draw(st.sampled_from((6_000, 6_000, 12_000, None))),
        settlement_alarm_ms=draw(st.sampled_from((30_000, 20_000))),
        schedule_cancel_ms=draw(st.sampled_from((None, None, 3_600_000))),
        rejections_to_halt=9,
        queues=QueueLimits(
            cancel=draw(st.sampled_from((5, 2))), reduce_only=draw(st.sampled_from((5, 3))), new_order=9, batch=2
        ),
    )


class Settlements(Explorer):
    """Plots, one after the other and mixed with chance; after each run, the world heals and all has to be settled."""

    pace = 2

    world: World | None = None

    @property
    def run(self) -> World:
        """The run, once it began."""
        assert self.world is not None
        return self.world

    @initialize(settings=settings_for_settling(), kept_nonces=st.sampled_from((100, 3)))
    def begin(self, settings: CoreSettings, kept_nonces: int) -> None:
        self.world = World(settings, kept_nonces=kept_nonces)
        self.world.become_ready()

    @classmethod
    def fixed_runs(cls) -> Iterable[Callable[[], None]]:
        """Every plot in a world of its own: as the venue may treat the items of a post, and with few slots."""
        rest = (Choice.REST, Choice.REST)
        fates = (rest, (Choice.TRADE, Choice.TRADE), (Choice.REJECT_SERIOUSLY, Choice.REST))
        roomy = [partial(unfold, plot, fate, ROOMY) for fate in fates for plot in PLOTS]
        return [*roomy, *(partial(unfold, plot, rest, TIGHT, kept_nonces=3) for plot in PLOTS)]

    def teardown(self) -> None:
        if self.world is not None and self.world.sound:
            self.world.heal()

    @invariant()
    def everything_holds(self) -> None:
        if self.world is not None:
            self.world.check_everything()

    def play(self, steps: Sequence[Step], choices: list[Choice]) -> None:
        """A plot, where new orders pass, and frames of the past stay on the wire."""
        Stage(self.run, choices, since=len(self.run.venue.frames)).play(steps)

    @rule(plot=st.sampled_from(PLOTS), choices=CHOICES)
    def a_plot_unfolds(self, plot: tuple[Step, ...], choices: list[Choice]) -> None:
        self.run.recover()
        self.run.make_ready()
        self.play(plot, choices)

    @rule(plot=st.sampled_from(PLOTS), at=st.integers(1, 9), meanwhile=STEPS, choices=CHOICES)
    def a_plot_is_disturbed(
        self, plot: tuple[Step, ...], at: int, meanwhile: list[Step], choices: list[Choice]
    ) -> None:
        self.run.make_ready()
        self.play((*plot[:at], *meanwhile[:3], *plot[at:]), choices)

    @rule(steps=STEPS, choices=CHOICES)
    def anything_happens(self, steps: list[Step], choices: list[Choice]) -> None:
        Stage(self.run, choices).play(steps)


def unfold(plot: tuple[Step, ...], fates: Sequence[Choice], settings: CoreSettings, kept_nonces: int = 100) -> None:
    """A plot, in a world where nothing else happens."""
    world = World(settings, kept_nonces=kept_nonces)
    world.make_ready()
    Stage(world, fates).play(plot)
    world.check_everything()
    world.heal()
