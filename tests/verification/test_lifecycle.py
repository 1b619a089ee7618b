"""TLC and the search over the real core count the same states of the common sub-model."""

from __future__ import annotations

from pathlib import Path

import pytest

import spec
from adapters.verification.lifecycle import LIFECYCLE, REQUESTS, STATES, View, view
from adapters.verification.search import Search
from adapters.verification.tlc import find_tlc
from machines.intent import Cancel

SPEC = Path(spec.__file__).parent


@pytest.fixture(scope="module")
def views() -> set[View]:
    return Search(LIFECYCLE, view).run().views


def test_tlc_and_the_real_core_have_the_same_states(views: set[View]) -> None:
    verdict = find_tlc().run(SPEC / "Lifecycle.tla", SPEC / "Lifecycle.cfg", brief=True, timeout_s=240)
    assert verdict.violated is None
    assert verdict.states == len(views) == STATES
    assert all(verdict.taken[action] > 0 for action in ("Submit", "Send", "Answer", "LateAnswer", "Time", "Lose"))


def test_a_changed_module_has_another_count(tmp_path: Path) -> None:
    """The counts agree because the two do, not by chance: without the watermark there are others."""
    text = (SPEC / "Lifecycle.tla").read_text(encoding="utf-8")
    (tmp_path / "Lifecycle.tla").write_text(text, encoding="utf-8")
    config = (SPEC / "Lifecycle.cfg").read_text(encoding="utf-8").replace("HighWatermark = 1", "HighWatermark = 2")
    (tmp_path / "Lifecycle.cfg").write_text(config, encoding="utf-8")
    verdict = find_tlc().run(tmp_path / "Lifecycle.tla", tmp_path / "Lifecycle.cfg", brief=True, timeout_s=240)
    assert verdict.violated is None
    assert verdict.states != STATES


def test_requests_are_the_modules() -> None:
    kinds = ["cancel" if isinstance(each, Cancel) else "reduce" if each.reduce_only else "new" for each in REQUESTS]
    listed = ", ".join(f'"{kind}"' for kind in kinds)
    assert f"Kind == <<{listed}>>" in (SPEC / "Lifecycle.tla").read_text(encoding="utf-8")
    settings = LIFECYCLE.settings
    config = (SPEC / "Lifecycle.cfg").read_text(encoding="utf-8")
    assert f"Limit = {settings.inflight_limit}" in config
    assert f"HighWatermark = {settings.high_watermark}" in config
