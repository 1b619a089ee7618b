"""`hip3 run` as a real process: commands, signals, sockets, and an exit code for each way to end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from adapters.cli import app, run
from adapters.clock import SystemClock
from adapters.config import Config
from adapters.executor import CloseReport, Executor
from adapters.exit_codes import ExitCode
from adapters.hyperliquid.signing import Signer
from adapters.journal import Retention, SqliteJournal
from adapters.venue.server import Venue
from tests.adapters.live import AGENT_KEY, KEY, see_that_it_agrees, until, venue_in_process
from tests.adapters.wire import Wire
from tests.cli.process import Hip3

VARIABLE = "HIP3_RUN_KEY"
ACCOUNT = Signer(KEY).address
ORDER: dict[str, Any] = {"op": "order", "market": "BTC", "side": "buy", "size": "0.01", "price": "50000"}


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def written(path: Path, ws_url: str, http_url: str, **settings: str | int) -> Path:
    """A configuration file; `key` is where the key is, the variable by default, `journal` its file."""
    lines = [f'network = "local"\naccount = "{ACCOUNT}"\nws_url = "{ws_url}"\nhttp_url = "{http_url}"']
    key = settings.pop("key", f'{{ env = "{VARIABLE}" }}')
    if (journal := settings.pop("journal", None)) is not None:
        lines.append(f'journal = {{ file = "{journal}" }}')
    lines += [f"key = {key}", *(f"{name} = {json.dumps(value)}" for name, value in settings.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def hip3_run(config: Path, key: str = KEY) -> Hip3:
    return Hip3("run", "--config", str(config), environment={VARIABLE: key})


@asynccontextmanager
async def running(folder: Path, **settings: str | int) -> AsyncIterator[tuple[Hip3, Venue, Wire]]:
    """`hip3 run`, ready, its venue, and the wire between them."""
    async with venue_in_process(Signer(KEY)) as venue, Wire(venue.ws_url) as wire:
        config = written(folder / "executor.toml", wire.ws_url, venue.url, **settings)
        async with hip3_run(config) as process:
            await process.logged("ready")
            yield process, venue, wire


def refused(process: Hip3) -> str:
    """The one line that says why it did not start."""
    (line,) = process.plain
    assert line.startswith("hip3 run: ")
    assert KEY not in line
    return line


# ----------------------------------------------------------------------------------------------------- commands


async def test_a_session_on_standard_input(tmp_path: Path) -> None:
    """Every command, every bad line; answers on standard output alone, JSON logs on standard error, no secret."""
    cloids = [f"0x{number:032x}" for number in range(1, 4)]
    async with running(tmp_path, tick_ms=0) as (process, _, wire):
        process.say({**ORDER, "ref": "rest", "cloid": cloids[0]})
        assert await process.answer() == {"ref": "rest", "admission": "queued", "cloid": cloids[0]}
        assert (await process.outcome("rest"))["outcome"] == "resting"
        process.say({**ORDER, "ref": "again", "cloid": cloids[0]})
        assert (await process.answer())["admission"] == "cloid_in_use"
        assert (await process.outcome("again"))["reason"] == "not accepted: cloid_in_use"
        terms = {key: value for key, value in ORDER.items() if key != "op"}
        process.say({"op": "modify", "ref": "mod", "cloid": cloids[0], "order": {**terms, "cloid": cloids[1]}})
        assert (await process.outcome("mod"))["outcome"] == "resting"
        process.say({"op": "cancel", "ref": "can", "market": "BTC", "cloid": cloids[1]})
        assert (await process.outcome("can")) == {"ref": "can", "cloid": cloids[1], "outcome": "canceled"}
        process.say({**ORDER, "ref": "buy", "price": "101000", "tif": "Ioc"})
        assert (await process.outcome("buy"))["size"] == "0.01"
        process.say({"op": "flatten", "ref": "flat"})
        assert await process.answer() == {"ref": "flat", "flattening": 1}
        assert (await process.outcome("flat"))["outcome"] == "filled"
        process.say({"op": "halt", "ref": "h", "reason": "test"}, {"op": "reset", "ref": "r", "reason": "test"})
        assert (await process.answer())["halted"] == "operator: test"
        assert (await process.answer())["halted"] is None
        process.say(b"\n", b"garbage\n", {"op": "sell"}, {"op": "status", "ref": "s", "now": 1})
        for ref in (None, None, "s"):
            answer = await process.answer()
            assert (answer["ref"], answer["error"]) == (ref, "MalformedCommand")
        process.say({**ORDER, "ref": "bad", "market": "BTCC"}, {"op": "status", "ref": "end"})
        assert (await process.answer())["error"] == "UnknownMarket"
        status = await process.answer()
        assert (status["accepted"], status["ended"], status["invariant_violations"]) == (5, 5, 0)
        process.finish()
        assert await process.exit_code() == ExitCode.OK
        assert await process.rest() == ""
        assert process.plain == []
        assert process.events[-1] == "stopped"
        logged = json.dumps(process.log)
        signatures = [post["request"]["payload"]["signature"] for post in wire.posts()]
        assert len(signatures) == 6
        for secret in (KEY[2:], *(signature[part][2:] for signature in signatures for part in ("r", "s"))):
            assert secret not in logged
        assert Signer(KEY).address in logged


async def test_outcomes_are_awaited_at_the_end_of_input(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, _, wire):
        wire.answers.clear()
        process.say({**ORDER, "ref": "o"})
        process.finish()
        assert (await process.answer())["admission"] == "queued"
        await asyncio.sleep(0.2)
        assert process.process.returncode is None
        wire.answers.set()
        assert (await process.outcome("o"))["outcome"] == "resting"
        assert await process.exit_code() == ExitCode.OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_with_nothing_to_do_ends_it_though_its_input_is_open(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with running(tmp_path) as (process, _, _wire):
        process.signal(number)
        assert await process.exit_code() == ExitCode.OK
        assert process.plain == []
        assert process.log[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_mid_flight_awaits_posts_and_lists_what_was_not_done(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with running(tmp_path, tick_ms=400) as (process, venue, wire):
        wire.answers.clear()
        process.say({**ORDER, "ref": "flying"})
        account = venue.core.accounts.by_address[ACCOUNT]
        await until(lambda: len(account.open_orders) == 1)
        cancel = {"op": "cancel", "ref": "cancel", "market": "BTC", "oid": next(iter(account.open_orders))}
        process.say({**ORDER, "ref": "waiting"}, cancel, {"op": "status", "ref": "s"})
        while (answer := await process.answer()).get("ref") != "s":
            pass
        assert answer["queued"] == {"cancel": 1, "reduce_only": 0, "new_order": 1}
        process.signal(number)
        assert (await process.outcome("waiting"))["reason"] == "shut down before it was sent"
        process.say({**ORDER, "ref": "late"})
        assert (await process.answer())["admission"] == "not_ready"
        wire.answers.set()
        heard = {(await process.outcome(ref))["outcome"] for ref in ("flying", "cancel")}
        assert heard == {"resting", "canceled"}
        assert await process.exit_code() == ExitCode.UNFINISHED
        unfinished = [line for line in process.log if line["event"] == "unfinished"]
        assert [(line["outcome"], line["reason"]) for line in unfinished] == [
            ("not_executed", "shut down before it was sent")
        ]
        assert process.log[-1] | {"not_executed": 1, "unknown": 0} == process.log[-1]
        assert account.open_orders == {}


async def test_what_is_unknown_at_the_end_is_listed(tmp_path: Path) -> None:
    async with running(tmp_path, drain_ms=200) as (process, venue, wire):
        wire.answers.clear()
        process.say({**ORDER, "ref": "o", "cloid": "0x" + "ab" * 16})
        await until(lambda: len(venue.core.accounts.by_address[ACCOUNT].open_orders) == 1)
        process.signal(signal.SIGTERM)
        assert (await process.outcome("o"))["outcome"] == "unknown"
        assert await process.exit_code() == ExitCode.UNFINISHED
        (line,) = [line for line in process.log if line["event"] == "unfinished"]
        assert (line["cloid"], line["outcome"]) == ("0x" + "ab" * 16, "unknown")
        assert line["reason"] == "the next run on this journal finds it out"


async def test_a_strategy_that_dies_ends_it_cleanly(tmp_path: Path) -> None:
    """Its output is closed first, then its input: no traceback, and what was sent is still seen through."""
    async with running(tmp_path) as (process, venue, _):
        transport: Any = process.process.stdout
        transport._transport.close()
        process.say({**ORDER, "ref": "o"})
        process.finish()
        assert await process.exit_code() == ExitCode.OK
        assert len(venue.core.accounts.by_address[ACCOUNT].open_orders) == 1
        assert "answers_not_read" in process.events
        assert process.plain == []


# ------------------------------------------------------------------------------------------------ the other ways to end


async def test_it_goes_on_trying_a_venue_that_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    config = written(tmp_path / "executor.toml", f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}")
    async with hip3_run(config) as process:
        await process.logged("connection_lost", times=3)
        lost = [line for line in process.log if line["event"] == "connection_lost"]
        assert all("127.0.0.1" in line["url"] and line["retry_ms"] >= 0 for line in lost)
        assert lost[0]["reason"].startswith("ConnectionRefusedError: [Errno 111]")
        assert "ready" not in process.events
        process.signal(signal.SIGTERM)
        assert await process.exit_code() == ExitCode.OK


@pytest.mark.parametrize(
    ("network", "key"),
    [("mainnet", KEY), ("testnet", AGENT_KEY)],
    ids=["the key of another network", "an agent that nobody approved"],
)
async def test_a_key_that_the_venue_does_not_know(tmp_path: Path, network: str, key: str) -> None:
    async with venue_in_process(Signer(KEY), network=network) as venue:
        config = written(tmp_path / "executor.toml", venue.ws_url, venue.url)
        async with hip3_run(config, key) as process:
            assert await process.exit_code() == ExitCode.KEY_NOT_ACCEPTED
            said = refused(process)
            assert f"the venue refused the signer {Signer(key).address}" in said
            assert "does not exist" in said
            assert "network 'local'" in said


def refused_here(config: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and message of a run in this process, for errors that come before anything is started."""
    monkeypatch.setattr(run, "configure_logs", lambda _: None)
    monkeypatch.setenv(VARIABLE, KEY)
    result = CliRunner().invoke(app, ["run", "--config", str(config)])
    assert result.output.startswith("hip3 run: ")
    assert KEY not in result.output
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"post_timeout_ms": 100}, "post_timeout_ms: Expected `int` >= 3000"),
        ({"tick": 5}, "Object contains unknown field `tick`"),
        ({"slippage": "all"}, "slippage: expected a fraction from 0 to below 1"),
        ({"high_watermark": 200}, "high_watermark: expected at most inflight_limit, 100; got 200"),
    ],
)
def test_an_unusable_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str | int], said: str
) -> None:
    config = written(tmp_path / "executor.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1", **settings)
    code, text = refused_here(config, monkeypatch)
    assert code == ExitCode.CONFIG
    assert text.startswith(f"hip3 run: {config}: {said}")


