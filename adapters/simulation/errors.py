"""What a simulated run can end with, other than well."""

from __future__ import annotations


class PromiseBroken(Exception):
    """Something that must hold does not.

    Attributes:
        name: The invariant: one of spec/invariants.py, or of the simulator's own (adapters/simulation/judge.py).
        detail: What was seen.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
