"""A pytest plugin for level `random`: the number of examples, and their randomness, that `hip3 verify` was asked for.

It changes the Hypothesis profile that the suite has loaded by then. Nothing else imports it: Hypothesis is there in the
source tree only.
"""

from __future__ import annotations

import os

from hypothesis import settings

from adapters.verification.levels import EXAMPLES, RANDOM


def pytest_collection() -> None:
    """The suite's own profile is loaded; adjust it."""
    now = settings()
    settings.register_profile(
        "verify",
        now,
        max_examples=int(os.environ.get(EXAMPLES, now.max_examples)),
        derandomize=now.derandomize and RANDOM not in os.environ,
    )
    settings.load_profile("verify")
