"""`hip3 venue` as its user meets it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapters.cli import app
from adapters.exit_codes import ExitCode
from adapters.venue.truth import ActionRecord, read_truth
from tests.adapters.venue.support import Trader, order, orders, venue_process

COMMAND = [sys.executable, "-c", "from adapters.cli import main; main()", "venue"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603


def post(url: str, path: str, body: object) -> str:
    """A request by hand: the command's tests need no client library."""
    host, _, port = url.removeprefix("http://").partition(":")
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode() + content)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.partition(b"\r\n\r\n")[2].decode()


def test_help_explains() -> None:
    result = CliRunner().invoke(app, ["venue", "--help"], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    for word in ("--account", "--agent", "--faults", "--truth-log", "--address-budget", "/local/faults"):
        assert word in result.stdout


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_one_line_says_where_it_listens_and_a_signal_ends_it_cleanly(stop: signal.Signals) -> None:
    with subprocess.Popen([*COMMAND, "--port", "0", "--seed", "7"], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[2]
        assert url.startswith("http://127.0.0.1:")
        assert "seed 7" in line
        assert '"time"' in post(url, "/info", {"type": "exchangeStatus"})
        process.send_signal(stop)
        rest, _ = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, "")


def test_a_port_in_use_is_an_error_of_its_own() -> None:
    with venue_process() as facts:
        port = facts["url"].rpartition(":")[2]
        result = run("--port", port)
    assert result.returncode == ExitCode.ADDRESS_IN_USE
    assert f"port {port} on 127.0.0.1 is in use" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--account", "0x12", "address"),
        ("--account", "0x" + "1" * 40 + "=x", "USDC"),
        ("--account", "0x" + "1" * 40 + "=-5", "USDC"),
        ("--agent", "0x" + "1" * 40, "="),
        ("--agent", "0x" + "1" * 40 + "=0x" + "2" * 40, "no account"),
        ("--vault", "0x" + "1" * 40 + "=0x" + "2" * 40, "no account"),
        ("--faults", '{"drop": 1}', "drop_reply"),
        ("--faults", "x", "fault settings"),
        ("--limits", '{"inflight": 1}', "inflight_posts"),
        ("--liquidity", "[]", "levels"),
        ("--truth-log", "/no/such/folder/file", "No such file"),
    ],
)
def test_options_that_make_no_sense_are_named(option: str, value: str, word: str) -> None:
    result = run("--port", "0", option, value)
    assert result.returncode == ExitCode.USAGE
    assert word in result.stderr
    assert "Traceback" not in result.stderr


def test_options_reach_the_venue(tmp_path: Path) -> None:
    trader, agent, vault = Trader(1), Trader(2), "0x" + "ab" * 20
    path = tmp_path / "truth.ndjson"
    options = ["--account", f"{trader.address}=500", "--agent", f"{agent.address}={trader.address}"]
    options += ["--vault", f"{vault}={trader.address}", "--address-budget", "5", "--network", "mainnet"]
    options += ["--limits", '{"inflight_posts": 3}', "--faults", '{"lookup_lag_ms": 5}', "--truth-log", str(path)]
    with venue_process(*options) as facts:
        now = time.time_ns() // 1_000_000
        mainnet = Trader(2, network="mainnet")
        reply = post(facts["url"], "/exchange", mainnet.payload(orders(order()), nonce=now))
        assert '"resting"' in reply
        reply = post(facts["url"], "/exchange", mainnet.payload({"type": "noop"}, nonce=now, vault=vault))
        assert "duplicate nonce" in reply
        state = post(facts["url"], "/info", {"type": "clearinghouseState", "user": trader.address})
        assert json.loads(state)["marginSummary"]["accountValue"] == "500.0"
        rate = post(facts["url"], "/info", {"type": "userRateLimit", "user": trader.address})
        assert json.loads(rate)["nRequestsCap"] == 5
        assert facts["network"] == "mainnet"
    first, second = (record for record in read_truth(path) if isinstance(record, ActionRecord))
    assert (first.signer, first.user) == (agent.address, trader.address)
    assert (second.user, second.spent) == (vault, False)
