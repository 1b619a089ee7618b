"""The model: its names are those of the tables and invariants, and TLC finds what the table of configurations says.

Some configurations run here, one of each kind; all of them under the marker `long_model`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from adapters.verification import model, tlc
from adapters.verification.level import Check, CheckFailed
from adapters.verification.model import (
    CONFIGS,
    CONFIGURATIONS,
    NOT_MODELLED,
    ONLY_BY_MISTAKE,
    SPEC,
    Configuration,
    Fails,
    Passes,
    judge,
    quick_configurations,
    run_model,
    table_of_configurations,
)
from adapters.verification.tla_tables import NAMES, tables_module, write_tables
from adapters.verification.tlc import (
    DEADLOCK,
    TlcFailed,
    TlcUnavailable,
    Verdict,
    find_tlc,
    invariants_of,
    properties_of,
)
from machines.catalogue import MACHINES, AnyMachine
from machines.inflight import INFLIGHT
from machines.intent import Priority
from spec.invariants import INVARIANTS

TEXT = (SPEC / "Executor.tla").read_text(encoding="utf-8")
CODE = re.sub(r"\\\*.*", "", re.sub(r"\(\*.*?\*\)", "", TEXT, flags=re.DOTALL))
WORDS = set(re.findall(r'"(\w+)"', CODE))
BY_NAME = {configuration.name: configuration for configuration in CONFIGURATIONS}

LIVENESS = {
    *("EverySentPostEnds", "EveryUnknownSettles", "InflightReturnsToZero", "ReduceOnlyEventuallySent"),
    "EveryAcceptedIntentEnds",
}
"""Named in design.md; the last one is its promise."""
OF_THE_VENUE = {
    "OutcomeIsTrue",
    "ExecutedAtMostOnce",
    "OneOutcomeReported",
    "CanceledOrderIsGone",
    "ReduceOnlyFindsASlot",
}
"""Only the model sees the venue's truth and every crash; the code can't check these against itself."""
OF_THE_WORLD = {
    *("Break", "OrderSeen", "Journal", "Crash", "CrashAndNewKey", "Restart", "Receive", "ReceiveTwice"),
    *("GatewayError", "GateRefusal", "Vanish", "Expire", "Publish", "Rest"),
}
"""Actions that are no trigger of a table: what network, venue, journal and time do."""
WORDS_OF_THE_WORLD = {
    *("timeout", "broken", "duplicate", "repeat", "gateway", "gate", "loss", "lag", "crash", "rekey", "halt"),
    *("TimeoutFreesSlot", "LateReplyReleasesTwice", "NoQuarantineTime", "FenceWithAnotherKey", "OneAbsenceSuffices"),
    *("VerdictOfAnEarlierAttempt", "GateRefusesACopy"),
    *("refused", "missing", "noop", "too_low", "error", "fresh", "none", "outcome"),
    *("intent", "settlement", "session", "hard_stop", "inflight"),
}
"""Quoted words that are no state or event of a table: faults, mistakes, replies, machines."""


# ---------------------------------------------------------------------------------------------- one set of names


def test_model_moves_by_the_tables() -> None:
    assert (SPEC / "Tables.tla").read_text(encoding="utf-8") == tables_module()


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: str(machine.name))
def test_every_trigger_is_a_word_of_the_model(machine: AnyMachine) -> None:
    assert {member.value for member in machine.events.__members__.values()} <= WORDS


def test_every_other_word_is_the_worlds() -> None:
    members = [
        member
        for machine in MACHINES
        for enum in (machine.states, machine.events)
        for member in enum.__members__.values()
    ]
    assert WORDS - {member.value for member in members} - {queue.value for queue in Priority} == WORDS_OF_THE_WORLD


def test_actions_are_triggers_or_the_worlds() -> None:
    triggers = {
        "".join(part.capitalize() for part in event.value.split("_"))
        for machine in MACHINES
        for event in machine.events.__members__.values()
    }
    actions = set(re.findall(r"\b([A-Z]\w+)(?=\(\w+\)| \\/|$)", _definition("Next"), re.MULTILINE))
    assert actions >= OF_THE_WORLD
    assert actions - OF_THE_WORLD <= triggers
    assert actions >= ONLY_BY_MISTAKE


def test_invariants_are_those_of_the_code_and_of_the_venue() -> None:
    of_code = {invariant.id for invariant in INVARIANTS}
    assert of_code >= set(NOT_MODELLED)
    checked = _safety_of("settlement")
    assert checked == (of_code - set(NOT_MODELLED)) | OF_THE_VENUE


def _definition(name: str) -> str:
    found = re.search(rf"^{name} ==\n((?:  .*\n)+)", CODE, re.MULTILINE)
    assert found is not None, f"{name} is not defined"
    return found.group(1)


def _safety_of(name: str) -> set[str]:
    path = BY_NAME[name].path
    return {*invariants_of(path), *properties_of(path)}


# ------------------------------------------------------------------------------------------------ configurations


def test_every_configuration_has_its_file_and_every_file_its_configuration() -> None:
    assert sorted(path.name for path in CONFIGS.iterdir()) == sorted(f"{name}.cfg" for name in BY_NAME)
    assert len(BY_NAME) == len(CONFIGURATIONS)


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda configuration: configuration.name)
def test_configuration_names_what_it_is_there_for(configuration: Configuration) -> None:
    invariants, properties = invariants_of(configuration.path), properties_of(configuration.path)
    fair = "SPECIFICATION FairSpec" in configuration.path.read_text(encoding="utf-8")
    if isinstance(configuration.expects, Fails):
        violated = configuration.expects.violates
        assert (*invariants, *properties) == (() if violated == DEADLOCK else (violated,))
    elif fair:
        assert set(properties) == LIVENESS
    else:
        assert _safety_of(configuration.name) == _safety_of("settlement")


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda configuration: configuration.name)
def test_configuration_removes_its_rule_and_no_other(configuration: Configuration) -> None:
    removed = set(range(1, 21)) - {int(rule) for rule in _constant(configuration, "Rules")}
    mistakes = _constant(configuration, "Mistakes")
    if isinstance(configuration.expects, Passes):
        assert not mistakes
        assert removed == ({configuration.rule} if configuration.rule is not None else set())
    elif configuration.rule is not None:
        assert (removed, len(mistakes)) in [({configuration.rule}, 0), (set(), 1)]
        assert configuration.name.startswith(f"rule-{configuration.rule:02}")


def test_each_of_the_20_rules_has_its_configuration() -> None:
    failing = {c.rule for c in CONFIGURATIONS if isinstance(c.expects, Fails)} - {None}
    passing = {c.rule for c in CONFIGURATIONS if isinstance(c.expects, Passes)} - {None}
    assert (failing, passing) == (set(range(1, 21)) - {4}, {4})


def test_configurations_are_listed_in_the_readme() -> None:
    assert table_of_configurations() in (SPEC / "README.md").read_text(encoding="utf-8")


def _constant(configuration: Configuration, name: str) -> list[str]:
    text = configuration.path.read_text(encoding="utf-8")
    found = re.search(rf"^  {name} = {{(.*)}}$", text, re.MULTILINE)
    assert found is not None
    return [word.strip(' "') for word in found.group(1).split(",") if word]


# ------------------------------------------------------------------------------------------------------- running

HERE = (
    *("order-kept", "one-slot", "drain-lost"),
    *("rule-07", "rule-19", "no-quarantine", "late-reply-releases-twice", "no-fence"),
    *("no-quarantine-time", "no-fairness"),
)
"""A handful for every day: some that pass, and violations of each kind."""


def test_model_meets_its_expectations() -> None:
    told: list[Check] = []
    results = run_model([BY_NAME[name] for name in HERE], told.append)
    assert [(result.name, result.status, result.detail) for result in results if result.status != "passed"] == []
    assert [result.name for result in results] == ["tables", *HERE]
    assert told == results


@pytest.mark.long_model
@pytest.mark.timeout(900)
def test_every_quick_configuration_meets_its_expectation_and_every_action_is_taken() -> None:
    results = run_model(quick_configurations())
    assert [(result.name, result.detail) for result in results if result.status != "passed"] == []
    assert [result.name for result in results] == ["tables", *(c.name for c in quick_configurations()), "actions"]


@pytest.mark.long_model
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", [c.name for c in CONFIGURATIONS if not c.quick])
def test_long_configuration_meets_its_expectation(name: str) -> None:
    assert [result.detail for result in run_model([BY_NAME[name]]) if result.status != "passed"] == []


BY_NAME_IN_MODEL = {NAMES[machine.name]: machine for machine in MACHINES}


def _rows(machine: str) -> list[str]:
    return [
        f'<<"{row.event.value}", "{row.source.value}", "{row.target.value}">>'
        for row in BY_NAME_IN_MODEL[machine].table
    ]


def _run_without(machine: str, row: str, names: tuple[str, ...], folder: Path) -> str:
    """How the first of the configurations ends that notices that a row is missing from the model's table."""
    shutil.copytree(SPEC, folder / "spec", ignore=shutil.ignore_patterns("__pycache__"))
    before, head, after = tables_module().partition(f"{machine}Rows == {{")
    other = next(another for another in _rows(machine) if another != row)
    assert row in after
    # The rows are a set: one that is there twice is there once.
    (folder / "spec" / "Tables.tla").write_text(before + head + after.replace(row, other, 1), encoding="utf-8")
    for name in names:
        config = folder / "spec" / "configs" / f"{name}.cfg"
        try:
            judge(
                BY_NAME[name].expects,
                find_tlc().run(folder / "spec" / "Executor.tla", config, brief=True, timeout_s=240),
            )
        except (TlcFailed, CheckFailed) as noticed:
            return str(noticed)
    return "not noticed"


