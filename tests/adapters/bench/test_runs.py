"""Every scenario for a moment, over real sockets: the measures are complete and make sense. Nothing here is timed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from adapters.bench import runner
from adapters.bench.client import perform
from adapters.bench.errors import ExtraMissing, NeedsLinux, RunFailed
from adapters.bench.messages import Burst, Course, Job, Measures, Steady, Where
from adapters.bench.runner import measure, require_means
from adapters.bench.scenarios import SCENARIOS, Entry
from adapters.bench.variants import EXECUTOR, FLOOR, VARIANTS, Variant

MANY = 200
"""Callers that stand for the 10,000."""


def briefly(load: Steady | Burst | Course) -> Steady | Burst | Course:
    """The same load, for a moment."""
    match load:
        case Steady():
            seconds = 0.4 if load.pause_ms else 0.15
            return msgspec.structs.replace(load, calls=min(load.calls, MANY), warm_up_s=0.15, seconds=seconds)
        case Burst():
            return msgspec.structs.replace(load, seconds=0.001)
        case Course():
            return msgspec.structs.replace(load, orders=2_000, marks=4)


def entries() -> list[Entry]:
    """Every variant under one load, the executor under every load, and those who share its bursts."""
    each = [(name, entry) for name, scenario in SCENARIOS.items() for entry in scenario.entries]
    return [entry for name, entry in each if name in ("one", "cancels") or entry.variant is EXECUTOR]


def see_that_it_makes_sense(told: Measures) -> None:
    assert told.orders > 0
    assert told.seconds > 0
    assert told.orders_per_s == pytest.approx(told.orders / told.seconds)
    assert told.cpu_us > 0
    for spread in (told.to_wire, told.to_outcome):
        assert 0 < spread.p50 <= spread.p99 <= spread.p999
    assert told.to_wire.p50 < told.to_outcome.p50
    assert told.peak_rss_mb > 20
    assert told.pauses.total_us >= told.pauses.longest_us >= 0
    assert 0 < told.venue_load < 1


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{type(entry.load).__name__}-{entry.name}")
async def test_every_load_gives_complete_measures(entry: Entry, where: Where, tmp_path: Path) -> None:
    load = briefly(entry.load)
    job = Job(
        variant=entry.variant.name,
        load=load,
        ws_url=where.ws_url,
        http_url=where.http_url,
        folder=str(tmp_path),
    )
    told = await perform(job)
    see_that_it_makes_sense(told)
    assert (told.posts_ahead is not None) is isinstance(load, Burst)
    if isinstance(load, Burst):
        assert told.orders % (load.orders + load.cancels) == 0
    if isinstance(load, Course):
        assert [mark.orders for mark in told.course] == [500, 1_000, 1_500, 2_000]
        assert all(mark.journal_mb > 0 and mark.rss_mb > 20 and mark.orders_per_s > 0 for mark in told.course)


@pytest.mark.parametrize("name", ["cancels", "cancel"])
async def test_no_post_of_orders_goes_before_a_cancel(name: str, where: Where, tmp_path: Path) -> None:
    """A count, not a time: so it holds on any machine (goal 6)."""
    (entry,) = [entry for entry in SCENARIOS[name].entries if entry.variant is EXECUTOR]
    job = Job(
        variant=EXECUTOR.name,
        load=briefly(entry.load),
        ws_url=where.ws_url,
        http_url=where.http_url,
        folder=str(tmp_path),
    )
    assert (await perform(job)).posts_ahead == 0


def children() -> list[str]:
    """What this process has started and not seen the end of."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("variant", [FLOOR, VARIANTS["executor on uvloop"]], ids=lambda variant: variant.name)
async def test_a_client_and_a_venue_of_their_own(variant: Variant) -> None:
    see_that_it_makes_sense(await measure(variant, Steady(delay_ms=5, warm_up_s=0.05, seconds=0.1)))


async def test_a_client_that_fails_gives_no_measures(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunFailed, match="floor, or its venue, ended early"):
        await measure(FLOOR, Burst(per_call=1, orders=1, waiting=0, cancels=0))
    assert "ValueError" in capfd.readouterr().err  # of no cancels there is no last one


async def test_a_client_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    monkeypatch.setattr(runner, "_RUN_S", 0.5)
    with pytest.raises(RunFailed, match="took too long"):
        await measure(FLOOR, Steady(seconds=60.0))
    assert children() == before


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    require_means()
    monkeypatch.setattr(runner, "_MODULES", {"picows": "picows", "a-package": "no_such_module"})
    with pytest.raises(ExtraMissing, match=r"needs a-package: pip install 'hip3-executor\[bench\]'"):
        require_means()


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "plan9")
    with pytest.raises(NeedsLinux, match="run it there"):
        require_means()
