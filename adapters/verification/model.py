"""Level `model`: the executor in its world, `spec/Executor.tla`, checked by TLC (spec/README.md says how to read it).

A table of configurations. Some must pass, with every reachable state visited and their number pinned, so that a model
that shrinks in silence is seen. The others have one rule of settlement.md removed, or a known mistake put in, and must
fail: by the property that the rule is there for, and in the way that its reason says, which the actions on the way to
the violation show. So the checker is known to look, and each rule to be needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final, TypeAlias

import spec
from adapters.verification.level import Check, CheckFailed, check
from adapters.verification.tla_tables import tables_module
from adapters.verification.tlc import DEADLOCK, Tlc, TlcUnavailable, Verdict, find_tlc

SPEC: Final = Path(spec.__file__).parent
CONFIGS: Final = SPEC / "configs"
_MODULE: Final = SPEC / "Executor.tla"
_TABLES: Final = SPEC / "Tables.tla"

_QUICK_TIMEOUT_S: Final = 240
_LONG_TIMEOUT_S: Final = 3_600

NOT_MODELLED: Final = {
    "NoncesUniqueAndIncreasing": "a post's nonce is its id in the model; for any clock it is proven (level proof)",
    "NonceInsideWindow": "the model has no clock; it is proven (level proof)",
    "SignedNonceIsRegisteredNonce": "the model signs nothing",
    "OneActionTypePerPost": "a post of the model carries one item",
}
"""Invariants of spec/invariants.py that have no counterpart in the model, and why."""

ONLY_BY_MISTAKE: Final = frozenset({"Journal"})
"""Actions that occur only without rules 1 and 2, where the journal lags behind."""

REWRITE: Final = "python -m adapters.verification.tla_tables"
"""Writes `spec/Tables.tla` anew."""


@dataclass(frozen=True, slots=True)
class Passes:
    """Everything that the configuration names holds, in this many distinct states."""

    states: int


@dataclass(frozen=True, slots=True)
class Fails:
    """The configuration must violate a property.

    Attributes:
        violates: The property.
        by: Actions that occur on the way to the violation, in this order, others between them.
        reason: What goes wrong, in words.
    """

    violates: str
    by: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration of the model.

    Attributes:
        name: Of its file in spec/configs, without the suffix.
        expects: What TLC must find.
        shows: What is learnt from it; for one that fails, what was changed.
        quick: Whether it takes seconds; the others are for the night.
        rule: The rule of settlement.md that is removed; None if none is.
    """

    name: str
    expects: Passes | Fails
    shows: str
    quick: bool = True
    rule: int | None = None

    @property
    def path(self) -> Path:
        """Its file."""
        return CONFIGS / f"{self.name}.cfg"


