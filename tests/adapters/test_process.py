"""How a trading process is set up; looked at in processes of their own, because it changes the whole process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adapters.process import GARBAGE

PROGRAM = """
import asyncio, gc, sys
{before}
from adapters import process

async def main():
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    print(loop, gc.get_threshold(), gc.get_freeze_count() > 10_000)
    return 7

print(process.run(main()))
"""


@pytest.mark.parametrize(
    ("before", "loop"),
    [("", "uvloop"), ("sys.modules['uvloop'] = None", "asyncio")],
    ids=["installed", "not installed"],
)
def test_it_runs_on_uvloop_if_that_is_installed_and_with_little_garbage_collection(before: str, loop: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(before=before)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert done.stdout.splitlines() == [f"{loop} {GARBAGE} True", "7"]
