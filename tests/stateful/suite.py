"""The state machines of the suite: parts of the core alone, and all of it in a modelled world."""

from __future__ import annotations

from typing import Final

from tests.stateful.composed import ComposedCore
from tests.stateful.latches import Latches
from tests.stateful.nonces import Nonces
from tests.stateful.posts import Posts
from tests.stateful.queues import Queues
from tests.stateful.record import Explorer
from tests.stateful.settlements import Settlements
from tests.stateful.slots import Slots

STATE_MACHINES: Final[tuple[type[Explorer], ...]] = (
    *(Slots, Nonces, Posts, Queues, Latches, ComposedCore, Settlements),
)