CONFIGURATIONS: Final = (
    # Must pass: safety and deadlock freedom.
    Configuration("settlement", Passes(13_405), "a new and a reduce-only order, two timeouts, lost frames"),
    Configuration("order-kept", Passes(802), "two reduce-only orders that come back in any order"),
    Configuration(
        "replies", Passes(26_558), "an order under every fault of frames, replies and records, two at a time"
    ),
    Configuration("replies-gate", Passes(2_323), "refusals at the gate that are answered late"),
    Configuration("replies-lag", Passes(4_090), "a new order whose record lags behind"),
    Configuration("window", Passes(5_920), "nonces that sink below the venue's window"),
    Configuration("cancels", Passes(9_626), "a new order and its cancel, in any order, with a fault"),
    Configuration("queues", Passes(3_203), "three queues, the watermark and the hard stop"),
    Configuration("session", Passes(6_301), "broken connections, and hand-overs that fail or break off"),
    Configuration("crash", Passes(5_029), "a reduce-only order and its cancel through a crash, or a timeout"),
    Configuration("drain-lost", Passes(1_475), "a connection that breaks during the shut-down"),
    Configuration("rekey", Passes(4_574), "a key that changes at the restart, so that only expiry settles"),
    Configuration("one-slot", Passes(514), "two reduce-only orders and one slot"),
    Configuration("watermark-1", Passes(2_590), "all bands of the inflight count, with a watermark of 1"),
    Configuration("watermark-2", Passes(2_590), "the same with a watermark of 2"),
    Configuration("watermark-3", Passes(2_590), "the same with the watermark at the limit"),
    Configuration("drain", Passes(2_329), "a shut-down at any step, and the next run"),
    Configuration(
        "rule-04",
        Passes(14_940),
        "rule 4 removed: no counterexample exists; it only saves look-ups",
        rule=4,
    ),
    # Must pass: liveness under fairness.
    Configuration(
        "live-settlement", Passes(11_198), "everything ends, settles, drains and is sent, after two timeouts"
    ),
    Configuration("live-crash", Passes(11_729), "the same through crashes, disconnects and refusals at the gate"),
    Configuration("live-cancels", Passes(10_877), "the same for an order and its cancel, with one fault"),
    # Must pass, for the night.
    Configuration("settlement-2", Passes(33_040), "as settlement, with orders that are refused", quick=False),
    Configuration("order-kept-2", Passes(61_696), "as order-kept, with timeouts and settlement between", quick=False),
    Configuration("replies-2", Passes(61_030), "as replies, whatever the venue makes of the order", quick=False),
    Configuration("cancels-2", Passes(428_597), "as cancels, with two faults", quick=False),
    Configuration("cancels-replies-2", Passes(119_470), "as cancels, with faults of replies and records", quick=False),
    Configuration("session-2", Passes(310_064), "as session, with two faults", quick=False),
    Configuration("queues-1", Passes(297_719), "as queues, with a fault", quick=False),
    Configuration("crash-2", Passes(259_415), "as crash, with two faults", quick=False),
    Configuration("drain-2", Passes(215_280), "as drain, with a second fault", quick=False),
    # Must fail: each rule of settlement.md removed.
    Configuration(
        "rule-01",
        Fails(
            "OutcomeIsTrue",
            ("Send", "Receive", "Crash"),
            "the post that left is not in the journal, and its order is reported not executed",
        ),
        "the post is journalled after it is written",
        rule=1,
    ),
    Configuration(
        "rule-02",
        Fails(
            "OneOutcomeReported",
            ("Ack", "Crash", "OrderSeen"),
            "the reported outcome is lost in the crash, and the next run reports one again",
        ),
        "the outcome is reported before it is durable",
        rule=2,
    ),
    Configuration(
        "rule-03",
        Fails(
            "ExecutedAtMostOnce",
            ("TimeOut", "Fence", "Receive", "Ack", "Send", "Receive"),
            "the fence wins its own nonce, though the order ran, and the order is sent again",
        ),
        "the fence has a nonce of its own",
        rule=3,
    ),
    Configuration(
        "rule-03-key",
        Fails(
            "OutcomeIsTrue",
            ("CrashAndNewKey", "Fence", "Receive", "Ack"),
            "the fence wins the nonce of another key, though the order ran",
        ),
        "the fence is believed though the key changed",
        rule=3,
    ),
    Configuration(
        "rule-05",
        Fails(
            "OutcomeIsTrue",
            ("TimeOut", "Fence", "TimeOut", "Fence", "Receive", "Receive", "Fail"),
            "an earlier fence spent the nonce, and the order that never ran is reported rejected",
        ),
        "a duplicate nonce is taken for a proof that the order was processed",
        rule=5,
    ),
    Configuration(
        "rule-06",
        Fails(
            "ExecutedAtMostOnce",
            ("TimeOut", "Fence", "Receive", "Receive", "Receive", "Fail", "Send", "Receive"),
            "the order ran, its nonce sank below the window, and the order is sent again",
        ),
        "a nonce that is too low is taken for a proof that the order never ran",
        rule=6,
    ),
    Configuration(
        "rule-07",
        Fails(
            "OutcomeIsTrue",
            ("ReceiveTwice", "Receive", "Fail"),
            "the first copy ran, the second is answered first, and the order is reported rejected",
        ),
        "an order answered with a duplicate nonce is taken for rejected",
        rule=7,
    ),
    Configuration(
        "rule-08",
        Fails(
            "OutcomeIsTrue",
            ("GatewayError", "Fail"),
            "the order is reported rejected while it is still on its way",
        ),
        "an error of unknown meaning is taken for a rejection",
        rule=8,
    ),
    Configuration(
        "rule-09",
        Fails(
            "OutcomeIsTrue",
            ("TimeOut", "Miss", "Receive"),
            "the venue did not know the order yet; it is reported not executed, and runs",
        ),
        "the venue is asked before the nonce is spent",
        rule=9,
    ),
    Configuration(
        "rule-09-lag",
        Fails(
            "OutcomeIsTrue",
            ("TimeOut", "Fence", "Receive", "Receive", "Fail", "Miss"),
            "the order ran, its record lags behind, and it is reported not executed",
        ),
        "one look-up that finds nothing suffices",
        rule=9,
    ),
    Configuration(
        "rule-10",
        Fails(
            "OneOutcomeReported",
            ("TimeOut", "OrderSeen", "Answer"),
            "the order stream ended the intent, and the late reply ends it again",
        ),
        "a late reply decides after the settlement too",
        rule=10,
    ),
    Configuration(
        "rule-11",
        Fails(
            "OutcomeIsTrue",
            ("CrashAndNewKey", "Spend", "Miss", "Receive"),
            "the order is declared dead before it has expired at the venue, and runs",
        ),
        "expiry is believed without a margin",
        rule=11,
    ),
    Configuration(
        "rule-12",
        Fails(
            "OutcomeIsTrue",
            ("Send", "Send", "Crash", "Receive", "Receive"),
            "the cancel ends not executed while an attempt of the earlier run is under way, and it runs",
        ),
        "an intent ends for its last attempt, whatever becomes of an earlier one",
        rule=12,
    ),
    Configuration(
        "rule-12-order",
        Fails(
            "OutcomeIsTrue",
            ("Fence", "Miss", "Send", "TimeOut", "Receive"),
            "the winning fence of the first attempt ends the order while the second attempt is under way, and it runs",
        ),
        "a late verdict on an earlier attempt ends the intent",
        rule=12,
    ),
    Configuration(
        "rule-13",
        Fails(
            "OutcomeIsTrue",
            ("TimeOut", "Fence", "Receive", "Fail", "Send", "Receive", "Find"),
            "the look-up finds the record of the other order with this cloid",
        ),
        "two orders have one cloid",
        rule=13,
    ),
    Configuration(
        "rule-14",
        Fails(
            "OutcomeIsTrue",
            ("Send", "Receive", "Disconnect", "Open", "Send", "Ack"),
            "a reply from the dead connection ends the post that has its id now",
        ),
        "post ids begin anew with each connection",
        rule=14,
    ),
    Configuration(
        "rule-15",
        Fails(
            "VenueInflightWithinLimit",
            ("TimeOut", "Fence", "Receive", "Ack", "Send", "Send"),
            "the post is settled, the venue still counts it, and its slot is used again",
        ),
        "settlement ends the quarantine",
        rule=15,
    ),
    Configuration(
        "rule-15-restart",
        Fails(
            "VenueInflightWithinLimit",
            ("TimeOut", "Fence", "Crash", "Open", "Fence"),
            "the venue still counts the fence of the earlier run",
        ),
        "a restart does not quarantine unanswered fences",
        rule=15,
    ),
    Configuration(
        "rule-16",
        Fails(
            "VenueInflightWithinLimit",
            ("TimeOut", "Clear", "Fence"),
            "the quarantine is over, and the venue still counts the post",
        ),
        "the venue does not forget within the quarantine time",
        rule=16,
    ),
    Configuration(
        "rule-17",
        Fails(
            "QueueOrderKept",
            ("Send", "Enqueue", "GateRefusal", "Fail"),
            "the order that comes back stands behind the later one",
        ),
        "what comes back goes to the end of its queue",
        rule=17,
    ),
    Configuration(
        "rule-18",
        Fails(
            "QueuesBounded",
            ("Send", "Enqueue", "GateRefusal", "Fail"),
            "the order that comes back finds its queue full",
        ),
        "admission counts only what waits",
        rule=18,
    ),
    Configuration(
        "rule-18-watermark",
        Fails(
            "ReduceOnlyFindsASlot",
            ("Send", "TimeOut", "Fence"),
            "a new order in quarantine and its fence hold all slots while a reduce-only order waits",
        ),
        "the watermark counts no quarantined slots and does not hold fences back",
        rule=18,
    ),
    Configuration(
        "rule-19",
        Fails(
            "CanceledOrderIsGone",
            ("Send", "Send", "Receive", "Ack", "Receive"),
            "the cancel overtakes its order and is reported done, and the order appears on the book",
        ),
        "a cancel ends with the answer that its order is not on the book",
        rule=19,
    ),
    Configuration(
        "rule-20",
        Fails(
            "ExecutedAtMostOnce",
            ("Send", "TimeOut", "Send", "Receive", "Receive"),
            "both attempts run",
        ),
        "an order is sent again after a timeout",
        rule=20,
    ),
    # Must fail: mistakes.
    Configuration(
        "no-fence",
        Fails(
            "ExecutedAtMostOnce",
            ("TimeOut", "Miss", "Send", "Receive", "Receive"),
            "the venue did not know the order yet, it is sent again, and both attempts run",
        ),
        "no fence before sending again",
    ),
    Configuration(
        "no-quarantine",
        Fails(
            "VenueInflightWithinLimit",
            ("Send", "TimeOut", "Fence"),
            "the venue counts the post that timed out and the one that took its slot",
        ),
        "a timeout frees the slot, with no quarantine",
    ),
    Configuration(
        "late-reply-releases-twice",
        Fails(
            "CompletedReleasesOnce",
            ("Send", "TimeOut", "Answer"),
            "the timeout gave the slot back, and the late reply does so again",
        ),
        "a late reply gives a slot back once more",
    ),
    Configuration(
        "no-quarantine-time",
        Fails(
            DEADLOCK,
            ("Send", "TimeOut", "Vanish"),
            "the only slot stays quarantined, so that the fence that would settle the order never leaves",
        ),
        "quarantine does not end by time",
    ),
    Configuration(
        "gate-refuses-a-copy",
        Fails(
            "ExecutedAtMostOnce",
            ("ReceiveTwice", "GateRefusal", "Fail", "Send", "Receive"),
            "the refused copy is taken for the post, which ran, and the order is sent again",
        ),
        "the venue assumption behind rule 8: a frame is refused in all its copies, or in none",
    ),
    Configuration(
        "no-fairness",
        Fails("EverySentPostEnds", ("Send",), "everything may stop for ever"),
        "nothing has to go on happening",
    ),
)
"""All of them; a file in spec/configs for each."""


