"""`hip3 trace show`: one story, for people, for code hosts and for programs."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adapters.cli import app
from adapters.exit_codes import ExitCode
from tests.adapters.live import cloid
from tests.adapters.recorded import played, record
from tests.cli.process import ROOT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two runs: an order that fills, and a cancel that is lost."""
    return record(tmp_path / "runs.ndjson", played("placed and fills").steps, played("a cancel").steps)


def show(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["trace", "show", str(file), *arguments])


def test_lines_are_plain_where_nobody_watches(file: Path) -> None:
    told = show(file, "2", "--run", "1")
    assert told.exit_code == ExitCode.OK, told.output
    assert told.output.splitlines() == [
        "Post 2; intent 1",
        "run 1, from 2023-11-14 22:13:20.106 UTC",
        "+0\tstrategy → executor\tbuy 2 xyz:TSLA at 400, Ioc\tintent 1: accepted → queued",
        "+0\texecutor → strategy\tintent 1: queued",
        "+100\texecutor → wire\tpost 2: order of intent 1",
        "+100\twire → venue\tframe of post 2, on connection 1\t"
        "inflight acquire: idle → normal; post 2: queued → sent; intent 1: queued → posted",
        "+103\tvenue → executor\tpost 2: accepted; filled 2 at 400, oid 7\t"
        "inflight release: normal → idle; post 2: sent → acked; intent 1: posted → filled",
        "+103\texecutor → strategy\tintent 1: filled 2 at 400, oid 7",
    ]


def test_each_run_has_its_heading(file: Path) -> None:
    told = show(file, "2")
    assert [line[:6] for line in told.output.splitlines() if line.startswith("run ")] == ["run 1,", "run 2,"]


def test_order_by_its_cloid_in_any_case(file: Path) -> None:
    told = show(file, cloid(1), "--run", "2")
    assert told.output.startswith(f"Order {cloid(1)}; intents 1–2; posts 2–4\nrun 2, ")
    assert show(file, f"0x{cloid(1)[2:].upper()}", "--run", "2").output == told.output


def test_mermaid(file: Path) -> None:
    told = show(file, cloid(1), "--mermaid")
    assert told.exit_code == ExitCode.OK
    first, *rest = told.output.splitlines()
    assert first == "sequenceDiagram"
    assert "    W->>E: +206 ms the connection is lost: reset by the venue" in rest
    assert all(line.startswith("    ") for line in rest)


def test_json_has_every_line_and_move(file: Path) -> None:
    story = json.loads(show(file, "2", "--run", "1", "--json").output)
    assert story["title"] == "Post 2; intent 1"
    (chapter,) = story["chapters"]
    assert chapter["run"] == 1
    assert chapter["lines"][3] == {
        "step": chapter["lines"][2]["step"] + 1,
        "at_ms": 100,
        "source": "wire",
        "target": "venue",
        "text": "frame of post 2, on connection 1",
        "moves": [
            {"machine": "inflight", "key": 0, "event": "acquire", "source": "idle", "target": "normal"},
            {"machine": "post", "key": 2, "event": "send", "source": "queued", "target": "sent"},
            {"machine": "intent", "key": 1, "event": "post", "source": "queued", "target": "posted"},
        ],
    }


def drawn(terminal: int) -> Iterator[bytes]:
    with contextlib.suppress(OSError):  # how a terminal tells that nobody writes to it any more
        while said := os.read(terminal, 4_096):
            yield said


def test_table_in_colour_on_a_terminal(file: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "adapters.cli", "trace", "show", str(file), cloid(1)]
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen(command, stdout=follower, env=environment, cwd=ROOT) as process:  # noqa: S603
        os.close(follower)
        text = b"".join(drawn(leader)).decode()
    os.close(leader)
    assert process.returncode == ExitCode.OK
    assert "┃" in text
    assert "\x1b[35mstrategy\x1b[0m → \x1b[36mexecutor\x1b[0m" in text


# ------------------------------------------------------------------------------------------------------- not to be told


@pytest.mark.parametrize("wanted", ["99", cloid(99)])
def test_what_is_not_in_the_record(file: Path, wanted: str) -> None:
    told = show(file, wanted)
    assert told.exit_code == ExitCode.USAGE
    assert told.output == f"hip3 trace: {file} has no {'order' if 'x' in wanted else 'post'} {wanted}\n"


@pytest.mark.parametrize("wanted", ["abc", "0x12", "²", cloid(1) + "0"])
def test_what_names_nothing(file: Path, wanted: str) -> None:
    told = show(file, wanted)
    assert told.exit_code == ExitCode.USAGE
    assert "is neither the id of a post nor a cloid" in " ".join(told.output.replace("│", "").split())


def test_one_form_at_a_time(file: Path) -> None:
    told = show(file, "2", "--mermaid", "--json")
    assert told.exit_code == ExitCode.USAGE
    assert "--mermaid and --json exclude each other" in told.output


def test_file_that_is_no_record(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_text("good morning\n", encoding="utf-8")
    told = show(garbage, "2")
    assert told.exit_code == ExitCode.JOURNAL
    assert told.output.startswith(f"hip3 trace: {garbage}, line 1: ")
    missing = show(tmp_path / "nowhere", "2")
    assert missing.exit_code == ExitCode.JOURNAL
    assert "can't be read: No such file or directory" in missing.output
