"""The catalogue is up to date, covers every finding, and claims only what is so.

For each level that it claims for an invariant, the invariant is broken on purpose, and the level has to notice.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase

from adapters.journal import Step
from adapters.monitor import Monitor
from adapters.simulation import simulate
from adapters.simulation.world import Simulation
from adapters.verification import catalogue, code, nonce_proof, posts_proof, trace_tla
from adapters.verification.catalogue import (
    LIVE,
    LIVENESS,
    OF_THE_VENUE,
    PROVEN_AS,
    SIMULATED,
    Entry,
    MutantSurvives,
    entries,
    findings,
    invariants,
    levels_of,
    liveness,
    proof_rules,
    raised_by,
    recorded,
    recorded_from,
    truths,
)
from adapters.verification.level import CheckFailed
from adapters.verification.levels import LEVELS
from adapters.verification.model import CONFIGURATIONS, SPEC, Fails, Passes
from adapters.verification.proof import PostsProof
from adapters.verification.tlc import find_tlc, invariants_of, properties_of
from adapters.verification.trace_tla import check_trace
from machines.clock import ManualClock
from machines.executor import ExecutorCore
from spec import invariants as spec_invariants
from spec.invariants import INVARIANTS
from tests.mutants import FINDINGS, RULES, hunted, mutants
from tests.stateful.checks import Violated
from tests.stateful.composed import ComposedCore
from tests.stateful.record import run

TRACED = invariants_of(SPEC / "TraceExecutor.cfg")
NAMES = [invariant.id for invariant in INVARIANTS]
KILLERS = {entry.id: entry.kills for entry in entries() if entry.kills}


# ------------------------------------------------------------------------------------------------------- up to date


def test_page_is_up_to_date() -> None:
    written = catalogue.PAGE.read_text(encoding="utf-8")
    assert written == catalogue.page(), f"docs/verification.md is of another day; run `{catalogue.COMMAND}`"


def test_record_has_every_mistake() -> None:
    """What is recorded of a mistake is what is registered of it, so that only what killed it can be of another day."""
    registered = {name: (one.findings, one.rules, one.description) for name, (one, _) in mutants().items()}
    kept = {one.id: (one.findings, one.rules, one.description) for one in recorded()}
    assert kept == registered, f"tests/mutants.json is of another day; run `{catalogue.COMMAND} --hunt`"
    assert {finding for mutant in recorded() for finding in mutant.findings} == FINDINGS
    assert {rule for mutant in recorded() for rule in mutant.rules} == RULES


@pytest.mark.parametrize("name", sorted({KILLERS[name][-1] for name in KILLERS}))
def test_recorded_kill_is_so(name: str) -> None:
    """One of each invariant or promise; level `mutants` hunts them all."""
    killed_by = hunted(name).killed_by
    known = next(mutant.killed_by for mutant in recorded() if mutant.id == name)
    assert (killed_by or "").partition(", seed ")[0] == known, f"run `{catalogue.COMMAND} --hunt`"


def test_record_is_made_of_what_the_hunt_prints() -> None:
    printed = {"id": "b", "findings": ["X1"], "rules": [], "description": "d", "killed_by": "K, seed 7", "seconds": 0.5}
    lines = [json.dumps({**printed, "id": name}).encode() for name in ("b", "a")]
    made = msgspec.json.decode(recorded_from(lines), type=tuple[catalogue.Mutant, ...])
    assert [(mutant.id, mutant.killed_by) for mutant in made] == [("a", "K"), ("b", "K")]
    with pytest.raises(MutantSurvives, match="b is not noticed: d; strengthen the suite"):
        recorded_from([*lines, json.dumps({**printed, "killed_by": None}).encode()])


def test_main_writes_page_and_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page, record = tmp_path / "page.md", tmp_path / "mutants.json"
    shutil.copy(catalogue.RECORD, record)
    monkeypatch.setattr(catalogue, "PAGE", page)
    monkeypatch.setattr(catalogue, "RECORD", record)
    monkeypatch.setattr("sys.argv", ["catalogue"])
    catalogue.main()
    assert page.read_text(encoding="utf-8") == catalogue.page()


# ---------------------------------------------------------------------------------------------------- every finding


def test_findings_are_those_of_the_document() -> None:
    assert set(findings()) == FINDINGS
    assert {finding for entry in entries() for finding in entry.findings} <= FINDINGS


@pytest.mark.parametrize("finding", sorted(FINDINGS))
def test_finding_has_something_that_checks_it_and_a_mistake(finding: str) -> None:
    covering = [entry for entry in entries() if finding in entry.findings]
    own = [mutant for mutant in recorded() if finding in mutant.findings]
    assert own
    assert all(entry.levels for entry in covering)
    # Whether an error without an id, a benign rejection or a second flatten was taken rightly, no state shows.
    assert covering or finding in {"X5", "X8", "X9"}
    assert covering or {mutant.killed_by.partition(":")[0] for mutant in own} == {"model"}


def test_every_configuration_that_must_fail_is_of_an_entry() -> None:
    failing = {configuration.name for configuration in CONFIGURATIONS if isinstance(configuration.expects, Fails)}
    assert {name for entry in entries() for name in entry.fails} == failing


def test_entries_are_complete() -> None:
    names = [entry.id for entry in entries()]
    assert len(names) == len(set(names))
    assert all(entry.statement.endswith(".") and entry.findings and entry.levels for entry in entries())
    modelled = {
        name
        for each in CONFIGURATIONS
        if isinstance(each.expects, Passes)
        for name in (*invariants_of(each.path), *properties_of(each.path))
    }
    assert modelled <= set(names)
    assert {*OF_THE_VENUE, *LIVENESS} <= {entry.id for entry in (*truths(), *liveness())}
    assert {*posts_proof.RULES, *nonce_proof.RULES} <= {*PROVEN_AS.values(), *(entry.id for entry in proof_rules())}
    # What killed a mistake by name is in the catalogue, or a prediction, a state machine, or a fault of our own.
    words = {mutant.killed_by for mutant in recorded() if re.fullmatch(r"\w+", mutant.killed_by)}
    assert words - set(names) == {"NoFaultOfOurOwn"}


def test_levels_have_the_names_that_hip3_verify_takes() -> None:
    assert {level for entry in entries() for level in entry.levels} <= {
        *(level.name for level in LEVELS),
        *(LIVE, SIMULATED),
    }


# ------------------------------------------------------------------------------------------- a claim is really so


def _claims(level: str) -> list[str]:
    return [entry.id for entry in invariants() if level in entry.levels]


@pytest.fixture
def break_invariant(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets one invariant be violated by everything."""

    def broken(name: str) -> None:
        changed = [replace(each, check=lambda _: "on purpose") if each.id == name else each for each in INVARIANTS]
        monkeypatch.setattr(spec_invariants, "INVARIANTS", tuple(changed))

    return broken