def table_of_configurations() -> str:
    """The configurations as spec/README.md lists them."""
    passing = ["| must pass | shows | distinct states |", "|---|---|---|"]
    failing = ["| must fail | what is changed | violates | because |", "|---|---|---|---|"]
    for configuration in CONFIGURATIONS:
        name, shows, expects = configuration.name, configuration.shows, configuration.expects
        if isinstance(expects, Passes):
            passing.append(f"| `{name}`{'' if configuration.quick else ', long'} | {shows} | {expects.states} |")
        else:
            failing.append(f"| `{name}` | {shows} | {expects.violates} | {expects.reason} |")
    return "\n".join([*passing, "", *failing, ""])


Progress: TypeAlias = Callable[[Check], None]


def quick_configurations() -> tuple[Configuration, ...]:
    """Those that take seconds."""
    return tuple(configuration for configuration in CONFIGURATIONS if configuration.quick)


def run_model(selection: Iterable[Configuration], progress: Progress = lambda _: None) -> list[Check]:
    """All checks of `model_checks`; `progress` hears of each as it ends."""
    results = []
    for result in model_checks(selection):
        progress(result)
        results.append(result)
    return results


def model_checks(selection: Iterable[Configuration]) -> Iterator[Check]:
    """Check the model under each configuration of `selection`; the results come in that order, as they end.

    The first one says whether the model moves by the tables of machines/ as they are now. If all quick configurations
    are there, the last one says whether each action was taken. Without Java, every configuration is `not_run`, and says
    why.
    """
    selection = tuple(selection)
    yield check("tables", _judge_tables)
    start = perf_counter()
    try:
        tlc = find_tlc()
    except TlcUnavailable as missing:
        for configuration in selection:
            yield Check(configuration.name, "not_run", perf_counter() - start, str(missing))
        return
    taken: list[Mapping[str, int]] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield from pool.map(partial(_run, tlc, taken), selection)
    if set(quick_configurations()) <= set(selection):
        yield check("actions", partial(_judge_actions, taken))


