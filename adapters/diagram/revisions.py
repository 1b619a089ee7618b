"""The sources of the machines at two revisions of a git repository, as texts.

Nothing of a revision is ever executed, imported or evaluated, neither here nor by who reads these texts
(`adapters.diagram.reading` parses them). Git itself is only asked for objects, by plumbing commands that run no hook,
filter, text conversion, file system monitor or pager of the repository, and it may not fetch what is missing, because
a remote can be a command, too. A revision's name is checked by git before it is used, and never taken for an option.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.diagram.reading import MACHINES

SPEC: Final = "spec"
"""The folder of the specification."""
INVARIANTS: Final = "spec/invariants.py"
"""The module with the invariants."""
FORM: Final = "BASE..HEAD, BASE...HEAD (from where the two parted), or BASE.. (to the working tree)"
"""How two revisions are named."""

_LONGEST: Final = 512 * 1024
"""Bytes of a source; the longest of this project has a tenth of it, and a parser needs a hundred times its text."""
_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of all sources of a revision."""
_MOST: Final = 300
"""Sources of a revision."""
_PATIENCE_S: Final = 60.0
"""How long git may take for one answer."""
_SUFFIXES: Final = (".py", ".tla")
"""What is verified, and hashed for the stamp (adapters/verification/stamp.py)."""
_REGULAR: Final = frozenset({"100644", "100755"})
"""Modes of a regular file; a symbolic link is none."""
_ALONE: Final = {
    "GIT_ALLOW_PROTOCOL": "",  # no remote is asked: also git before 2.45, which does not know the next one
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",  # the commit itself, not what stands in for it here
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
"""What git is told by its environment, instead of what the caller's environment says of another repository."""


class RevisionError(Exception):
    """The revisions can't be had; the message says why, and what to do."""


class MalformedRange(RevisionError):
    """The text does not name two revisions."""


class NoRepository(RevisionError):
    """The folder is in no git repository that git would use."""


class UnknownRevision(RevisionError):
    """There is no such commit."""


class MissingHistory(RevisionError):
    """The clone holds a part of the history only, and what is needed is not in it."""


class TooMuchSource(RevisionError):
    """The sources of a revision are larger, or more, than any revision of this project has."""


class UnreadableFile(RevisionError):
    """A source of the working tree can't be read."""


class GitUnusable(RevisionError):
    """Git is not installed, did not answer in time, or answered what it never should."""


@dataclass(frozen=True, slots=True)
class Revision:
    """The sources of the machines at one revision.

    Attributes:
        name: As it was asked for: `main`; or `the working tree`.
        commit: The commit's full hash; None for the working tree.
        sources: The sources of machines/ and spec/ by their path: Python and TLA+.
    """

    name: str
    commit: str | None
    sources: Mapping[str, str]

    @property
    def title(self) -> str:
        """Its name, and which commit that is."""
        if self.commit is None or self.commit.startswith(self.name):
            return self.name
        return f"{self.name} ({self.commit[:10]})"


def revisions(asked: str, repo: Path) -> tuple[Revision, Revision]:
    """The two revisions that `asked` names.

    Args:
        asked: `BASE..HEAD`, `BASE...HEAD` or `BASE..`; see `FORM`. Of the working tree all files count, tracked or not.
        repo: A folder of the repository.

    Raises:
        RevisionError: They can't be had; its subclasses say why.
    """
    base, dots, head = asked.partition("...")
    if not dots:
        base, dots, head = asked.partition("..")
    if not dots or not base:
        raise MalformedRange(f"{asked!r} does not name two revisions; write {FORM}")
    git = _Git(repo)
    commit = git.commit(base)
    other = git.commit(head) if head else None
    if dots == "...":
        commit = git.merge_base(commit, other or git.commit("HEAD"), asked)
        base = f"merge base of {base} and {head or 'HEAD'}"
    before = Revision(base, commit, git.sources(commit))
    if other is None:
        return before, Revision("the working tree", None, git.working_tree())
    return before, Revision(head, other, git.sources(other))


class _Git:
    """A repository, asked by commands that only read objects."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        if not repo.is_dir():
            raise NoRepository(f"{repo} is no folder; name one of the repository by --repo")
        found = self._run("rev-parse", "--git-dir")
        if found.returncode:
            raise NoRepository(f"{repo} is in no git repository: {_said(found)}; name one by --repo")

    def commit(self, name: str) -> str:
        """The hash of the commit that `name` means."""
        if not name.startswith("-") and "\0" not in name:
            found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if found.returncode == 0:
                return found.stdout.decode().strip()
        if self._shallow():
            raise MissingHistory(f"there is no commit {name!r} in this shallow clone; {_DEEPEN}")
        raise UnknownRevision(f"there is no commit {name!r} in {self.repo}; `git fetch` may bring it")

    def merge_base(self, one: str, other: str, asked: str) -> str:
        """Where the histories of two commits parted."""
        found = self._run("merge-base", one, other)
        if found.returncode == 0:
            return found.stdout.decode().split()[0]
        if self._shallow():
            raise MissingHistory(f"{asked}: this shallow clone does not reach back to where they parted; {_DEEPEN}")
        raise UnknownRevision(f"{asked}: the two have no common ancestor; compare them by two dots instead")

    def sources(self, commit: str) -> dict[str, str]:
        """The sources of a commit."""
        listed = self._run("ls-tree", "-r", "-z", "-l", "--full-tree", commit, f"{MACHINES}/", f"{SPEC}/")
        if listed.returncode:
            raise MissingHistory(f"the files of {commit[:10]} are not in this clone: {_said(listed)}; {_REFETCH}")
        blobs: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for entry in listed.stdout.split(b"\0")[:-1]:
            facts, _, raw = entry.partition(b"\t")
            mode, kind, blob, size = facts.decode().split()
            path = raw.decode(errors="surrogateescape")
            if kind == "blob" and mode in _REGULAR and path.endswith(_SUFFIXES):
                if not size.isdecimal():  # git says BAD of an object that is not here
                    raise MissingHistory(f"{path} of {commit[:10]} is not in this clone; {_REFETCH}")
                blobs[path], sizes[path] = blob, int(size)
        _limit(sizes, commit[:10])
        return dict(zip(blobs, self._texts(list(blobs.values()), commit), strict=True))

    def _texts(self, blobs: list[str], commit: str) -> Iterator[str]:
        """The contents of blobs, in their order."""
        answer = self._run("cat-file", "--batch", feed="".join(f"{blob}\n" for blob in blobs).encode())
        rest = answer.stdout
        for blob in blobs:
            head, _, rest = rest.partition(b"\n")
            match head.decode(errors="replace").split():
                case [name, "blob", size] if name == blob:
                    yield _text(rest[: int(size)])
                    rest = rest[int(size) + 1 :]
                case _:
                    raise GitUnusable(f"git listed {blob} in {commit[:10]}, but does not give it: {_said(answer)}")

    def working_tree(self) -> dict[str, str]:
        """The sources as they are on disk now."""
        found = self._run("rev-parse", "--show-toplevel")
        if found.returncode:
            raise NoRepository(f"{self.repo} has no working tree: {_said(found)}; name both revisions: BASE..HEAD")
        root = Path(os.fsdecode(found.stdout.rstrip(b"\n")))
        paths = sorted(path for folder in (MACHINES, SPEC) for path in (root / folder).rglob("*"))
        regular = {path.relative_to(root).as_posix(): path for path in paths if _is_source(path)}
        try:
            _limit({name: path.stat().st_size for name, path in regular.items()}, "the working tree")
            return {name: _text(path.read_bytes()) for name, path in regular.items()}
        except OSError as error:
            raise UnreadableFile(f"{error.filename} can't be read: {error.strerror}") from error

    def _shallow(self) -> bool:
        return self._run("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"

    def _run(self, *arguments: str, feed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--no-pager", "--no-optional-locks", "-C", str(self.repo.absolute()), *arguments]
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        try:
            return subprocess.run(  # noqa: S603 our own arguments; a revision's name is behind --end-of-options
                command, input=feed, capture_output=True, timeout=_PATIENCE_S, env=own | _ALONE, check=False
            )
        except FileNotFoundError as error:
            raise GitUnusable("there is no git on the PATH; install it") from error
        except subprocess.TimeoutExpired as error:
            raise GitUnusable(f"git {arguments[0]} gave no answer within {_PATIENCE_S:.0f} s in {self.repo}") from error


_DEEPEN: Final = "run `git fetch --unshallow` (in GitHub Actions: actions/checkout with fetch-depth: 0)"
_REFETCH: Final = "run `git fetch --refetch --no-filter`"


def _limit(sizes: Mapping[str, int], where: str) -> None:
    """Refuse what no revision of this project is."""
    if len(sizes) > _MOST:
        raise TooMuchSource(f"{where}: {len(sizes)} sources, at most {_MOST} are read")
    for path, size in sizes.items():
        if size > _LONGEST:
            raise TooMuchSource(f"{where}: {path!r} has {size} bytes, sources of at most {_LONGEST} are read")
    if sum(sizes.values()) > _LARGEST:
        raise TooMuchSource(f"{where}: the sources have {sum(sizes.values())} bytes, at most {_LARGEST} are read")


def _is_source(path: Path) -> bool:
    return path.name.endswith(_SUFFIXES) and path.is_file() and not path.is_symlink()


def _text(content: bytes) -> str:
    """A source's text; what is no UTF-8 is kept as it is, and no Python: who reads it says so."""
    return content.decode(errors="surrogateescape")


def _said(answer: subprocess.CompletedProcess[bytes]) -> str:
    """The first line of what git complained of."""
    lines = answer.stderr.decode(errors="replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ") if lines else f"git ended with exit code {answer.returncode}"
