"""The simulator: the real core, recorder and invariants in a simulated world, deterministic and faster than life.

One seed is one run. A strategy submits intents to the real `ExecutorCore`; its steps are recorded by the real
`Recorder` in an in-memory journal; its posts travel over a simulated network to a simulated venue, on simulated time.
In phase 1 every fault strikes, at rates drawn from the seed, and safety is checked after each step. In phase 2 the
world heals, and everything has to come to an end that agrees with what the venue did.

docs/reliability.md says what this shows and what it does not.
"""

from adapters.simulation.report import HOURS, Report
from adapters.simulation.world import Failure, Result, simulate

__all__ = ["HOURS", "Failure", "Report", "Result", "simulate"]
