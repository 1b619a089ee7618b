"""The catalogue: what is checked, where, and which mistakes it has found. `docs/verification.md` is its text.

`python -m adapters.verification.catalogue` writes the page, from facts: the invariants, the levels, the configurations
of the model, the names that the code of a level raises, and the record of the hunt for mistakes. That record,
`tests/mutants.json`, is what `python -m tests.mutants --json` printed last, without times; `--hunt` makes it anew.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

import msgspec

import spec
from adapters.simulation import judge
from adapters.verification import nonce_proof, posts_proof
from adapters.verification.levels import LEVELS
from adapters.verification.model import CONFIGURATIONS, NOT_MODELLED, Configuration, Fails, Passes
from adapters.verification.tlc import DEADLOCK, invariants_of, properties_of
from spec.invariants import INVARIANTS

_SOURCE_TREE: Final = Path(__file__).parents[2]
PAGE: Final = _SOURCE_TREE / "docs" / "verification.md"
RECORD: Final = _SOURCE_TREE / "tests" / "mutants.json"
COMMAND: Final = "python -m adapters.verification.catalogue"
"""Writes the page anew; with `--hunt` also the record of the mistakes."""

LIVENESS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "EverySentPostEnds": ("Again and again, no post is sent and not ended.", ("P3", "P6")),
    "EveryUnknownSettles": ("Again and again, no intent's fate is unknown.", ("X2",)),
    "InflightReturnsToZero": ("Again and again, no slot is taken or quarantined.", ("D3", "X3")),
    "ReduceOnlyEventuallySent": ("Again and again, no reduce-only order waits in its queue.", ("B5", "D3")),
    DEADLOCK: ("There is none: no run of the model comes to a state from which nothing follows.", ("D3",)),
    "EveryAcceptedIntentEnds": ("Again and again, everything that was accepted has its outcome.", ("D2", "X2")),
}
"""The temporal properties of spec/Executor.tla, and what TLC looks for without being told: statement, findings."""

OF_THE_VENUE: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "OutcomeIsTrue": ("What the owner is told is what the venue did.", ("X1", "X2", "X4")),
    "ExecutedAtMostOnce": ("No order runs twice at the venue.", ("X1", "X2")),
    "OneOutcomeReported": ("The owner hears one outcome, through crashes too.", ("D2", "X2", "X7")),
    "CanceledOrderIsGone": ("An order whose cancel was reported done or pointless is not on the book.", ("X2",)),
    "ReduceOnlyFindsASlot": (
        "New orders and their fences never hold all slots while a reduce-only order waits.",
        ("B5", "X3"),
    ),
}
"""What spec/Executor.tla alone can compare with the venue's truth; `ToldOnce` and its like are the same of the code."""

_OF_A_PROMISE: Final[Mapping[str, tuple[str, ...]]] = {
    "ExecutedOnce": ("X1", "X2"),
    "NothingDeadRuns": ("X1", "X2"),
    "CancelHolds": ("X2",),
    "ToldOnce": ("D2", "X7"),
    "DurableBeforeTold": ("X2",),
    "JournalBeforeWrite": ("X1", "X2"),
    "NumbersNeverRepeat": ("N1", "P4"),
    "CloidBelongsToOneIntent": ("X2",),
    "TimeGoesOn": ("D3",),
    "NoContradiction": ("X7",),
    "ContradictionIsNoticed": ("X7",),
}
"""The findings of the promises that adapters/simulation/judge.py states."""

_OF_THE_PROOF: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    posts_proof.STAYS: ("A step that a machine refuses changes no slot and no post.", ("I1", "P2")),
    posts_proof.ENDS: ("Whatever the world does to a post, its slot can be given back.", ("D3", "P3")),
    posts_proof.PLACED: ("A post is registered, open or in quarantine exactly as its state says.", ("P1", "P5")),
    posts_proof.FREED: ("Only an answer or the quarantine time lowers what the venue may count.", ("X3",)),
    "NonceStart": ("", ("N1",)),
    "NoncesUniqueIncreasingInsideWindow": ("", ("N1", "N2", "N5")),
    "SyncNeverSetsBack": ("", ("N3", "N4")),
}
"""What only the proof states; the nonce rules' statements stand with them."""

