"""The levels, in their order, and how one is run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Final

from adapters.verification.code import run_code
from adapters.verification.level import Check, CheckFailed, Level, LevelResult, Options, check
from adapters.verification.model import model_checks, quick_configurations
from adapters.verification.mutants import run_mutants
from adapters.verification.proof import run_proof
from adapters.verification.tables import run_tables
from adapters.verification.trace import run_trace

_SOURCE_TREE: Final = Path(__file__).parents[2]
_SUITE: Final = _SOURCE_TREE / "tests" / "stateful"
_SUITE_TIMEOUT_S: Final = 1_800
_PLUGIN: Final = "adapters.verification.examples"
EXAMPLES: Final = "HIP3_VERIFY_EXAMPLES"
"""Tells the plugin how many examples each state machine gets."""
RANDOM: Final = "HIP3_VERIFY_RANDOM"
"""Tells the plugin to draw the examples from pytest's seed."""


def _run_model(_: Options) -> Iterator[Check]:
    return model_checks(quick_configurations())


def _run_random(options: Options) -> Iterator[Check]:
    """The Hypothesis suite, in a process of its own: it is part of the source tree, not of the distribution."""
    if not _SUITE.is_dir() or find_spec("pytest") is None or find_spec("hypothesis") is None:
        why = (
            "needs the source tree (tests/stateful) with pytest and hypothesis; this is an installed copy without them"
        )
        yield Check("Hypothesis suite", "not_run", 0.0, why)
        return
    yield check("Hypothesis suite", partial(_run_suite, options))


def _run_suite(options: Options) -> str:
    environment = dict(os.environ)
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-p", _PLUGIN]
    if options.examples is not None:
        environment[EXAMPLES] = str(options.examples)
    if options.seed is not None:
        environment[RANDOM] = "1"
        command.append(f"--hypothesis-seed={options.seed}")
    command.append(str(_SUITE))
    ran = subprocess.run(  # noqa: S603 our own interpreter and tests
        command,
        cwd=_SOURCE_TREE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SUITE_TIMEOUT_S,
        check=False,
    )
    if ran.returncode:
        raise CheckFailed(ran.stdout[-3_000:] or ran.stderr[-3_000:])
    return ran.stdout.strip().splitlines()[-1]


LEVELS: Final[tuple[Level, ...]] = (
    Level(
        "tables",
        "The transition tables are well formed and unambiguous, every state is reachable, and none is a dead end.",
        "That the right transitions are in them.",
        quick=True,
        run=run_tables,
    ),
    Level(
        "proof",
        "Slots, quarantine and nonces keep their invariants for any limit, number of posts, connections and clock.",
        "What becomes of intents, how the core puts the machines together, and that threads take turns.",
        quick=True,
        run=run_proof,
    ),
    Level(
        "model",
        "The executor with network, venue and restarts, in TLA+: safe and live, but not without any rule other than 4.",
        "That the code is what the specification says, and what happens with more intents than the model has.",
        quick=False,
        run=_run_model,
    ),
    Level(
        "code",
        "The real core, in every order of events within small bounds: safe, true to the venue, and never stuck.",
        "Larger bounds, events less than a step of time apart, restarts, and the shell around the core.",
        quick=True,
        run=run_code,
    ),
    Level(
        "random",
        "The real core, in random runs with larger bounds, does what a reference model expects, step by step.",
        "Runs that were not drawn.",
        quick=False,
        run=_run_random,
    ),
    Level(
        "mutants",
        "Every mistake that findings.md and settlement.md forbid, put back, is noticed.",
        "Mistakes that nobody has thought of.",
        quick=False,
        run=run_mutants,
    ),
    Level(
        "trace",
        "What ran was what machines and model do: a live demo, simulated runs. Changed copies are found out.",
        "That the machines are right, and runs that nobody recorded.",
        quick=False,
        run=run_trace,
    ),
)
"""All levels, in the order in which they run."""
QUICK: Final = tuple(level for level in LEVELS if level.quick)


def run_level(
    level: Level, options: Options | None = None, progress: Callable[[Check], None] = lambda _: None
) -> LevelResult:
    """Run a level; `progress` hears of each check as it ends."""
    start = perf_counter()
    checks = []
    try:
        for done in level.run(options or Options()):
            progress(done)
            checks.append(done)
    except Exception as error:
        checks.append(Check("the level itself", "failed", perf_counter() - start, f"{type(error).__name__}: {error}"))
    return LevelResult(level, checks, perf_counter() - start)
