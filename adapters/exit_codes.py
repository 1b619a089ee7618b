"""What the exit code of a `hip3` command means."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """One number a cause, so that a supervisor can tell what to do."""

    OK = 0
    """Done; everything that was accepted has ended and nothing is unknown."""
    UNFINISHED = 1
    """Shut down with intents that were not executed or whose fate is unknown; they were listed."""
    USAGE = 2
    """The command line is wrong."""
    CONFIG = 3
    """The configuration can't be used."""
    KEY = 4
    """The signing key is missing, malformed, or readable by others."""
    KEY_NOT_ACCEPTED = 5
    """The venue does not know the signer on this network."""
    FAULT = 6
    """The executor met a fault of its own."""
    ADDRESS_IN_USE = 7
    """The address to listen on can't be had."""
    DISAGREES = 8
    """A check failed: the demo's books and the venue's truth, or a committed diagram and its table."""
    JOURNAL = 9
    """The journal can't be used, or another executor has it."""
    NOT_VERIFIED = 10
    """The machines that would trade were not verified, or a check of them failed."""


class Comparison(IntEnum):
    """What `hip3 diagram --diff` says with its exit code, as `diff` does; for all that goes wrong it has `ExitCode`."""

    SAME = 0
    """The machines are the same at both revisions."""
    DIFFERENT = 1
    """The machines changed, or can't be told unchanged: somebody has to look."""
