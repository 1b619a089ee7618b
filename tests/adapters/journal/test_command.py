"""`hip3 journal show|export|verify`."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from adapters.cli.journal import app
from adapters.journal import Changes
from tests.adapters.journal.builders import (
    STEPS_PER_ORDER,
    Story,
    cloid_of,
    intent_row,
    journal_at,
    post_row,
    step,
    tell,
)


def hip3_journal(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def shown(*arguments: object) -> list[list[str]]:
    """The cells of what `show` shows, without the heading."""
    result = hip3_journal("show", *arguments)
    assert result.exit_code == 0, result.stderr
    return [line.split("\t") for line in result.stdout.splitlines()[1:]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with journal_at(path) as journal:
        tell(journal, 3 * STEPS_PER_ORDER)
    with journal_at(path) as journal:
        tell(journal, STEPS_PER_ORDER)
        journal.append(
            [step("TimePassed", facts={"posts": [{"post_id": 4}]})],
            Changes((), (post_row(9, nonce=post_row(4).nonce, fence_of=4),)),
        )
        journal.append(
            [step("ReplyReceived", facts={"post_id": 9})],
            Changes((), (post_row(9, nonce=post_row(4).nonce, fence_of=4),)),
        )
        cancel = intent_row(10, "queued", kind="cancelByCloid", cloid=cloid_of(4))
        journal.append([step("Submit", facts={"request": {"cloid": cloid_of(4)}})], Changes((cancel,)))
    return path


def test_show_tells_what_happened_and_what_moved(path: Path) -> None:
    first = shown(path, "--run", 1)[1]
    assert first == [
        "1/1",
        "2023-11-14 22:13:20.040",
        "PostWritten",
        json.dumps({"post_id": 1, "order": 0, "cloid": cloid_of(1)}, separators=(",", ":")),
        "post 1: queued → sent, intent 1: queued → posted",
        "",
        "1/0",
    ]


def test_show_shows_the_newest_steps_of_all_runs_or_of_one(path: Path) -> None:
    assert [row[0] for row in shown(path, "--last", 4)] == ["2/2", "2/3", "2/4", "2/5"]
    assert [row[0] for row in shown(path, "--last", 2, "--run", 1)] == ["1/7", "1/8"]
    assert shown(path, "--run", 3) == []


def test_show_finds_what_concerns_a_post_with_its_fences(path: Path) -> None:
    assert [row[0] for row in shown(path, "--post", 2)] == ["1/3", "1/4", "1/5"]
    assert [row[0] for row in shown(path, "--post", 4)] == ["2/0", "2/1", "2/2", "2/3", "2/4"]


def test_show_finds_what_concerns_an_order_with_its_posts_and_cancels(path: Path) -> None:
    assert [row[0] for row in shown(path, "--cloid", cloid_of(4))] == ["2/0", "2/1", "2/2", "2/3", "2/4", "2/5"]
    assert shown(path, "--cloid", cloid_of(5)) == []


def test_show_takes_one_subject(path: Path) -> None:
    result = hip3_journal("show", path, "--post", 1, "--cloid", "0x1")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def all_said(terminal: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # how a terminal tells that nobody writes to it any more
        while said := os.read(terminal, 4_096):
            yield said


def test_show_draws_a_table_on_a_terminal(path: Path) -> None:
    leader, follower = pty.openpty()
    program = "from adapters.cli.journal import app; app()"
    environment = {**os.environ, "COLUMNS": "160", "TERM": "xterm"}
    command = [sys.executable, "-c", program, "show", str(path), "--last", "3"]
    with subprocess.Popen(command, stdout=follower, env=environment) as process:  # noqa: S603
        os.close(follower)
        drawn = b"".join(all_said(leader)).decode()
    os.close(leader)
    assert process.returncode == 0
    assert "┃" in drawn
    assert "TimePassed" in drawn


def test_export_writes_every_step_as_a_line(path: Path, tmp_path: Path) -> None:
    lines = hip3_journal("export", path).stdout.splitlines()
    assert len(lines) == 3 * STEPS_PER_ORDER + STEPS_PER_ORDER + 3
    story = Story()
    for seq, line in enumerate(lines[: 3 * STEPS_PER_ORDER]):
        assert json.loads(line) == {"run": 1} | json.loads(msgspec.json.encode(story.told(seq)[0][0]))
    assert json.loads(lines[-1])["run"] == 2
    out = tmp_path / "steps.ndjson"
    assert hip3_journal("export", path, "--run", 2, "--output", out).exit_code == 0
    assert out.read_text().splitlines() == lines[3 * STEPS_PER_ORDER :]


def test_export_says_when_its_output_can_not_be_written(path: Path, tmp_path: Path) -> None:
    result = hip3_journal("export", path, "--output", tmp_path / "missing" / "steps.ndjson")
    assert result.exit_code == 2
    assert "steps.ndjson can't be written: No such file or directory" in result.stderr


def test_verify_says_what_there_is_and_that_it_agrees(path: Path) -> None:
    result = hip3_journal("verify", path)
    assert result.exit_code == 0
    assert result.stdout == f"{path}: 2 runs, 15 steps, 5 intents (1 open), 5 posts (1 open): all agrees\n"


def test_verify_lists_what_disagrees(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE intents SET body = json_set(body, '$.state', 'rejected') WHERE seq = 2")
    db.close()
    result = hip3_journal("verify", path)
    assert result.exit_code == 8
    assert result.stdout.splitlines() == [
        "intent 2 is rejected, but step 1/5 left it filled",
        f"{path}: 2 runs, 15 steps, 5 intents (1 open), 5 posts (1 open): disagreements: 1",
    ]


@pytest.mark.parametrize("command", ["show", "export", "verify"])
def test_a_file_that_is_no_journal_is_refused_by_every_command(tmp_path: Path, command: str) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("dear reader, " * 100)
    for file, what in ((letter, "is damaged, or is no journal"), (tmp_path / "none", "No such file or directory")):
        result = hip3_journal(command, file)
        assert result.exit_code == 9
        assert f"hip3 journal: the journal {file}" in result.stderr
        assert what in result.stderr
        assert result.stdout == ""