async def test_no_configuration_at_all(tmp_path: Path) -> None:
    async with hip3_run(tmp_path / "missing.toml") as process:
        assert await process.exit_code() == ExitCode.CONFIG
        assert "missing.toml: can't be read: No such file" in refused(process)


@pytest.mark.parametrize(
    ("mode", "content", "said"),
    [
        (None, "", "can't be read: No such file or directory"),
        (0o644, KEY, "others can reach the key; run: chmod 600"),
        (0o600, "secret", "does not hold a private key: expected 64 hex digits"),
        (0o600, "00" * 32, "no private key of secp256k1"),
    ],
)
def test_an_unusable_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, content: str, said: str
) -> None:
    key = tmp_path / "key.txt"
    if mode is not None:
        key.write_text(content, encoding="ascii")
        key.chmod(mode)
    source = f'{{ file = "{key}" }}'
    config = written(tmp_path / "executor.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1", key=source)
    code, text = refused_here(config, monkeypatch)
    assert code == ExitCode.KEY
    assert said in text
    assert str(key) in text


async def test_no_key_at_all(tmp_path: Path) -> None:
    config = written(tmp_path / "executor.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1")
    async with hip3_run(config, key="") as process:
        assert await process.exit_code() == ExitCode.KEY
        assert f"the environment variable {VARIABLE} is not set" in refused(process)


