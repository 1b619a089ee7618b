"""Named errors of the machines.

Everything here is *misuse by our own code* (style.md, rule 4): what a peer sends never raises, it becomes an event.
An error of this module means that the state did not change.
"""

from __future__ import annotations


class MachinesError(Exception):
    """Base of every error that `machines/` raises."""


class IllegalEvent(MachinesError):
    """An event that the table does not allow in the object's present state; nothing changed.

    Attributes:
        machine: Name of the machine.
        state: Name of the state that the object is in.
        event: Name of the event that was refused.
    """

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: event {event!r} is not allowed in state {state!r}")
        self.machine = machine
        self.state = state
        self.event = event


class InvalidSetting(MachinesError):
    """A limit or period that makes no sense; the message names it and what was expected."""


class StepOrderError(MachinesError):
    """An event was given to the core while a batch was in hand, or a hand-over was reported with none in hand."""


class UnknownPost(MachinesError):
    """A post id that no open post has."""


class NonceOutsideWindow(MachinesError):
    """The next nonce would lie outside the venue's window, so none was issued (protocol.md §4)."""


class SignedNonceMismatch(MachinesError):
    """The nonce that was signed is not the one allotted to the post (finding B7)."""