def test_row_that_is_missing_stops_the_checker(tmp_path: Path) -> None:
    noticed = _run_without("Post", '<<"time_out", "sent", "timed_out">>', ("window",), tmp_path)
    assert noticed.startswith("window.cfg: TLC ended with exit code")


TAKEN_BY = (
    *("drain-lost", "one-slot", "watermark-1", "watermark-2", "watermark-3", "drain", "queues", "replies-gate"),
    *("window", "replies-lag", "rekey", "crash", "session", "cancels"),
)


@pytest.mark.long_model
@pytest.mark.timeout(900)
def test_every_row_of_every_table_is_taken(tmp_path: Path) -> None:
    """A row that no configuration takes is a transition that the model does not check."""
    found = find_tlc()
    taken = set()
    for name in TAKEN_BY:
        config = tmp_path / f"{name}.cfg"
        text = BY_NAME[name].path.read_text(encoding="utf-8")
        config.write_text(text.replace("CONSTANTS\n", "CONSTANTS\n  Move <- MoveAndTell\n"), encoding="utf-8")
        scratch = tmp_path / name
        scratch.mkdir()
        command = [*found.command(str(scratch), brief=True), "-config", str(config), "Executor.tla"]
        done = subprocess.run(command, cwd=SPEC, capture_output=True, text=True, check=True)  # noqa: S603 our own command
        taken |= set(re.findall(r"^<<.*>>$", done.stdout, re.MULTILINE))
    for machine in MACHINES:
        for row in machine.table:
            move = f'<<"{machine.name}", "{row.event.value}", "{row.source.value}"'
            move += f', "{row.target.value}">>' if machine is INFLIGHT else ">>"
            assert move in taken


