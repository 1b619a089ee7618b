"""Outcomes as people and programs read them: on the command stream, and in the journal."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from machines.intent import Canceled, Filled, NotExecuted, Outcome, Rejected, Resting, Unknown

OUTCOME_NAMES: Final[dict[type[Outcome], str]] = {
    Resting: "resting",
    Filled: "filled",
    Canceled: "canceled",
    Rejected: "rejected",
    NotExecuted: "not_executed",
    Unknown: "unknown",
}
"""What each is called where its class is not."""
_BY_CLASS: Final = {kind.__name__: kind for kind in OUTCOME_NAMES}


def describe(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON: `outcome` names it, its other fields follow."""
    return {"outcome": OUTCOME_NAMES[type(outcome)], **msgspec.structs.asdict(outcome)}


def outcome_from(recorded: dict[str, Any]) -> Outcome:
    """The outcome that the journal holds: its class as `type`, and its fields."""
    fields = {name: value for name, value in recorded.items() if name != "type"}
    outcome: Outcome = _BY_CLASS[recorded["type"]](**fields)
    return outcome