async def test_a_key_on_the_command_line_is_a_usage_error() -> None:
    async with Hip3("run", "--config", "x.toml", "--key", KEY) as process:
        assert await process.exit_code() == ExitCode.USAGE
        assert any("No such option: --key" in line for line in process.plain)
        assert not any(KEY in line for line in process.plain)


# -------------------------------------------------------------------------------------------------- the journal


async def test_a_second_executor_on_the_same_journal_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, _, _wire):
        async with hip3_run(tmp_path / "executor.toml") as second:
            assert await second.exit_code() == ExitCode.JOURNAL
            assert f"is in use by process {process.process.pid}, signer {ACCOUNT}; stop that executor" in refused(
                second
            )
        process.say({**ORDER, "ref": "o"})
        assert (await process.outcome("o"))["outcome"] == "resting", "the first one is not disturbed"


def newer(path: Path) -> None:
    """A journal of a version to come."""
    SqliteJournal.open(path, signer=ACCOUNT, durability="normal", retention=Retention(), clock=SystemClock()).close(
        True
    )
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def another_programs(path: Path) -> None:
    """An SQLite file of another program."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE songs (title TEXT)")


def damaged(path: Path) -> None:
    """Bytes that are no SQLite file."""
    path.write_bytes(b"precious orders" * 1_000)


def a_folder(path: Path) -> None:
    """No file at all."""
    path.mkdir()


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (newer, "has schema version 99, this program knows up to 1; use the version that wrote it"),
        (another_programs, "is an SQLite file but no journal; name another file"),
        (damaged, "is damaged, or is no journal (file is not a database); move it away with its -wal and -redo files"),
        (a_folder, "can't be opened or written"),
    ],
)
def test_an_unusable_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "the.journal"
    prepare(path)
    kept = path.read_bytes() if path.is_file() else b""
    config = written(tmp_path / "executor.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1", journal=str(path))
    code, text = refused_here(config, monkeypatch)
    assert code == ExitCode.JOURNAL
    assert said in text
    assert str(path) in text
    assert path.is_dir() or path.read_bytes() == kept, "it was not touched"


def test_a_journal_in_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "missing" / "the.journal"
    config = written(tmp_path / "executor.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1", journal=str(path))
    code, text = refused_here(config, monkeypatch)
    assert code == ExitCode.JOURNAL
    assert "(No such file or directory); see that its folder exists" in text


async def test_a_full_disk_halts_it_and_what_closes_risk_goes_on(tmp_path: Path) -> None:
    """From a moment on the running process can't write to any file."""
    path = tmp_path / "the.journal"
    async with running(tmp_path, tick_ms=0, journal=str(path)) as (process, venue, _):
        account = venue.core.accounts.by_address[ACCOUNT]
        process.say({**ORDER, "ref": "first", "cloid": "0x" + "1" * 32})
        assert (await process.outcome("first"))["outcome"] == "resting"
        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (0, 0))
        process.say({**ORDER, "ref": "second"})
        reason = (await process.outcome("second"))["reason"]
        assert reason.startswith(f"halted: the journal failed: there is no room for the journal {path}")
        assert "make room" in reason
        process.say({"op": "reset", "ref": "reset", "reason": "hope"}, {**ORDER, "ref": "third"})
        assert (await process.answer())["halted"].startswith("the journal failed: there is no room")
        assert (await process.answer())["admission"] == "halted"
        process.say({"op": "cancel", "ref": "cancel", "market": "BTC", "cloid": "0x" + "1" * 32})
        assert (await process.outcome("cancel"))["outcome"] == "canceled"
        assert account.open_orders == {}
        process.finish()
        assert await process.exit_code() == ExitCode.OK
        assert process.events.count("journal_failed") == 1
        assert process.plain == []
        assert process.events[-1] == "stopped"
        see_that_it_agrees(path)


