"""The campaign by hand, as large as wanted: `python -m tests.e2e.kill --help`."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.kill.campaign import Plan, campaign


def main() -> int:
    """Run it; 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--intents", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=None, help="random by default; it is printed")
    parser.add_argument("--keep", type=Path, default=None, help="a folder for the journal and what owners were told")
    given = parser.parse_args()
    seed = secrets.randbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(campaign(Plan(given.kills, given.cuts, given.intents, seed), folder))
    print(report.line(), f"in {time.monotonic() - begun:.0f} s")
    for fault in report.faults[:50]:
        print(fault)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