PROVEN_AS: Final[Mapping[str, str]] = {
    **{name: name for name in posts_proof.PROVEN},
    "NoncesUniqueAndIncreasing": "NoncesUniqueIncreasingInsideWindow",
    "NonceInsideWindow": "NoncesUniqueIncreasingInsideWindow",
}
"""Invariants that level `proof` proves, and the check that does."""

LIVE: Final = "`hip3 run`"
SIMULATED: Final = "`hip3 simulate`"

_RAISED: Final[Mapping[str, tuple[str, ...]]] = {
    "code": ("adapters/verification/world.py", "adapters/verification/small_venue.py"),
    "random": ("tests/stateful/venue.py", "tests/stateful/world.py"),
    SIMULATED: (
        *("adapters/simulation/judge.py", "adapters/simulation/process.py"),
        *("adapters/simulation/timeline.py", "adapters/simulation/venue.py"),
    ),
}
"""Where a level raises the promises of its venue by name."""


class Mutant(msgspec.Struct, frozen=True, kw_only=True):
    """A mistake of the record.

    Attributes:
        id: Its name, with who hunts it.
        findings: The findings that forbid it.
        rules: The rules of settlement.md that forbid it.
        description: What goes wrong.
        killed_by: What it broke first.
    """

    id: str
    findings: tuple[str, ...]
    rules: tuple[int, ...]
    description: str
    killed_by: str


class MutantSurvives(Exception):
    """A mistake was not noticed, so there is no record to write; the message names it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that must hold.

    Attributes:
        id: Its name everywhere.
        statement: What must hold.
        findings: The findings that it covers.
        levels: Where it is checked: levels of `hip3 verify`, and what else evaluates it.
        fails: Configurations of the model that have to violate it.
        kills: Mistakes that broke it first.
        remark: Why a level is missing; may be empty.
    """

    id: str
    statement: str
    findings: tuple[str, ...]
    levels: tuple[str, ...]
    fails: tuple[str, ...]
    kills: tuple[str, ...]
    remark: str = ""


# ---------------------------------------------------------------------------------------------------------- the facts


def recorded() -> tuple[Mutant, ...]:
    """The mistakes of the record, by name."""
    return msgspec.json.decode(RECORD.read_bytes(), type=tuple[Mutant, ...])


def invariants() -> tuple[Entry, ...]:
    """The invariants of spec/invariants.py."""
    return tuple(_entry(each.id, each.statement, each.findings, NOT_MODELLED.get(each.id, "")) for each in INVARIANTS)


def truths() -> tuple[Entry, ...]:
    """What only the venue's side can show: properties of the model, and the promises of code and simulator."""
    promises = dict(re.findall(r"^\* `(\w+)`: (.+?)\.$", judge.__doc__ or "", re.MULTILINE))
    stated = {name: (f"{text[0].upper()}{text[1:]}.", _OF_A_PROMISE.get(name, ())) for name, text in promises.items()}
    return tuple(_entry(name, *about) for name, about in (stated | dict(OF_THE_VENUE)).items())


def liveness() -> tuple[Entry, ...]:
    """The temporal properties of the model."""
    return tuple(_entry(name, *about) for name, about in LIVENESS.items())


def proof_rules() -> tuple[Entry, ...]:
    """What only the proof states."""
    return tuple(
        _entry(name, statement or (getdoc(nonce_proof.RULES[name]) or "").splitlines()[0], findings)
        for name, (statement, findings) in _OF_THE_PROOF.items()
    )


def entries() -> tuple[Entry, ...]:
    """All that is catalogued."""
    return (*invariants(), *truths(), *liveness(), *proof_rules())


def levels_of(name: str) -> Iterator[str]:
    """The levels at which `name` is checked, and what else evaluates it."""
    everywhere = any(invariant.id == name for invariant in INVARIANTS)
    if name in PROVEN_AS or name in _OF_THE_PROOF:
        yield "proof"
    passing = (each for each in CONFIGURATIONS if isinstance(each.expects, Passes))
    if name == DEADLOCK or any(name in _named(each) for each in passing):
        yield "model"
    # These evaluate `violations` of spec/invariants.py, so all invariants.
    for level in ("code", "random"):
        if everywhere or name in raised_by(level):
            yield level
    if name in invariants_of(Path(spec.__file__).parent / "TraceExecutor.cfg"):
        yield "trace"
    if everywhere or name in raised_by(SIMULATED):
        yield SIMULATED
    if everywhere:
        yield LIVE


