"""How a check of this suite fails: by name, so that a mistake that is put back can be said to be found by something."""

from __future__ import annotations

from machines.snapshot import Snapshot
from spec.invariants import violations


class Violated(AssertionError):
    """A check failed.

    Attributes:
        by: Its name: an invariant of spec/invariants.py, a truth that the venue knows, or a prediction of the model.
    """

    def __init__(self, by: str, detail: str) -> None:
        super().__init__(f"{by}: {detail}")
        self.by = by


def check_invariants(snapshot: Snapshot) -> None:
    """Every invariant holds."""
    for violation in violations(snapshot):
        raise Violated(violation.invariant.id, violation.detail)


def agree(what: str, seen: object, expected: object, event: object = None) -> None:
    """The core does what the model predicts."""
    if seen != expected:
        raise Violated(f"model: {what}", f"{seen} is not {expected}, after {event}")
