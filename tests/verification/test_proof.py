"""Level `proof`: it holds for the real machines, and for no machine that is wrong in one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from adapters.verification import nonce_proof, posts_proof
from adapters.verification.level import Check, Options
from adapters.verification.proof import WrongTable, first_flaw, run_proof, with_table, wrong_tables
from machines import inflight, post
from machines.catalogue import AnyMachine
from machines.inflight import INFLIGHT
from machines.post import POST
from machines.table import StateMachine


@pytest.fixture(scope="module")
def results() -> dict[str, Check]:
    return {result.name: result for result in run_proof(Options())}


def test_everything_is_proven(results: dict[str, Check]) -> None:
    assert {name: result.detail for name, result in results.items() if result.status != "passed"} == {}


def test_every_rule_has_its_check(results: dict[str, Check]) -> None:
    assert {*posts_proof.RULES, *nonce_proof.RULES} <= set(results)


MACHINES: Final[tuple[AnyMachine, ...]] = (POST, INFLIGHT)


def _without_one_effect() -> Iterator[WrongTable]:
    for machine in MACHINES:
        for number, row in enumerate(machine.table):
            table = tuple(replace(each, effect=None) if each is row else each for each in machine.table)
            wrong = with_table(machine, table)
            what = f"{machine.name} {number}: {row.event.value} from {row.source.value} to {row.target.value}"
            yield WrongTable(what, post=wrong) if machine is POST else WrongTable(what, inflight=wrong)


@pytest.mark.parametrize("wrong", list(_without_one_effect()), ids=lambda wrong: str(wrong.mistake))
def test_no_row_can_do_without_its_effect(wrong: WrongTable) -> None:
    assert first_flaw(wrong) is not None


@pytest.mark.parametrize(
    ("mistake", "rule"),
    [
        ("a timeout leaks its slot", "InflightMatchesSent"),
        ("a timeout frees its slot, with no quarantine", posts_proof.FREED),
        ("a second reply gives back a second slot", posts_proof.STAYS),
        ("a slot is taken over the limit", "VenueInflightWithinLimit"),
        ("full is called normal", "InflightMatchesSent"),
    ],
)
def test_wrong_table_fails_for_its_reason(mistake: str, rule: str) -> None:
    wrong = next(wrong for wrong in wrong_tables() if wrong.mistake == mistake)
    flaw = first_flaw(wrong)
    assert flaw is not None
    assert flaw.rule == rule


def test_real_tables_are_back_after_a_wrong_one() -> None:
    before = list(StateMachine.observers)
    first_flaw(next(iter(wrong_tables())))
    assert (post.POST, inflight.INFLIGHT) == (POST, INFLIGHT)
    assert StateMachine.observers == before


@pytest.mark.parametrize("manager", nonce_proof.MISTAKES, ids=lambda manager: str(manager.__name__))
def test_wrong_nonce_manager_fails(manager: nonce_proof.Manager) -> None:
    assert any(flaws for rule in nonce_proof.RULES for flaws in nonce_proof.ways(rule, manager))
