"""Recovering the signers of actions: here, or in processes of their own.

Recovery is two thirds of the work that an action makes, and the one part that needs nothing of the venue's state.
`Verifiers` hands it to worker processes in batches, one for all that came in during a turn of the event loop, and
gives the results back in the order in which they were asked for, whichever worker is first: actions keep their order.

A worker reads batches from stdin and writes results to stdout, each as a length (4 bytes, big-endian) and a msgpack
array, until stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final, Literal, TypeAlias

import msgspec

from adapters.hyperliquid.signing import MalformedSignature, recover_l1_signer

Network: TypeAlias = Literal["mainnet", "testnet"]


class Claim(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What a signature is said to cover.

    Attributes:
        action: The action as JSON, in the order in which its fields were hashed.
        nonce: Unix ms.
        r: Hex.
        s: Hex.
        v: 27 or 28.
        vault_address: As sent.
        expires_after: Unix ms.
    """

    action: bytes
    nonce: int
    r: str
    s: str
    v: int
    vault_address: str | None = None
    expires_after: int | None = None


class Verdict(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """Who signed: an address, or why there is none."""

    signer: str | None
    fault: str = ""


Done: TypeAlias = Callable[[Verdict], None]

_LENGTH_BYTES: Final = 4
_SMALLEST_SHARE: Final = 4
"""A batch is divided among the workers, but not into smaller parts than this: a part costs as much as two claims."""

_plain: Final = msgspec.json.Decoder(dict[str, object]).decode
_pack: Final = msgspec.msgpack.Encoder().encode
_claims: Final = msgspec.msgpack.Decoder(list[Claim]).decode
_verdicts: Final = msgspec.msgpack.Decoder(list[Verdict]).decode


def verify(claim: Claim, network: Network) -> Verdict:
    """Recover the signer of one claim."""
    try:
        signer = recover_l1_signer(
            _plain(claim.action),
            claim.nonce,
            {"r": claim.r, "s": claim.s, "v": claim.v},
            network=network,
            vault_address=claim.vault_address,
            expires_after=claim.expires_after,
        )
    except MalformedSignature as error:
        return Verdict(None, str(error))
    return Verdict(signer)


class _Share:
    """A part of a batch, at one worker."""

    __slots__ = ("claims", "done", "verdicts")

    def __init__(self, claims: Sequence[Claim], done: Sequence[Done]) -> None:
        self.claims: Final = claims
        self.done: Final = done
        self.verdicts: Sequence[Verdict] | None = None


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process: Final = process
        self.shares: Final[deque[_Share]] = deque()
        self.reader: asyncio.Task[None] | None = None


class Verifiers:
    """Recovers signers, in worker processes if there are any, else on the spot.

    Args:
        network: Whose signatures are taken.
        workers: How many processes; a worker that dies is not replaced, and its claims are recovered here.
    """

    def __init__(self, network: Network, workers: int) -> None:
        self._network: Final = network
        self._wanted: Final = workers
        self._workers: Final[list[_Worker]] = []
        self._claims: list[Claim] = []
        self._done: list[Done] = []
        self._underway: Final[deque[_Share]] = deque()

    @property
    def workers(self) -> list[asyncio.subprocess.Process]:
        """The worker processes that are left."""
        return [worker.process for worker in self._workers]

    async def start(self) -> None:
        """Start the workers."""
        for _ in range(self._wanted):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                f"from {__name__} import main; main()",
                self._network,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C is for the venue, which ends its workers itself
            )
            worker = _Worker(process)
            worker.reader = asyncio.create_task(self._read(worker))
            self._workers.append(worker)

    async def stop(self) -> None:
        """End the workers; what they still had is dropped."""
        workers, self._workers[:] = list(self._workers), []
        for worker in workers:
            if worker.reader is not None:
                worker.reader.cancel()
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
            await worker.process.wait()

    def verify(self, claim: Claim, done: Done) -> None:
        """Have a claim verified; `done` is called with the verdict, in the order of these calls."""
        if not self._workers and not self._underway:
            done(verify(claim, self._network))
            return
        if not self._claims:
            asyncio.get_running_loop().call_soon(self._dispatch)
        self._claims.append(claim)
        self._done.append(done)

    def _dispatch(self) -> None:
        """Divide what came in during this turn of the loop among the workers."""
        claims, self._claims = self._claims, []
        done, self._done = self._done, []
        size = max(_SMALLEST_SHARE, -(-len(claims) // max(1, len(self._workers))))
        for start in range(0, len(claims), size):
            share = _Share(claims[start : start + size], done[start : start + size])
            self._underway.append(share)
            if not self._workers:
                self._verify_here(share)
                continue
            worker = min(self._workers, key=lambda worker: len(worker.shares))
            worker.shares.append(share)
            if worker.process.stdin is not None:
                worker.process.stdin.write(_framed(_pack(share.claims)))
        self._deliver()

    def _verify_here(self, share: _Share) -> None:
        share.verdicts = [verify(claim, self._network) for claim in share.claims]

    def _deliver(self) -> None:
        """Report the verdicts that are next in order."""
        while self._underway and self._underway[0].verdicts is not None:
            share = self._underway.popleft()
            for done, verdict in zip(share.done, share.verdicts or (), strict=True):
                done(verdict)

    async def _read(self, worker: _Worker) -> None:
        """Take a worker's verdicts until it ends."""
        stdout = worker.process.stdout
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while stdout is not None:
                length = int.from_bytes(await stdout.readexactly(_LENGTH_BYTES), "big")
                worker.shares.popleft().verdicts = _verdicts(await stdout.readexactly(length))
                self._deliver()
        self._workers.remove(worker)
        for share in worker.shares:
            self._verify_here(share)
        self._deliver()


def _framed(packed: bytes) -> bytes:
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed


def work(network: Network, requests: BinaryIO, results: BinaryIO) -> None:
    """Verify batches until there are no more."""
    while len(head := requests.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
        claims = _claims(requests.read(int.from_bytes(head, "big")))
        results.write(_framed(_pack([verify(claim, network) for claim in claims])))
        results.flush()


def main() -> None:
    """Be a worker process; the network is the first argument."""
    work("mainnet" if sys.argv[1] == "mainnet" else "testnet", sys.stdin.buffer, sys.stdout.buffer)
