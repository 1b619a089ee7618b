"""Hypothesis profiles, chosen by the environment variable `HIP3_PROFILE`.

* `quick` (default): the same examples in every run, so that the suite's verdict depends on the code alone.
* `ci`: the same, with more examples.
* `nightly`: random, with many more. The report header prints the seed and the command that repeats the run; a failure
  also prints the blob that repeats its example alone (`@reproduce_failure`).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from hypothesis import settings

from adapters.verification.stamp import require_stamp
from tests.transition_coverage import OPTION, TransitionCoverage

PROFILE = os.environ.get("HIP3_PROFILE", "quick")

settings.register_profile(
    "quick", max_examples=100, stateful_step_count=25, deadline=None, derandomize=True, database=None
)
settings.register_profile("ci", settings.get_profile("quick"), max_examples=300, stateful_step_count=50)
settings.register_profile(
    "nightly",
    settings.get_profile("quick"),
    max_examples=1_500,
    stateful_step_count=80,
    derandomize=False,
    print_blob=True,
)
settings.load_profile(PROFILE)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What this suite knows of its own."""
    parser.addoption(OPTION, type=Path, metavar="FILE", help="write how often each transition was taken, as JSON")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A random profile runs under a seed that can be named; Hypothesis's own plugin takes it from its option."""
    coverage: Path | None = config.getoption(OPTION)
    if coverage is not None:
        config.pluginmanager.register(TransitionCoverage(coverage))
    if not settings().derandomize and config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(secrets.randbelow(2**32))


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test, and no process that it starts, reads or writes the user's own journals and verification stamps."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def verified(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The machines are verified once, by the quick levels, for all `hip3 run` of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        require_stamp()


def pytest_report_header(config: pytest.Config) -> str:
    """The profile; for a random one, how to repeat the run."""
    if settings().derandomize:
        return f"hypothesis profile: {PROFILE}, derandomized"
    seed = config.getoption("--hypothesis-seed")
    return (
        f"hypothesis profile: {PROFILE}, seed {seed}; "
        f"to repeat: HIP3_PROFILE={PROFILE} pytest tests/stateful --hypothesis-seed={seed}"
    )
