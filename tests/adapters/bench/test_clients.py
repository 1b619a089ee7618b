"""The clients that the executor is compared with do what a client has to do."""

from __future__ import annotations

import pytest

from adapters.bench.errors import RunFailed
from adapters.bench.floor import Floor
from adapters.bench.messages import Where
from adapters.bench.sdk import Sdk
from adapters.hyperliquid import Signer
from tests.adapters.venue.support import key, venue_process


async def test_the_floor_reads_what_became_of_each_item(where: Where) -> None:
    floor = await Floor.open(where.ws_url, Signer(key(1)))
    oids = [*await floor.place(3), *await floor.place(1)]
    assert oids == sorted(set(oids))
    await floor.cancel(oids)
    await floor.close()


async def test_the_sdk_places_one_many_and_cancels(where: Where) -> None:
    sdk = Sdk(where.http_url, key(1))
    oids = [*await sdk.place(1), *await sdk.place(3)]
    assert oids == sorted(set(oids))
    await sdk.cancel(oids)


async def test_a_venue_that_verifies_everything_takes_the_floors_orders_of_its_account_alone() -> None:
    """What the floor saves, it does not save by sending less than an order."""
    signer = Signer(key(1))
    with venue_process("--account", signer.address, "--liquidity", '{"volatility_bps": 0.0}') as facts:
        stranger = await Floor.open(facts["ws_url"], Signer(key(2)))
        with pytest.raises(RunFailed, match="the venue refused a post: User or API Wallet"):
            await stranger.place(1)
        await stranger.close()
        floor = await Floor.open(facts["ws_url"], signer)
        with pytest.raises(RunFailed, match="could not immediately match"):
            await floor.place(2)  # far from the market; but verified, and looked at
        with pytest.raises(RunFailed, match=r"the venue did not cancel: .*never placed"):
            await floor.cancel([1])
        await floor.close()