@cache
def raised_by(level: str) -> frozenset[str]:
    """The promises that the code of a level raises by name."""
    sources = ((_SOURCE_TREE / path).read_text(encoding="utf-8") for path in _RAISED[level])
    return frozenset(name for text in sources for name in re.findall(r'(?:PromiseBroken|Violated)\(\s*f?"(\w+)', text))


def _named(configuration: Configuration) -> tuple[str, ...]:
    return (*invariants_of(configuration.path), *properties_of(configuration.path))


def _entry(name: str, statement: str, findings: tuple[str, ...], remark: str = "") -> Entry:
    fails = [each.name for each in CONFIGURATIONS if isinstance(each.expects, Fails) and each.expects.violates == name]
    kills = [mutant.id for mutant in recorded() if mutant.killed_by == name]
    return Entry(name, statement, findings, tuple(levels_of(name)), tuple(fails), tuple(kills), remark)


# ----------------------------------------------------------------------------------------------------------- the page


_HEAD: Final = f"""\
<!-- Written by `{COMMAND}`; not to be edited. -->

# Verification: why the executor can be believed

`hip3 verify` answers in levels, and the levels check each other. Each says what it showed and what it does not show.

```
hip3 verify                        # all levels, below 10 minutes on two cores
hip3 verify --quick                # tables, proof and code, below one minute
hip3 verify --level model          # one level; may be repeated
hip3 verify --report verification.html # a page of it; --json prints it
hip3 trace check FILE              # a run of your own: a journal, or an export of one
```

It ends with exit code 8 if one check failed. What can't run here, TLC without Java for one, is shown as not run, never
as passed. What passed is kept in a stamp for the exact sources of `machines/` and `spec/`; `hip3 run` asks for it.
[spec/README.md](../spec/README.md) says how to read the model and what it assumes of the venue;
[reliability.md](reliability.md) says what the simulator does.

## The levels

| level | shows | does not show |
|---|---|---|
"""

_CATALOGUE: Final = f"""
## The catalogue

The findings are those of [findings.md](findings.md). An invariant is checked at a level if that level fails when the
invariant does not hold; {LIVE} evaluates it before a step takes effect and trips the hard stop. *TLC must break it*
names the configurations of the model, each with one rule or precaution removed, in which TLC has to find it broken.
*Broken first by* names the mistakes, put back into the code that runs, that showed as a violation of it before they
showed as anything else; the suite compares every step with a reference model too, and that notices many a mistake
before any invariant does.

### Invariants

Predicates over a snapshot of the core, in `spec/invariants.py`.
"""

_TRUTHS: Final = """
### The venue's truth

What no executor can check against itself: both sides are known in the model, in the search, in the suite and in the
simulator. What the model calls `ExecutedAtMostOnce`, `OneOutcomeReported` and `CanceledOrderIsGone` is `ExecutedOnce`,
`ToldOnce` and `CancelHolds` in the others.
"""

_LIVENESS: Final = """
### Liveness

Under the fairness that [spec/README.md](../spec/README.md) states. Level `code` says the same of the real core in its
own way: from every state a settled one can be reached. The suite and the simulator let the world heal, and demand that
everything ends.
"""

_PROOF: Final = """
### Rules of the proof

About single steps, for any limit, any number of posts and connections, and any clock.
"""

_FINDINGS: Final = """
## Findings

What covers each finding: the entries above, the mistakes that it forbids, and the configurations of the model that must
fail. Where no entry is named, no single state shows the breach, only a run does: the check is what kills its mistakes.

| finding | checked by | its mistakes | TLC must fail |
|---|---|---|---|
"""

_RULES: Final = """
## Rules of settlement.md

| rule | its mistakes | TLC must fail |
|---:|---|---|
"""

_MISTAKES: Final = """
## Mistakes

Each is put back by a patch while the real code runs, and hunted by level `mutants`: by the random suite (`suite/`) or
the simulator (`simulator/`). What killed it is an entry above, what the suite's reference model predicts (`model: …`),
or the state machine of the suite that failed, and how.

| mistake | what goes wrong | forbidden by | killed by |
|---|---|---|---|
"""