async def test_what_a_killed_executor_left_is_settled_by_the_next_one(tmp_path: Path) -> None:
    """One post that ran unanswered, one that never arrived, and an order that was never sent."""
    ran, lost, waiting = ("0x" + digit * 32 for digit in "abc")
    async with running(tmp_path, tick_ms=400) as (process, venue, wire):
        account = venue.core.accounts.by_address[ACCOUNT]
        wire.answers.clear()
        process.say({**ORDER, "ref": "ran", "cloid": ran})
        await until(lambda: len(account.open_orders) == 1)
        wire.requests.clear()
        process.say({**ORDER, "ref": "lost", "cloid": lost})
        await until(lambda: len(wire.posts()) == 3)
        process.say({**ORDER, "ref": "waiting", "cloid": waiting}, {"op": "status", "ref": "s"})
        while (answer := await process.answer()).get("ref") != "s":
            pass
        assert (answer["inflight"], answer["queued"]["new_order"]) == (2, 1)
        process.signal(signal.SIGKILL)
        assert await process.exit_code() == -signal.SIGKILL
        wire.reset()
        wire.answers.set()
        wire.requests.set()
        async with hip3_run(tmp_path / "executor.toml") as second:
            await second.logged("ready")
            (recovering,) = [line for line in second.log if line["event"] == "recovering"]
            assert (recovering["unsettled"], recovering["same_key"]) == (3, True)
            for cloid in (ran, lost, waiting, "0x" + "d" * 32):
                second.say({"op": "outcome", "ref": cloid[2], "cloid": cloid})
            (oid,) = account.open_orders
            assert await second.outcome("a") == {"ref": "a", "cloid": ran, "outcome": "resting", "oid": oid}
            assert (await second.outcome("b"))["reason"] == "its fence won: it never ran and never can"
            assert (await second.outcome("c"))["reason"] == "never sent before the restart"
            assert (await second.answer())["error"] == "UnknownCloid"
            second.say({**ORDER, "ref": "again", "cloid": ran})
            assert (await second.answer())["admission"] == "cloid_in_use"
            second.finish()
            assert await second.exit_code() == ExitCode.OK
        assert len(account.open_orders) == 1
        (journal,) = Path(os.environ["XDG_STATE_HOME"]).glob("hip3/*.journal")
        see_that_it_agrees(journal)