def _run(tlc: Tlc, taken: list[Mapping[str, int]], configuration: Configuration) -> Check:
    def body() -> str:
        timeout_s = _QUICK_TIMEOUT_S if configuration.quick else _LONG_TIMEOUT_S
        verdict = tlc.run(_MODULE, configuration.path, brief=configuration.quick, timeout_s=timeout_s)
        taken.append(verdict.taken)
        return judge(configuration.expects, verdict)

    return check(configuration.name, body)


def _judge_actions(taken: list[Mapping[str, int]]) -> str:
    """What never happens is not checked: each action has to be taken where all properties hold."""
    actions = set().union(*taken) - {"Init"}
    idle = sorted(action for action in actions - ONLY_BY_MISTAKE if not any(run.get(action) for run in taken))
    if idle:
        raise CheckFailed(f"never taken in a configuration that passes: {', '.join(idle)}")
    return f"each of {len(actions)} actions is taken, {', '.join(ONLY_BY_MISTAKE)} by a mistake only"


def _judge_tables() -> str:
    if _TABLES.read_text(encoding="utf-8") != tables_module():
        raise CheckFailed(
            f"spec/{_TABLES.name} is not what the tables of machines/ say; run `{REWRITE}`, read the diff"
        )
    return "the model moves by the tables of machines/"