# ------------------------------------------------------------------------------------------- what is not as it should


def _verdict(states: int = 7, violated: str | None = None, actions: tuple[str, ...] = ()) -> Verdict:
    return Verdict(states, violated, actions, "State 1: …" if violated else "", {})


FAILS = Fails("OutcomeIsTrue", ("Send", "Crash"), "it is lost")


@pytest.mark.parametrize(
    ("expects", "verdict", "message"),
    [
        (Passes(8), _verdict(7), "in 7 distinct states instead of 8"),
        (Passes(7), _verdict(7, "QueuesBounded"), "QueuesBounded does not hold:\nState 1"),
        (FAILS, _verdict(7), "all holds in all 7 states, but OutcomeIsTrue should not"),
        (FAILS, _verdict(7, DEADLOCK), "Deadlock does not hold, expected was OutcomeIsTrue"),
        (FAILS, _verdict(7, "OutcomeIsTrue", ("Crash", "Send")), "violated for another reason than 'it is lost'"),
    ],
)
def test_other_verdict_than_expected_fails(expects: Passes | Fails, verdict: Verdict, message: str) -> None:
    with pytest.raises(CheckFailed, match=re.escape(message)):
        judge(expects, verdict)


def test_expected_verdict_passes() -> None:
    assert judge(Passes(7), _verdict(7)) == "all holds in all 7 states"
    actions = ("Open", "Send", "Receive", "Crash")
    assert judge(FAILS, _verdict(7, "OutcomeIsTrue", actions)) == "violates OutcomeIsTrue, as it must: it is lost"


def test_without_java_nothing_counts_as_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    results = run_model(CONFIGURATIONS)[1:]
    assert {(result.status, result.detail.split(";")[0]) for result in results} == {
        ("not_run", "there is no `java` on the PATH")
    }
    assert [result.name for result in results] == list(BY_NAME)


def test_another_jar_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tlc, "JAR_SHA256", "0" * 64)
    with pytest.raises(TlcUnavailable, match="has SHA-256 58c6df9a"):
        find_tlc()


def test_tables_of_another_day_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "Tables.tla"
    write_tables(other)
    other.write_text(other.read_text(encoding="utf-8").replace('"sent", "acked"', '"sent", "failed"'), encoding="utf-8")
    monkeypatch.setattr(model, "_TABLES", other)
    (result,) = run_model([])
    assert result.status == "failed"
    assert model.REWRITE in result.detail


def test_run_keeps_its_files_to_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two runs in one temporary folder would delete each other's standard modules."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Djava.io.tmpdir={tmp_path / 'the-common-one-is-gone'}")
    verdict = find_tlc().run(SPEC / "Executor.tla", BY_NAME["rule-07"].path, brief=True, timeout_s=60)
    assert verdict.violated == "OutcomeIsTrue"


def test_run_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "bad.cfg"
    config.write_text(BY_NAME["window"].path.read_text(encoding="utf-8").replace("MaxPosts = 6", "MaxPosts = 1"))
    with pytest.raises(TlcFailed, match=r"bad\.cfg: TLC ended with exit code"):
        find_tlc().run(SPEC / "Executor.tla", config, brief=True, timeout_s=60)


def test_run_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(TlcFailed, match="no verdict within 0 s"):
        find_tlc().run(SPEC / "Executor.tla", BY_NAME["window"].path, brief=True, timeout_s=0.2)