class BreaksAtWork(Executor):
    """An executor with a fault soon after its start."""

    def start(self) -> None:
        super().start()
        asyncio.get_running_loop().call_later(0.05, self.driver.fail, RuntimeError("for the test"))


class BreaksAtTheEnd(Executor):
    """One that is told to stop, and meets its fault then."""

    def start(self) -> None:
        super().start()
        asyncio.get_running_loop().call_later(0.05, signal.raise_signal, signal.SIGTERM)

    async def close(self) -> CloseReport:
        self.driver.fail(RuntimeError("for the test"))
        return await super().close()


@pytest.mark.parametrize("breaking", [BreaksAtWork, BreaksAtTheEnd])
def test_a_fault_of_its_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    breaking: type[Executor],
) -> None:
    """In this process, because a process of its own offers no way to break it from outside."""

    port = free_port()
    config = written(tmp_path / "executor.toml", f"ws://127.0.0.1:{port}/ws", f"http://127.0.0.1:{port}")
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setattr(run, "Executor", breaking)
    monkeypatch.setattr(run, "configure_logs", lambda _: None)
    with pytest.raises(typer.Exit) as caught:
        run.command(config)
    assert caught.value.exit_code == ExitCode.FAULT
    assert "hip3 run: the executor stopped on a fault of its own: RuntimeError: for the test" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- the control socket


async def asked(path: Path, command: dict[str, Any]) -> dict[str, Any]:
    """One command on the control socket, and its first answer."""
    reader, writer = await asyncio.open_unix_connection(path)
    with closing(writer):
        writer.write(json.dumps(command).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 10))
        return answer