def judge(expects: Passes | Fails, verdict: Verdict) -> str:
    """Compare what TLC found with what it had to find; returns it in words.

    Raises:
        CheckFailed: It found something else; the message has the trace, if there is one.
    """
    if isinstance(expects, Passes):
        if verdict.violated is not None:
            raise CheckFailed(f"{verdict.violated} does not hold:\n{verdict.trace}")
        if verdict.states != expects.states:
            raise CheckFailed(f"all holds, but in {verdict.states} distinct states instead of {expects.states}")
        return f"all holds in all {verdict.states} states"
    if verdict.violated is None:
        raise CheckFailed(f"all holds in all {verdict.states} states, but {expects.violates} should not")
    if verdict.violated != expects.violates:
        raise CheckFailed(f"{verdict.violated} does not hold, expected was {expects.violates}:\n{verdict.trace}")
    if not _in_order(expects.by, verdict.actions):
        raise CheckFailed(
            f"{expects.violates} is violated for another reason than {expects.reason!r}:\n{verdict.trace}"
        )
    return f"violates {expects.violates}, as it must: {expects.reason}"


def _in_order(wanted: tuple[str, ...], actions: tuple[str, ...]) -> bool:
    """Whether all of `wanted` occur in `actions`, in their order."""
    rest = iter(actions)
    return all(action in rest for action in wanted)


if __name__ == "__main__":
    sys.stdout.write(table_of_configurations())
