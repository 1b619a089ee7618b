"""The stamp: for the exact sources, of levels that passed, and nothing else counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.verification import stamp as stamp_module
from adapters.verification.level import Check, CheckFailed, Level, Options, Status, check
from adapters.verification.levels import QUICK, run_level
from adapters.verification.stamp import (
    NotVerified,
    StampUnreadable,
    cache_folder,
    hash_of_sources,
    path_of,
    read_stamp,
    require_stamp,
    source_folders,
    write_stamp,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Counted:
    """A level that counts its runs, and ends as it is told to."""

    def __init__(self, status: Status, name: str = "small") -> None:
        self.runs = 0
        self.status = status
        self.level = Level(name, "something small", "anything else", quick=True, run=self.run)

    def run(self, _: Options) -> Iterator[Check]:
        self.runs += 1
        if self.status == "not_run":
            yield Check("it", "not_run", 0.0, "something is missing")
        else:
            yield check("it", self.judge)

    def judge(self) -> str:
        if self.status == "failed":
            raise CheckFailed("a counterexample")
        return "fine"


def _sources(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def test_hash_depends_on_every_source_and_its_name(tmp_path: Path) -> None:
    folder = _sources(tmp_path / "machines", a_py="x = 1\n", b_tla="A == 1\n", c_txt="nothing")
    first = hash_of_sources([folder])
    (folder / "c.txt").write_text("no source", encoding="utf-8")
    assert hash_of_sources([folder]) == first
    seen = {first}
    for name, text in (("a.py", "x = 2\n"), ("b.tla", "A == 2\n"), ("d.py", "")):
        (folder / name).write_text(text, encoding="utf-8")
        seen.add(hash_of_sources([folder]))
    (folder / "a.py").rename(folder / "e.py")
    seen.add(hash_of_sources([folder]))
    assert len(seen) == 5


def test_sources_are_the_machines_and_the_specification() -> None:
    assert [folder.name for folder in source_folders()] == ["machines", "spec"]
    assert all((folder / "__init__.py").is_file() for folder in source_folders())


def test_levels_run_once_for_the_same_sources() -> None:
    counted, told = Counted("passed"), list[str]()
    stamp = require_stamp(told.append, [counted.level])
    assert require_stamp(told.append, [counted.level]) == stamp == read_stamp()
    assert counted.runs == 1
    assert told == ["not verified yet, running level small: something small"]
    assert stamp.levels == ("small",)
    assert stamp.sources == hash_of_sources()
    assert f"verified {stamp.made_at}: small (sources {stamp.sources[:12]})" == str(stamp)


def test_other_sources_need_another_stamp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counted = Counted("passed")
    require_stamp(levels=[counted.level])
    changed = _sources(tmp_path / "machines", a_py="x = 1\n")
    monkeypatch.setattr(stamp_module, "source_folders", lambda: (changed,))
    assert read_stamp() is None
    require_stamp(levels=[counted.level])
    assert counted.runs == 2


def test_other_versions_need_another_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted("passed")
    require_stamp(levels=[counted.level])
    monkeypatch.setattr(stamp_module, "versions", lambda: {"python": "4.0.0"})
    assert read_stamp() is None


def test_stamp_without_the_level_does_not_do() -> None:
    one, other = Counted("passed", "one"), Counted("passed", "other")
    require_stamp(levels=[one.level])
    assert require_stamp(levels=[other.level]).levels == ("one", "other")
    assert (one.runs, other.runs) == (1, 1)


@pytest.mark.parametrize(("status", "told"), [("failed", "a counterexample"), ("not_run", "something is missing")])
def test_what_did_not_pass_is_not_verified(status: Status, told: str) -> None:
    with pytest.raises(NotVerified, match=rf"small, it: {told}; run `hip3 verify`"):
        require_stamp(levels=[Counted(status).level])
    assert read_stamp() is None


def test_failure_takes_the_stamp_away() -> None:
    sources = hash_of_sources()
    assert write_stamp([run_level(Counted("passed").level)], sources) is not None
    assert write_stamp([run_level(Counted("failed").level)], sources) is None
    assert read_stamp() is None


def test_sources_that_changed_meanwhile_are_not_stamped() -> None:
    with pytest.raises(NotVerified, match="changed while they were verified"):
        write_stamp([run_level(Counted("passed").level)], "0" * 64)
    assert not cache_folder().exists()


def test_broken_stamp_is_named() -> None:
    require_stamp(levels=[Counted("passed").level])
    path = path_of(hash_of_sources())
    path.write_text('{"sources": 7}', encoding="utf-8")
    with pytest.raises(StampUnreadable, match="delete it, and run `hip3 verify`"):
        read_stamp()
    # A verification replaces it.
    assert write_stamp([run_level(Counted("passed").level)], hash_of_sources()) == read_stamp()


def test_stamp_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(self: Path, target: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        require_stamp(levels=[Counted("passed").level])
    assert list(cache_folder().iterdir()) == []


def test_relative_cache_folder_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "hip3"


def test_quick_levels_are_tables_proof_code() -> None:
    assert [level.name for level in QUICK] == ["tables", "proof", "code"]