async def test_commands_on_the_control_socket(tmp_path: Path) -> None:
    path = tmp_path / "hip3.sock"
    async with running(tmp_path, control_socket=str(path), tick_ms=0) as (process, venue, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        process.finish()  # its standard input is of no interest then
        answers = await asyncio.gather(*(asked(path, {"op": "status", "ref": str(n)}) for n in range(3)))
        assert [answer["ref"] for answer in answers] == ["0", "1", "2"]
        assert (await asked(path, {**ORDER, "ref": "o"}))["admission"] == "queued"
        await until(lambda: len(venue.core.accounts.by_address[ACCOUNT].open_orders) == 1)
        terms = {"control_socket": str(path), "journal": str(tmp_path / "another.journal")}
        config = written(tmp_path / "another.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1", **terms)
        async with hip3_run(config) as second:
            assert await second.exit_code() == ExitCode.ADDRESS_IN_USE
            assert "hip3.sock is in use: another executor listens there" in refused(second)
        assert (await asked(path, {"op": "status"}))["session"] == "ready"
        process.signal(signal.SIGTERM)
        assert await process.exit_code() == ExitCode.OK
        assert not path.exists()


async def test_the_socket_of_a_killed_executor_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "hip3.sock"
    async with running(tmp_path, control_socket=str(path)) as (process, _, _wire):
        process.signal(signal.SIGKILL)
        assert await process.exit_code() == -signal.SIGKILL
        assert path.exists()
        async with hip3_run(tmp_path / "executor.toml") as second:
            await second.logged("ready")
            assert (await asked(path, {"op": "status"}))["session"] == "ready"
            second.signal(signal.SIGTERM)
            assert await second.exit_code() == ExitCode.OK


async def test_the_operator_is_heard_before_the_venue_is_there(tmp_path: Path) -> None:
    path, port = tmp_path / "hip3.sock", free_port()
    config = written(
        tmp_path / "executor.toml",
        f"ws://127.0.0.1:{port}/ws",
        f"http://127.0.0.1:{port}",
        control_socket=str(path),
    )
    async with hip3_run(config) as process:
        await process.logged("connection_lost")
        assert (await asked(path, {"op": "status"}))["accepted"] == 0
        assert (await asked(path, {"op": "flatten"}))["error"] == "VenueUnreachable"
        assert (await asked(path, {**ORDER, "ref": "o"}))["admission"] == "not_ready"
        process.signal(signal.SIGINT)
        assert await process.exit_code() == ExitCode.OK


async def test_a_control_socket_that_names_another_file_is_refused(tmp_path: Path) -> None:
    precious = tmp_path / "notes.txt"
    precious.write_text("keep me", encoding="ascii")
    config = written(
        tmp_path / "executor.toml", "ws://127.0.0.1:1/ws", "http://127.0.0.1:1", control_socket=str(precious)
    )
    async with hip3_run(config) as process:
        assert await process.exit_code() == ExitCode.ADDRESS_IN_USE
        assert "is there and is no socket" in refused(process)
    assert precious.read_text(encoding="ascii") == "keep me"


def test_every_setting_of_the_help_exists() -> None:
    """What the help text calls `control_socket` is the key of the configuration."""
    assert "control_socket" in str(run.command.__doc__)
    assert "control_socket" in Config.__struct_fields__


# ----------------------------------------------------------------------------------------- checked before it drives


async def test_it_says_by_which_verification_it_trades(tmp_path: Path) -> None:
    async with running(tmp_path) as (process, _, _):
        (line,) = [entry for entry in process.log if entry["event"] == "verified"]
        assert re.search(r"verified 20.*: code, proof, tables \(sources [0-9a-f]{12}\)", line["stamp"])


async def test_mainnet_is_refused_to_machines_that_can_not_be_shown_to_be_verified(tmp_path: Path) -> None:
    """Before anything is opened: no address is asked."""
    config = tmp_path / "executor.toml"
    config.write_text(f'network = "mainnet"\naccount = "{ACCOUNT}"\nkey = {{ env = "{VARIABLE}" }}', encoding="utf-8")
    environment = {VARIABLE: KEY, "XDG_CACHE_HOME": "/dev/null/cache"}
    async with Hip3("run", "--config", str(config), environment=environment) as process:
        assert await process.exit_code() == ExitCode.NOT_VERIFIED
        assert "mainnet needs verified machines" in refused(process)


async def test_elsewhere_it_is_an_error_in_the_log(tmp_path: Path) -> None:
    async with venue_in_process(Signer(KEY)) as venue:
        config = written(tmp_path / "executor.toml", venue.ws_url, venue.url)
        environment = {VARIABLE: KEY, "XDG_CACHE_HOME": "/dev/null/cache"}
        async with Hip3("run", "--config", str(config), environment=environment) as process:
            await process.logged("ready")
            assert [entry["level"] for entry in process.log if entry["event"] == "not_verified"] == ["error"]
