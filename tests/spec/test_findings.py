"""Every review finding is covered: by an invariant or by a named test, by a test that bears its id, and by a mistake.

The ids are those of the design review that the executor answers; `pytest -k N2` runs the tests of finding N2, and hunts
its mistakes: each is put back, and the suite has to find it.
"""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from spec.invariants import INVARIANTS
from tests.stateful.mistakes import MISTAKES

FINDINGS: Final = (
    *("N1", "N2", "N3", "N4", "N5"),
    *("B1", "B2", "B3", "B4", "B5", "B6", "B7"),
    *("P1", "P2", "P3", "P4", "P5", "P6", "P7"),
    *("I1", "I2"),
    *("D1", "D2", "D3"),
    *("X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9"),
)

COVERED_BY_TEST: Final = {
    "N3": ("tests.machines.test_nonce", "test_n3_no_nonce_falls_below_a_time_that_the_server_has_shown"),
    "N4": ("tests.machines.test_nonce", "test_n4_offset_is_server_minus_local"),
    "P4": ("tests.machines.test_post", "test_p4_posts_are_found_by_id_never_by_nonce"),
    "P6": ("tests.machines.test_post", "test_p6_stuck_first_post_does_not_delay_later_ones"),
    "X5": ("tests.machines.test_executor_replies", "test_x5_error_that_names_no_post_ends_none"),
    "X7": (
        "tests.machines.test_order_stream",
        "test_x7_reply_that_contradicts_the_stream_is_an_alarm_and_changes_no_outcome",
    ),
    "X8": ("tests.machines.test_executor_replies", "test_x8_benign_rejections_do_not_count"),
    "X9": ("tests.machines.test_executor_submit", "test_x9_second_flatten_of_a_market_is_answered_with_the_first"),
}
"""Findings whose breach a state of the core need not show, only a run, with the test that covers each."""


SETTLEMENT_RULES: Final = range(1, 21)
"""Its rules, each found necessary by model checking; `pytest -k rule_09` runs the tests of one."""


@cache
def _test_names() -> frozenset[str]:
    """The names of the test functions of `tests/machines` and `tests/spec`."""
    return frozenset(
        node.name
        for folder in ("machines", "spec")
        for path in (Path(__file__).parents[1] / folder).glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )


def _ids_in_test_names() -> set[str]:
    """The findings that some test bears in its name."""
    return {match[1].upper() for name in _test_names() if (match := re.match(r"test_([a-z]\d)_", name))}


def _rules_in_test_names() -> set[int]:
    """The rules of settlement that some test bears in its name."""
    matches = filter(None, (re.match(r"test_x2_rule_((?:\d\d_)+)", name) for name in _test_names()))
    return {int(number) for match in matches for number in match[1].split("_") if number}


def test_every_finding_is_covered_by_an_invariant_or_by_a_named_test() -> None:
    by_invariant = {finding for invariant in INVARIANTS for finding in invariant.findings}
    assert by_invariant | set(COVERED_BY_TEST) == set(FINDINGS)


@pytest.mark.parametrize("finding", COVERED_BY_TEST)
def test_covering_test_exists_and_bears_the_id(finding: str) -> None:
    module, name = COVERED_BY_TEST[finding]
    assert callable(getattr(importlib.import_module(module), name))
    assert f"_{finding.lower()}_" in name


@pytest.mark.parametrize("finding", FINDINGS)
def test_finding_has_a_test_with_its_id(finding: str) -> None:
    assert finding in _ids_in_test_names()


def test_no_test_bears_the_id_of_an_unknown_finding() -> None:
    assert _ids_in_test_names() == set(FINDINGS)


def test_every_rule_of_settlement_has_a_test_with_its_number_and_no_test_another_one() -> None:
    assert _rules_in_test_names() == set(SETTLEMENT_RULES)


def test_every_finding_and_every_rule_of_settlement_has_a_mistake_that_has_to_be_found() -> None:
    assert {finding for mistake in MISTAKES for finding in mistake.findings} == set(FINDINGS)
    assert {rule for mistake in MISTAKES for rule in mistake.rules} == set(SETTLEMENT_RULES)
