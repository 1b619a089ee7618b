"""Does what the executor reported agree with what the venue really did?

The venue's record is the truth (adapters/venue/truth.py); an outcome that contradicts it is the one thing that must
never happen. Unknown contradicts nothing: that is its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from adapters.venue.truth import Fate
from machines.intent import Cancel, Canceled, Filled, Intent, NotExecuted, Rejected, Resting


def contradictions(ended: Iterable[Intent], fates: Mapping[str, Fate]) -> Iterator[str]:
    """One sentence for each ended intent whose outcome is not what happened.

    Args:
        ended: Intents with their outcomes.
        fates: What became of each cloid at the venue.
    """
    for intent in ended:
        fate = fates.get(intent.cloid or "", Fate())
        wrong = _about_cancel(intent, fate) if isinstance(intent.request, Cancel) else _about_order(intent, fate)
        if wrong is not None:
            yield f"intent {intent.seq} ({intent.cloid}) was reported {intent.outcome}, but {wrong}"


def _about_order(intent: Intent, fate: Fate) -> str | None:
    if fate.placed > 1:
        return f"the venue placed it {fate.placed} times"
    match intent.outcome:
        case Filled(size=size) if fate.filled < Decimal(size):
            return f"the venue filled {fate.filled}"
        case Resting() if not fate.rested:
            return "it never rested"
        case Rejected() | NotExecuted() if fate.placed:
            return "the venue placed it"
    return None


def _about_cancel(intent: Intent, fate: Fate) -> str | None:
    if isinstance(intent.outcome, Canceled) and fate.placed and fate.canceled is None:
        return "the order it names was not canceled"
    return None
