"""How many single-order posts a second the venue takes from one loopback client.

    python -m tests.adapters.venue.throughput [ORDERS [VERIFIERS]]

The venue runs as a process of its own. The client signs all orders beforehand, so that what is measured is the venue:
it keeps 90 posts in flight on one connection and waits for every reply.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import msgspec
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from adapters.hyperliquid.signing import Signer
from tests.adapters.venue.support import key, venue_process

WINDOW = 90
LIMITS = {"messages_per_minute": 10**8, "open_orders": 10**8}


def frames(signer: Signer, count: int) -> list[bytes]:
    """Signed single-order posts: nine that rest for one that trades."""
    start = time.time_ns() // 1_000_000
    made = []
    for number in range(count):
        nonce = start - count + number
        order = {
            "a": 0,
            "b": True,
            "p": "200000" if number % 10 == 0 else str(50_000 + number % 500),
            "s": "0.001",
            "r": False,
            "t": {"limit": {"tif": "Ioc" if number % 10 == 0 else "Gtc"}},
            "c": f"0x{number:032x}",
        }
        action: dict[str, Any] = {"type": "order", "orders": [order], "grouping": "na"}
        payload = {
            "action": action,
            "nonce": nonce,
            "signature": signer.sign(action, nonce, network="testnet"),
        }
        made.append(
            msgspec.json.encode({"method": "post", "id": number, "request": {"type": "action", "payload": payload}})
        )
    return made


async def drive(socket: ClientWebSocketResponse, posts: list[bytes]) -> int:
    """Send all posts, at most `WINDOW` in flight; returns how many were refused."""
    refused = answered = 0
    unsent = iter(posts)
    for _ in range(WINDOW):
        await socket.send_frame(next(unsent), WSMsgType.TEXT)
    while answered < len(posts):
        text = await socket.receive_str()
        if '"channel":"post"' not in text:
            continue
        answered += 1
        refused += '"error"' in text or '"err"' in text
        post = next(unsent, None)
        if post is not None:
            await socket.send_frame(post, WSMsgType.TEXT)
    return refused


async def measure(count: int, verifiers: int) -> None:
    """Run a venue, send `count` orders, print the rate."""
    signer = Signer(key(1))
    options = ["--address-budget", str(10**8), "--limits", json.dumps(LIMITS), "--verifiers", str(verifiers)]
    with venue_process(*options, "--account", f"{signer.address}=1000000000") as facts:
        posts = frames(signer, count)
        async with ClientSession() as session, session.ws_connect(facts["ws_url"], compress=0) as socket:
            await socket.receive_str()
            begun = time.perf_counter()
            refused = await drive(socket, posts)
            took = time.perf_counter() - begun
    print(f"{count} orders in {took:.2f} s: {count / took:.0f} orders/s, {refused} refused")


if __name__ == "__main__":
    asyncio.run(measure(*(int(argument) for argument in (sys.argv[1:] + ["20000", "0"][len(sys.argv) - 1 :]))))
