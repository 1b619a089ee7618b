"""What the suite counts of the machines' moves: the same in one process and in several, rows never taken included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from machines.catalogue import MACHINES
from tests.cli.process import ROOT

TESTS: Final = "tests/machines/test_hard_stop.py"


def counted(path: Path, *arguments: str, code: int = 0) -> tuple[dict[str, Any], str]:
    """What a run of pytest in a process of its own writes and says; nothing written is {}."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--transition-coverage", str(path)]
    ran = subprocess.run(  # noqa: S603 our own
        [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}, ran.stdout


def test_each_row_is_counted_and_workers_add_up(tmp_path: Path) -> None:
    alone, said = counted(tmp_path / "one.json", TESTS)
    assert alone == counted(tmp_path / "two.json", TESTS, "-n", "2")[0]
    assert alone["tests"] > 0
    assert {
        name: [(row["event"], row["source"], row["target"]) for row in rows] for name, rows in alone["machines"].items()
    } == {
        machine.name: [(row.event.value, row.source.value, row.target.value) for row in machine.table]
        for machine in MACHINES
    }
    taken = {name: [row["taken"] for row in rows] for name, rows in alone["machines"].items()}
    assert min(taken["hard_stop"]) > 0
    assert max(taken["settlement"]) == 0, "these tests settle nothing"
    assert "never: intent.enqueue accepted → queued, " in said


def test_what_a_lost_worker_counted_is_not_left_out_in_silence(tmp_path: Path) -> None:
    test = tmp_path / "test_death.py"
    test.write_text("import os\n\n\ndef test_death():\n    os._exit(3)\n", encoding="utf-8")
    options = ["-p", "tests.conftest", "-n", "1", "--max-worker-restart=0", "-c", str(ROOT / "pyproject.toml")]
    written, said = counted(tmp_path / "lost.json", str(test), *options, code=1)
    assert written == {}
    assert "transition coverage not written: no counts of gw0" in said
