"""What can go wrong with a benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """Base of the errors of the benchmark."""


class ExtraMissing(BenchError):
    """The extra `bench` is not installed; the message says how to install it."""


class RunFailed(BenchError):
    """A run gave no measures: a process ended early, or an order did not end as the venue answered it."""


class NeedsLinux(BenchError):
    """The machine is none that the benchmark can measure on."""


class NotProfiled(BenchError):
    """There is no such scenario, or it is no steady load."""
