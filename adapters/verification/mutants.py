"""Level `mutants`: the suite and the simulator notice every mistake that findings.md and settlement.md forbid.

Each mistake is put back by a patch object, in a process of its own, and hunted. They are part of the source tree
(tests/mutants.py), not of the distribution.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters.verification.level import Check, Options

_SOURCE_TREE: Final = Path(__file__).parents[2]
_LEAST: Final = 45
"""As many mistakes have to be hunted at least."""


def run_mutants(_: Options) -> Iterator[Check]:
    """Hunt them all; a check for each, and one over the whole."""
    if not (_SOURCE_TREE / "tests" / "mutants.py").is_file() or find_spec("hypothesis") is None:
        why = "needs the source tree (tests/mutants.py) with pytest and hypothesis; this is an installed copy"
        yield Check("all mutants", "not_run", 0.0, why)
        return
    command = [sys.executable, "-m", "tests.mutants", "--json"]
    count, survivors, seconds, findings, rules = 0, 0, 0.0, set[str](), set[int]()
    with subprocess.Popen(  # noqa: S603 our own
        command, cwd=_SOURCE_TREE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stdout or ():
            mutant: dict[str, Any] = msgspec.json.decode(line)
            count, seconds = count + 1, seconds + mutant["seconds"]
            survivors += mutant["killed_by"] is None
            findings.update(mutant["findings"])
            rules.update(mutant["rules"])
            yield _check(mutant)
    if process.returncode != (1 if survivors else 0):  # it says 1 if one survives; an error of its own does too
        why = f"the hunt ended with exit code {process.returncode} after {count} mutants, {survivors} of them alive"
        yield Check("all mutants", "failed", seconds, why)
    else:
        yield _all(count, seconds, findings, rules)


def _check(mutant: dict[str, Any]) -> Check:
    forbidden = ", ".join((*mutant["findings"], *(f"rule {rule}" for rule in mutant["rules"])))
    killed_by = mutant["killed_by"]
    if killed_by is None:
        return Check(mutant["id"], "failed", mutant["seconds"], f"survives: {mutant['description']} ({forbidden})")
    return Check(mutant["id"], "passed", mutant["seconds"], f"{forbidden}; killed by {killed_by}")


def _all(count: int, seconds: float, findings: set[str], rules: set[int]) -> Check:
    """That enough were hunted, of every finding and every rule."""
    figures = f"{count} mutants of {len(findings)} findings and {len(rules)} rules"
    enough = count >= _LEAST and len(findings) == _FINDINGS and len(rules) == _RULES
    return Check("all mutants", "passed" if enough else "failed", seconds, figures)


_FINDINGS: Final = 33
"""N1 to N5, B1 to B7, P1 to P7, I1, I2, D1 to D3, X1 to X9 (findings.md)."""
_RULES: Final = 20
"""Of settlement.md."""
