"""The stamp: proof that the machines that are about to trade were verified (design.md, Checked before it drives).

It is keyed by a hash of the exact sources of `machines/` and `spec/`, so that a changed line needs a new one. It says
which levels passed, when, and with which versions. It lies in the user's cache folder and is written atomically; losing
it costs a run of the quick levels. Whoever can write there can write code too: it guards against mistakes, not against
an attacker.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec

import machines
import spec
from adapters.verification.level import Level, LevelResult
from adapters.verification.levels import QUICK, run_level

_SUFFIXES: Final = (".py", ".tla")
_PACKAGES: Final = ("transitions", "z3-solver")
"""What the verdict rests on besides the sources: the engine that runs the tables, and the solver that proved them."""


class NotVerified(Exception):
    """These machines were not verified, so they must not trade; the message says which check failed."""


class StampUnreadable(Exception):
    """There is a file where the stamp should be, and it is none."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What was verified.

    Attributes:
        sources: Hash of the sources, as `hash_of_sources` gives it.
        levels: Names of the levels that passed.
        made_at: When, ISO 8601, UTC.
        versions: Of Python and of the packages that the verdict rests on.
    """

    sources: str
    levels: tuple[str, ...]
    made_at: str
    versions: dict[str, str]

    def __str__(self) -> str:
        return f"verified {self.made_at}: {', '.join(self.levels)} (sources {self.sources[:12]})"


def source_folders() -> tuple[Path, ...]:
    """Where the machines and their specification lie."""
    return tuple(Path(folder) for package in (machines, spec) for folder in package.__path__)


def hash_of_sources(folders: Sequence[Path] | None = None) -> str:
    """SHA-256 over names and contents of all sources, in hex."""
    return hash_of(
        {
            f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
            for folder in folders or source_folders()
            for path in folder.rglob("*")
            if path.suffix in _SUFFIXES
        }
    )


def hash_of(sources: Mapping[str, bytes]) -> str:
    """The same of the sources of any revision, given by path."""
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(f"{name}\0{len(sources[name])}\0".encode(errors="surrogateescape"))
        digest.update(sources[name])
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of Python and of the packages that the verdict rests on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}


def cache_folder() -> Path:
    """`hip3` in the user's cache folder: `$XDG_CACHE_HOME`, or else `~/.cache`."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of the variable says that a relative path is to be ignored.
    root = Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".cache"
    return root / "hip3"


def path_of(sources: str) -> Path:
    """Where the stamp of these sources lies."""
    return cache_folder() / f"verified-{sources}.json"


def read_stamp() -> Stamp | None:
    """The stamp of the sources as they are now; None if there is none, or it was made with other versions.

    Raises:
        StampUnreadable: What lies there is no stamp.
    """
    sources = hash_of_sources()
    path = path_of(sources)
    try:
        stamp = msgspec.json.decode(path.read_bytes(), type=Stamp)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise StampUnreadable(f"{path} can't be read as a stamp: {error}; delete it, and run `hip3 verify`") from error
    return stamp if stamp.sources == sources and stamp.versions == versions() else None


def write_stamp(results: Iterable[LevelResult], sources: str) -> Stamp | None:
    """Stamp the sources with the levels that passed, and those that an earlier stamp has; None if one failed.

    Args:
        results: What ran.
        sources: `hash_of_sources` from before they ran: if it is another one now, what ran is not what lies there.

    Raises:
        NotVerified: The sources changed meanwhile.
        OSError: The cache folder can't be written.
    """
    ran = list(results)
    if hash_of_sources() != sources:
        raise NotVerified("the sources of machines/ or spec/ changed while they were verified; run `hip3 verify` again")
    path = path_of(sources)
    if any(result.status == "failed" for result in ran):
        path.unlink(missing_ok=True)
        return None
    earlier = None
    with suppress(StampUnreadable):
        earlier = read_stamp()
    passed = {result.level.name for result in ran if result.status == "passed"} | set(earlier.levels if earlier else ())
    if not passed:
        return None
    stamp = Stamp(
        sources=sources,
        levels=tuple(sorted(passed)),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    _write_atomically(path, msgspec.json.encode(stamp))
    return stamp


def require_stamp(progress: Callable[[str], None] = lambda _: None, levels: Sequence[Level] = QUICK) -> Stamp:
    """A stamp that says that the quick levels passed for these sources; runs them if there is none.

    Args:
        progress: Hears a line about each level that has to run.
        levels: The levels that the stamp must name.

    Raises:
        NotVerified: A level failed, or could not run.
        StampUnreadable: What lies in the stamp's place is no stamp.
        OSError: The cache folder can't be written.
    """
    stamp = read_stamp()
    wanted = {level.name for level in levels}
    if stamp is not None and wanted <= set(stamp.levels):
        return stamp
    sources = hash_of_sources()
    results = []
    for level in levels:
        progress(f"not verified yet, running level {level.name}: {level.shows}")
        results.append(run_level(level))
    stamp = write_stamp(results, sources)
    bad = [(result, check) for result in results for check in result.checks if check.status != "passed"]
    if stamp is None or not wanted <= set(stamp.levels):
        told = "; ".join(f"{result.level.name}, {check.name}: {check.detail}" for result, check in bad)
        raise NotVerified(f"the machines are not verified: {told}; run `hip3 verify` to see all of it")
    return stamp


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
        scratch = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
