"""Every `sh` block of every document is run, in order, as a reader would run it.

A document has one sandbox for all its blocks: an empty folder, or a copy of the repository. What would take minutes,
and is run elsewhere, is replaced by something shorter; `STANDS_FOR` lists all of that. A document with a block, and
without a place in `SANDBOXES`, fails.

A comment `# exit code N` at the end of a line is a promise, and is kept to.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, blocks, without_comment

Sandbox: TypeAlias = Literal["folder", "prepared", "repository"]
"""An empty folder; one with a venue, a key and a configuration; a copy of the repository."""

SANDBOXES: Final[dict[str, Sandbox]] = {
    "README.md": "repository",
    "docs/operators.md": "prepared",
    "docs/reliability.md": "repository",
    "docs/reviewers.md": "repository",
    "docs/strategy-developers.md": "prepared",
    "docs/tutorial.md": "folder",
    "spec/README.md": "repository",
}
"""Where the blocks of a document run."""

_TLC: Final = (
    'java -XX:+UseParallelGC -Djava.io.tmpdir="$SCRATCH" -cp "$JAR" tlc2.TLC -workers 1 -metadir "$SCRATCH" -cleanup '
    "-config configs/rule-07.cfg Executor.tla"
)
STANDS_FOR: Final = {
    "make run": "make -n run",  # the demo, run by tests/cli/test_demo.py
    "make test": "make -n test",  # the suite, which this is a part of
    "make verify": "make -n verify",  # its levels are run by tests/verification, and by .ci/run
    "make kill": "make -n kill",  # minutes; tests/e2e has a small campaign
    "hip3 verify": "hip3 verify --level tables",  # minutes, as above
    "hip3 verify --quick": "hip3 verify --level tables",  # half a minute; tests/conftest.py runs the quick levels
    _TLC: f"{_TLC} || [ $? = 12 ]",  # it has to find rule 7 missing, and 12 says so
    "hip3 verify --quick --json > verify.json": "hip3 verify --level tables --json > verify.json",  # the same
    "hip3 trace check demo.journal": "hip3 trace check demo.journal --no-tlc",  # TLC reads the tutorial's run
    "hip3 simulate --seeds 500": "hip3 simulate --seeds 2 --hours 0.01",  # minutes; tests/simulation
}
"""What is run in place of a line that takes too long here."""

SAID: Final = {
    "docs/operators.md": [
        '"session":"ready"',
        '"flattening":0',
        '"halted":"operator: end of day"',
        '"halted":null',
        ": all agrees",
    ],
    "docs/strategy-developers.md": ["IntentUnknown\n", "IntentEnded\n", "Filled(", "- settled: the action ran\n"],
    "docs/tutorial.md": [
        "queued Resting(",
        "Canceled()",
        "bought 1.0 at ",
        "flattened: Filled(",
        "the nearest legal ones are 50000 and 50001",
        '"ref":"entry","admission":"queued"',
        '"outcome":"filled"',
        '"error":"UnknownMarket"',
    ],
}
"""What the output of a document's blocks has to contain, in any order."""

NEEDS: Final = {"spec/README.md": "java"}
"""Programs that are not the project's, and that a document says are needed."""

PREPARATIONS: Final = 3
"""Blocks of the tutorial that lead to a venue, a key and a configuration."""
LONGEST_S: Final = 240
"""For the blocks of one document; they take 10 s where nothing else runs."""
_CLEAN_UP: Final = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"
_PORT: Final = "8645"
_PROMISE: Final = re.compile(r"exit code (\d+)\b")


def script(document: str) -> list[str]:
    """The `sh` blocks of a document, as this test runs them."""
    return [
        "\n".join(_line(line) for line in block.text.splitlines())
        for block in blocks(document)
        if block.language == "sh"
    ]


def _line(line: str) -> str:
    """A line with what stands for it, and its promise kept to."""
    command, comment = without_comment(line)
    if command in STANDS_FOR:
        line = command = STANDS_FOR[command]
    promise = _PROMISE.match(comment)
    if promise is None:
        return line
    kept = f'[ "$status" = {promise[1]} ] || {{ echo "exit code $status, promised: {promise[1]}"; exit 1; }}'
    return f"status=0; {command} || status=$?; {kept}"


