"""The sources of a revision are had by name, whole, and without running anything of the repository."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from adapters.diagram import revisions as module
from adapters.diagram.revisions import (
    GitUnusable,
    MalformedRange,
    MissingHistory,
    NoRepository,
    RevisionError,
    TooMuchSource,
    UnknownRevision,
    UnreadableFile,
    revisions,
)
from tests.adapters.diagram.repository import FILES, GATE, LAMP, Repository

OTHER = GATE.replace("A gate.", "Another gate.")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit({**FILES, "machines/notes.txt": "", "spec/other.txt": "", "README.md": ""}, tag="base")
    made.commit(
        {"machines/gate.py": OTHER, "machines/lamp.py": None, "spec/invariants.py": "INVARIANTS = ()\n"}, tag="head"
    )
    return made


def test_two_revisions(repository: Repository) -> None:
    before, after = revisions("base..head", repository.folder)
    assert before.sources == FILES
    assert sorted(after.sources) == ["machines/gate.py", "spec/composition.py", "spec/invariants.py"]
    assert after.sources["machines/gate.py"] == OTHER
    assert (before.commit, after.commit) == (repository.git("rev-parse", "base"), repository.git("rev-parse", "head"))
    assert before.title == f"base ({str(before.commit)[:10]})"


def test_a_folder_of_the_repository_serves_as_well(repository: Repository) -> None:
    assert revisions("base..head", repository.folder / "spec") == revisions("base..head", repository.folder)


def test_hashes_and_expressions_are_names_too(repository: Repository) -> None:
    full = repository.git("rev-parse", "base")
    for name in (full, full[:8], "HEAD~1", "head^", "refs/tags/base"):
        before, _ = revisions(f"{name}..HEAD", repository.folder)
        assert before.commit == full
    assert revisions(f"{full}..HEAD", repository.folder)[0].title == full


def test_the_working_tree_counts_as_it_is(repository: Repository) -> None:
    repository.write({"machines/lamp.py": LAMP, "machines/gate.py": None})
    (repository.folder / "machines" / "link.py").symlink_to("lamp.py")
    for folder in (repository.folder, repository.folder / "spec"):
        before, after = revisions("base..", folder)
        assert before.sources == FILES
        assert sorted(after.sources) == ["machines/lamp.py", "spec/composition.py", "spec/invariants.py"]
        assert (after.title, after.commit) == ("the working tree", None)


def test_three_dots_compare_with_where_the_two_parted(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "topic", "base")
    repository.commit({"machines/lamp.py": LAMP.replace("Dark.", "Black.")})
    base = repository.git("rev-parse", "base")
    before, after = revisions("head...topic", repository.folder)
    assert before.commit == base
    assert before.title == f"merge base of head and topic ({base[:10]})"
    assert before.sources["machines/gate.py"] == after.sources["machines/gate.py"] == GATE
    before, after = revisions("head...", repository.folder)
    assert (before.commit, after.commit) == (base, None)


def test_histories_without_a_common_ancestor(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "--orphan", "island")
    repository.commit({})
    with pytest.raises(UnknownRevision, match=r"head\.\.\.island: the two have no common ancestor"):
        revisions("head...island", repository.folder)
    assert revisions("head..island", repository.folder)[1].sources


@pytest.mark.parametrize("asked", ["", "base", "..head", "...head", "..", "base.head"])
def test_what_names_no_two_revisions(repository: Repository, asked: str) -> None:
    with pytest.raises(MalformedRange, match=r"does not name two revisions; write BASE\.\.HEAD"):
        revisions(asked, repository.folder)


@pytest.mark.parametrize(
    "name",
    ["nowhere", "--output=x", "-p", "--exec=touch x", "--all", "base --output=x", "0" * 40, "HEAD:machines", "base\0"],
)
def test_what_is_no_commit_is_refused_and_no_option(repository: Repository, name: str) -> None:
    before = sorted(repository.folder.rglob("*"))
    for asked in (f"{name}..head", f"base..{name}", f"{name}...head"):
        with pytest.raises(UnknownRevision, match="there is no commit"):
            revisions(asked, repository.folder)
    assert sorted(repository.folder.rglob("*")) == before


def test_a_branch_that_looks_like_an_option_is_none(repository: Repository) -> None:
    repository.git("update-ref", "refs/heads/--output=x", "head")
    with pytest.raises(UnknownRevision):
        revisions("--output=x..head", repository.folder)
    assert revisions("refs/heads/--output=x..head", repository.folder)[0].commit == repository.git("rev-parse", "head")
    assert not list(repository.folder.glob("x*"))


def test_without_a_repository(tmp_path: Path) -> None:
    with pytest.raises(NoRepository, match=r"is in no git repository: .*name one by --repo"):
        revisions("a..b", tmp_path)
    with pytest.raises(NoRepository, match="is no folder"):
        revisions("a..b", tmp_path / "none")


def test_a_repository_of_the_callers_environment_is_not_meant(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Repository(tmp_path / "other")
    other.commit({"machines/lamp.py": ""}, tag="base")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other.folder))
    assert revisions("base..", repository.folder)[0].sources == FILES


def test_a_bare_repository_has_no_working_tree(repository: Repository, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    assert revisions("base..head", bare) == revisions("base..head", repository.folder)
    with pytest.raises(NoRepository, match=r"has no working tree: .*name both"):
        revisions("base..", bare)


def test_a_shallow_clone_says_how_to_deepen_it(repository: Repository, tmp_path: Path) -> None:
    shallow = Repository(tmp_path / "shallow")
    base = repository.git("rev-parse", "base")
    repository.git("checkout", "--quiet", "-b", "topic", "base")
    repository.commit({"machines/lamp.py": LAMP.replace("Dark.", "Black.")})
    for branch in ("main", "topic"):
        shallow.git("fetch", "--quiet", "--depth=1", f"file://{repository.folder}", f"{branch}:refs/heads/the-{branch}")
    with pytest.raises(MissingHistory, match=r"shallow clone; run `git fetch --unshallow`"):
        revisions(f"{base}..the-main", shallow.folder)
    with pytest.raises(MissingHistory, match=r"does not reach back to where they parted; run `git fetch --unshallow`"):
        revisions("the-main...the-topic", shallow.folder)
    assert revisions("the-main..the-topic", shallow.folder)[1].sources["machines/gate.py"] == GATE


def test_what_a_partial_clone_has_not_is_not_fetched(repository: Repository, tmp_path: Path) -> None:
    """Its remote is a command; a fetch would run it."""
    blob = repository.git("rev-parse", "base:machines/lamp.py")
    (repository.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(MissingHistory, match=r"machines/lamp\.py of \w+ is not in this clone; run `git fetch"):
        revisions("base..head", repository.folder)
    ran = tmp_path / "ran"
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::sh -c touch% {ran}",
        "protocol.ext.allow": "always",
    }.items():
        repository.git("config", key, value)
    with pytest.raises(MissingHistory, match=r"not in this clone.*--refetch"):
        revisions("base..head", repository.folder)
    assert not ran.exists()
    with pytest.raises(Exception, match="returned non-zero"):
        repository.git("cat-file", "-p", blob)
    assert ran.exists(), "the trap works"


def test_nothing_of_the_repository_runs(repository: Repository, tmp_path: Path) -> None:
    """Hooks, filters, text conversion, a monitor and a pager of its own are configured, and none is called."""
    ran = tmp_path / "ran"
    script = tmp_path / "trap"
    script.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n", encoding="utf-8")
    script.chmod(0o755)
    hooks = repository.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        shutil.copy(script, hooks / hook)
    for key in (
        "filter.trap.smudge",
        "filter.trap.clean",
        "diff.trap.textconv",
        "diff.external",
        "core.fsmonitor",
        "core.pager",
    ):
        repository.git("config", key, str(script))
    repository.git("config", "alias.ls-tree", f"!{script}")
    repository.write({".gitattributes": "*.py filter=trap diff=trap\n"})
    for asked in ("base..head", "base..", "base...head"):
        assert revisions(asked, repository.folder)[0].sources == FILES
    assert not ran.exists()
    repository.git("status")
    assert ran.exists(), "the trap works"


def test_what_stands_in_for_a_commit_is_not_read(repository: Repository) -> None:
    repository.git("replace", "base", "head")
    assert revisions("base..head", repository.folder)[0].sources == FILES


def test_links_and_submodules_are_no_modules(repository: Repository) -> None:
    (repository.folder / "machines" / "link.py").symlink_to("/etc/hostname")
    repository.git(
        "update-index", "--add", "--cacheinfo", f"160000,{repository.git('rev-parse', 'base')},machines/sub.py"
    )
    repository.commit({}, tag="linked")
    assert "machines/link.py" in repository.git("ls-tree", "-r", "linked")
    sources = revisions("linked..head", repository.folder)[0].sources
    assert sorted(sources) == ["machines/gate.py", "spec/composition.py", "spec/invariants.py"]


def test_odd_names_and_bytes_are_kept(repository: Repository) -> None:
    folder = os.fsencode(repository.folder / "machines")
    for name in (b"\xff.py", b"a\tb\nc.py", "dé.py".encode()):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"X = '\xff'\r\n")
    repository.commit({}, tag="odd")
    before, after = revisions("odd..", repository.folder)
    assert before.sources == after.sources
    assert before.sources["machines/a\tb\nc.py"] == "X = '\udcff'\r\n"
    assert {"machines/\udcff.py", "machines/dé.py"} <= before.sources.keys()


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("_MOST", 2, "sources, at most 2 are read"),
        ("_LONGEST", len(GATE.encode()) - 1, "'machines/gate.py' has"),
        ("_LARGEST", len(GATE.encode()) + 1, "the sources have"),
    ],
)
def test_sizes_are_limited(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, message: str
) -> None:
    monkeypatch.setattr(module, limit, value)
    for asked in ("base..head", "head.."):
        repository.git("checkout", "--quiet", "base")
        with pytest.raises(TooMuchSource, match=message):
            revisions(asked, repository.folder)


def test_a_file_that_can_not_be_read(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)  # a mode means nothing to root
    with pytest.raises(UnreadableFile, match=r"gate\.py can't be read: Permission denied"):
        revisions("base..", repository.folder)


def test_without_git(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitUnusable, match="no git on the PATH"):
        revisions("base..head", repository.folder)


def test_git_that_does_not_answer(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
    with pytest.raises(GitUnusable, match="git rev-parse gave no answer within"):
        revisions("base..head", repository.folder)


def test_all_errors_are_of_one_kind() -> None:
    kinds = (GitUnusable, MalformedRange, MissingHistory, NoRepository, TooMuchSource, UnknownRevision, UnreadableFile)
    assert all(issubclass(kind, RevisionError) for kind in kinds)
