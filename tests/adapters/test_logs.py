"""What is logged: JSON lines, in a process that lets `hip3` decide; and never a secret, whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from adapters.hyperliquid.signing import Signer
from machines.intent import Filled
from tests.adapters.live import KEY, PATIENCE_S, cancel, crossing_order, live, outcomes, resting_order, until

SCRIPT = """
import logging, sys
from adapters.logs import configure_logs, get_logger
configure_logs(logging.INFO)
log = get_logger("test")
log.info("shown", size=1, text="ü")
log.debug("hidden")
try:
    raise ValueError("for the test")
except ValueError as error:
    log.critical("failed", exc_info=error)
logging.getLogger("asyncio").warning("a library %s", "warns")
logging.getLogger("aiohttp").info("a library chats")
configure_logs(logging.DEBUG)
log.debug("now shown")
"""


def test_everything_on_standard_error_is_json_once() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert done.stdout == ""
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("shown", "info"),
        ("failed", "critical"),
        ("a library warns", "warning"),
        ("now shown", "debug"),
    ]
    assert (lines[0]["size"], lines[0]["text"]) == (1, "ü")
    assert "ValueError: for the test" in lines[1]["exception"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


async def test_no_key_and_no_signature_is_ever_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A run with everything in it, all loggers at their most talkative, the libraries' too."""
    caplog.set_level(logging.DEBUG)
    shown: list[object] = []
    async with live(tick_ms=0) as world:
        executor = world.executor
        target = executor.submit(resting_order())
        await outcomes([target, executor.submit(crossing_order())])
        await executor.submit(cancel(target.cloid))
        await outcomes(await executor.flatten())
        world.set_faults(close_after=1.0)
        lost = executor.submit(crossing_order())
        await until(lambda: len(lost.history) > 1)
        world.set_faults()
        assert isinstance(await asyncio.wait_for(lost, PATIENCE_S), Filled)
        await world.ready()
        broken = executor.submit(resting_order())
        world.wire.reset()
        await asyncio.wait_for(broken, PATIENCE_S)
        await world.ready()
        echo = f"Error parsing JSON into valid websocket request: {json.dumps(world.wire.posts()[0])}"
        await world.wire.inject(json.dumps({"channel": "error", "data": echo}))
        await until(lambda: executor.reception.errors == 1)
        executor.halt("enough")
        shown += [executor, target, lost, world.config, Signer(KEY), *world.seen]
        signatures = [post["request"]["payload"]["signature"] for post in world.wire.posts()]
        report = await executor.close()
        shown.append(report)
        recorded = "".join(file.read_bytes().decode(errors="replace") for file in world.journal.parent.iterdir())
    assert len(signatures) >= 5
    assert str(target.cloid) in recorded
    assert "Error parsing JSON" in caplog.text
    said = (
        recorded + caplog.text + "".join(map(repr, shown)) + "".join(str(record.__dict__) for record in caplog.records)
    )
    assert len(caplog.records) > 10
    for secret in (KEY[2:], *(signature[part][2:] for signature in signatures for part in ("r", "s"))):
        assert secret[:12] not in said
        assert secret[-12:] not in said