def run_script(
    lines: list[str], folder: Path, files: Mapping[str, str] | None = None, sources: Path | None = None
) -> str:
    """Run a shell script as a reader would, with the environment's programs first; its output.

    Args:
        lines: The script; its venue gets a port of its own.
        folder: Where it runs.
        files: What is written there first.
        sources: The repository that counts as installed; by default this one.
    """
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    port = str(free_port())
    for name, text in (files or {}).items():
        (folder / name).write_text(text.replace(_PORT, port), encoding="utf-8")
    installed = {} if sources is None else {"PYTHONPATH": str(sources)}
    process = subprocess.Popen(  # noqa: S603
        ["bash", "-euo", "pipefail", "-m", "-c", "\n".join([_CLEAN_UP, *lines]).replace(_PORT, port)],  # noqa: S607
        cwd=folder,
        env={**os.environ, "PATH": programs, **installed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output, errors = process.communicate(timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends what it has started, and then itself
        output, errors = process.communicate()
        pytest.fail(f"longer than {LONGEST_S} s: {output}{errors}")
    assert process.returncode == 0, output + errors
    return output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def reviewed_repository(folder: Path) -> None:
    """The repository as it is now, as one commit on `main`; on the branch `proposal` one row has another reason."""
    for name in filter(None, git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch=main")
    _commit(folder, "As it is")
    machine = folder / "machines/hard_stop.py"
    before = machine.read_text(encoding="utf-8")
    after = before.replace('why="operator only"', 'why="only the operator, with a reason"')
    assert after != before
    machine.write_text(after, encoding="utf-8")
    git(folder, "switch", "--quiet", "--create", "proposal")
    run_script(["hip3 diagram"], folder, sources=folder)
    _commit(folder, "Say who resets the hard stop")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return done.stdout


def _commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", message)


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if script(document)])
def test_the_blocks_of_a_document_run(document: str, tmp_path: Path) -> None:
    assert document in SANDBOXES, f"{document} has sh blocks: say in SANDBOXES where they can run"
    needed = NEEDS.get(document)
    if needed is not None and shutil.which(needed) is None:
        pytest.skip(f"there is no {needed} here")
    lines, sources = script(document), None
    match SANDBOXES[document]:
        case "repository":
            reviewed_repository(tmp_path)
            sources = tmp_path
        case "prepared":
            lines = [*script("docs/tutorial.md")[:PREPARATIONS], *lines]
        case "folder":
            pass
    files = {block.file: block.text for block in blocks(document) if block.file}
    output = run_script(lines, tmp_path, files, sources)
    assert [text for text in SAID.get(document, []) if text not in output] == [], output


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith("docs/machines/")])
def test_programs_that_a_document_shows_are_run_with_its_blocks(document: str) -> None:
    """Those of docs/machines are no programs: they quote guards and effects, and `hip3 diagram --check` compares."""
    shown = [block for block in blocks(document) if block.language == "python"]
    if document == "README.md":  # it has one program, and the next test runs it
        assert len(shown) == 1
        return
    run = "\n".join(script(document))
    assert [block.text for block in shown if not block.file or f"python {block.file}" not in run] == []


def test_the_program_of_the_readme_runs(tmp_path: Path) -> None:
    program = next(block.text for block in blocks("README.md") if block.language == "python")
    assert len(program.splitlines()) <= 22
    lines = [*script("docs/tutorial.md")[:PREPARATIONS], "python program.py"]
    output = run_script(lines, tmp_path, {"program.py": program})
    assert output.startswith("Admission.QUEUED\nFilled(")


def test_every_place_and_every_replacement_is_used() -> None:
    lines = {
        without_comment(line)[0]
        for document in DOCUMENTS
        for block in blocks(document)
        for line in block.text.splitlines()
    }
    assert set(STANDS_FOR) <= lines
    assert set(SANDBOXES) == {document for document in DOCUMENTS if script(document)}


def test_a_promised_exit_code_is_kept_to(tmp_path: Path) -> None:
    run_script([_line("false  # exit code 1: it is false")], tmp_path)
    with pytest.raises(AssertionError, match="exit code 0, promised: 1"):
        run_script([_line("true  # exit code 1")], tmp_path)