def page() -> str:
    """The text of docs/verification.md."""
    levels = (f"| `{each.name}`{', quick' * each.quick} | {each.shows} | {each.does_not_show} |\n" for each in LEVELS)
    sections = ((_CATALOGUE, invariants()), (_TRUTHS, truths()), (_LIVENESS, liveness()), (_PROOF, proof_rules()))
    everything = [entry for _, section in sections for entry in section]
    text = [_HEAD, *levels]
    for head, section in sections:
        text += [head, *map(_section, section)]
    text += [_FINDINGS, *(_finding(each, everything) for each in findings()), _RULES, *map(_rule, range(1, 21))]
    text += [_MISTAKES, *map(_mistake, recorded())]
    return "".join(text)


def findings() -> list[str]:
    """The ids of findings.md, in its order."""
    listed = (_SOURCE_TREE / "docs" / "findings.md").read_text(encoding="utf-8")
    return re.findall(r"^\| ([A-Z]\d) \|", listed, re.MULTILINE)


def _section(entry: Entry) -> str:
    lines = [
        f"\n**`{entry.id}`** {entry.statement}\n",
        f"\n- findings: {', '.join(entry.findings)}",
        f"\n- checked at: {', '.join(entry.levels)}" + (f"; not modelled: {entry.remark}" if entry.remark else ""),
    ]
    if entry.fails:
        lines.append(f"\n- TLC must break it: {_codes(entry.fails)}")
    if entry.kills:
        lines.append(f"\n- broken first by: {_codes(entry.kills)}")
    return "".join(lines) + "\n"


def _finding(finding: str, everything: Sequence[Entry]) -> str:
    covering = [entry for entry in everything if finding in entry.findings]
    mutants = [mutant for mutant in recorded() if finding in mutant.findings]
    own = _codes(mutant.id for mutant in mutants if not mutant.rules)
    rules = sorted({rule for mutant in mutants for rule in mutant.rules})
    those = f"those of rule{'s' * (len(rules) > 1)} {', '.join(map(str, rules))}" if rules else ""
    mistakes = "; ".join(filter(None, (own, those)))
    fails = sorted({name for entry in covering for name in entry.fails})
    return f"| {finding} | {_codes(entry.id for entry in covering)} | {mistakes} | {_codes(fails)} |\n"


def _rule(rule: int) -> str:
    mutants = _codes(mutant.id for mutant in recorded() if rule in mutant.rules)
    fails = [each.name for each in CONFIGURATIONS if each.rule == rule and isinstance(each.expects, Fails)]
    return f"| {rule} | {mutants} | {_codes(fails) or 'none can: it only saves look-ups'} |\n"


def _mistake(mutant: Mutant) -> str:
    forbidden = ", ".join((*mutant.findings, *(f"rule {rule}" for rule in mutant.rules)))
    return f"| `{mutant.id}` | {' '.join(mutant.description.split())} | {forbidden} | {mutant.killed_by} |\n"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# ------------------------------------------------------------------------------------------------------ writing it


def recorded_from(lines: Sequence[bytes]) -> bytes:
    """The record, from what `python -m tests.mutants --json` printed.

    Raises:
        MutantSurvives: A mistake was not noticed.
    """
    hunted: list[dict[str, Any]] = sorted(map(msgspec.json.decode, lines), key=lambda mutant: mutant["id"])
    for mutant in hunted:
        if mutant["killed_by"] is None:
            raise MutantSurvives(f"{mutant['id']} is not noticed: {mutant['description']}; strengthen the suite")
        # In which of its runs the simulator met it is no matter for a record.
        mutant["killed_by"] = mutant["killed_by"].partition(", seed ")[0]
    mutants = msgspec.convert(hunted, tuple[Mutant, ...])
    return msgspec.json.format(msgspec.json.encode(mutants), indent=1) + b"\n"


def main() -> None:
    """Write the page; with `--hunt` the record first."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--hunt", action="store_true", help="hunt all mistakes first, and record what killed each")
    if parser.parse_args().hunt:
        command = [sys.executable, "-m", "tests.mutants", "--json"]
        hunted = subprocess.run(command, cwd=_SOURCE_TREE, stdout=subprocess.PIPE, check=False)  # noqa: S603 our own
        RECORD.write_bytes(recorded_from(hunted.stdout.splitlines()))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