def test_every_invariant_is_checked_by_what_evaluates_them_all() -> None:
    for level in ("code", "random", SIMULATED, LIVE):
        assert _claims(level) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_code_random_simulator_and_live_executor_notice(name: str, break_invariant: Callable[[str], None]) -> None:
    break_invariant(name)
    searched, _ = code._searched_alone(0)
    assert (searched.status, searched.detail) == ("failed", f"PromiseBroken: {name}: on purpose")
    with pytest.raises(Violated, match=f"{name}: on purpose"):
        run(ComposedCore, seed=1, max_examples=1, database=None, phases=(Phase.generate,))
    failure = simulate(1, 0.001).failure
    assert failure is not None
    assert failure.name == name
    violation = Monitor(ExecutorCore(ManualClock(), run_id=1)).check()
    assert str(violation) == f"{name}: on purpose"


def test_proof_notices_each_invariant_that_it_evaluates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in posts_proof.PROVEN:
        monkeypatch.setitem(posts_proof._PREDICATES, name, lambda _: "on purpose")
    assert {flaw.rule for flaw in posts_proof.beginning() if flaw.detail == "on purpose"} == set(posts_proof.PROVEN)
    proof = PostsProof()
    proof.follow()
    for name in posts_proof.PROVEN:
        with pytest.raises(CheckFailed):
            proof.verdict(name)


def test_proof_claims_only_what_it_has_a_check_for() -> None:
    assert set(_claims("proof")) == set(PROVEN_AS)
    assert set(PROVEN_AS.values()) <= {*posts_proof.RULES, *nonce_proof.RULES}
    flaws = {
        flaw.partition(": ")[0]
        for manager in nonce_proof.MISTAKES
        for broken in nonce_proof.ways(PROVEN_AS["NonceInsideWindow"], manager)
        for flaw in broken
    }
    assert "a nonce is not above those issued before" in flaws  # NoncesUniqueAndIncreasing
    assert flaws & {"a nonce is too old for the venue", "a nonce is too new for the venue"}  # NonceInsideWindow


@pytest.mark.parametrize("entry", [entry for entry in entries() if "model" in entry.levels], ids=lambda each: each.id)
def test_model_defines_what_its_configurations_name(entry: Entry) -> None:
    """Whether TLC notices, the configurations that must fail show; here, that it is asked, and of what."""
    module = (SPEC / "Executor.tla").read_text(encoding="utf-8")
    asked = [
        each.name
        for each in CONFIGURATIONS
        if isinstance(each.expects, Passes) and entry.id in {*invariants_of(each.path), *properties_of(each.path)}
    ]
    if entry.id == "Deadlock":
        assert all("DEADLOCK" not in each.path.read_text(encoding="utf-8") for each in CONFIGURATIONS)
    else:
        assert asked
        assert re.search(rf"^{entry.id} ==", module, re.MULTILINE)


@pytest.fixture(scope="module")
def recorded_run() -> list[Step]:
    """The beginning of a simulated run."""
    world = Simulation(1)
    world.suffer(5_000)
    return [msgspec.json.decode(step, type=Step) for step in world.disk.steps]


@pytest.mark.parametrize("name", [entry.id for entry in entries() if "trace" in entry.levels])
def test_reader_of_traces_notices(
    name: str, recorded_run: list[Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SPEC, tmp_path / "spec", ignore=shutil.ignore_patterns("__pycache__", "configs"))
    module = tmp_path / "spec" / "TraceExecutor.tla"
    text = module.read_text(encoding="utf-8")
    broken, count = re.subn(rf"^{name} == .*$", f"{name} == line < 2", text, flags=re.MULTILINE)
    assert count == 1
    module.write_text(broken, encoding="utf-8")
    monkeypatch.setattr(trace_tla, "_SPEC", tmp_path / "spec")
    assert (check_trace(find_tlc(), recorded_run) or "").endswith(f": {name}")


def test_every_invariant_of_the_reader_is_claimed_or_its_own() -> None:
    assert set(TRACED) - set(_claims("trace")) == {"EveryLineIsAStep"}


def test_promise_is_claimed_where_it_is_raised() -> None:
    """A name that only the promises' list has would claim nothing; one that only the code raises is not listed."""
    for level in ("code", "random", SIMULATED):
        assert raised_by(level)
    for entry in truths():
        levels: set[Any] = set(levels_of(entry.id))
        assert levels - {"model"} or entry.id in OF_THE_VENUE
