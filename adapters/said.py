"""What each recorded event and effect says, and who says it to whom: one sentence each, from its recorded fields alone.

What is missing here is no message between the parties: clock ticks, bookkeeping, and what only moves a machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

Facts: TypeAlias = dict[str, Any]


class Party(Enum):
    """Who speaks and who is spoken to, from the order's origin to its end."""

    STRATEGY = "strategy"
    EXECUTOR = "executor"
    WIRE = "wire"
    VENUE = "venue"


class Said(NamedTuple):
    """One sentence."""

    source: Party
    target: Party
    text: str


_S, _E, _W, _V = Party
_LISTED: Final = 3
"""As many results of a reply are told one by one; more are counted."""


def numbers(values: Iterable[int]) -> str:
    """Numbers for a reader, in order: `1–3, 7`."""
    runs: list[list[int]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


def named(noun: str, values: Iterable[int]) -> str:
    """Numbered things by their noun: `intent 7`, `intents 1–3`."""
    known = set(values)
    return f"{noun}{'' if len(known) == 1 else 's'} {numbers(known)}"


def short(cloid: str) -> str:
    """A client order id by its beginning and its end."""
    return f"{cloid[:6]}…{cloid[-4:]}"


def _order(request: Facts) -> str:
    flags = [request["tif"]] if request["trigger"] is None else [f"{request['trigger']['kind']} trigger"]
    flags += [words for name, words in (("reduce_only", "reduce-only"), ("flatten", "flatten")) if request[name]]
    text = f"{request['side']} {request['size']} {request['market']} at {request['price']}, {', '.join(flags)}"
    return text if request["cloid"] is None else f"{text}, {short(request['cloid'])}"


def _named_order(request: Facts) -> str:
    return f"oid {request['oid']}" if request["cloid"] is None else short(request["cloid"])


def _request(request: Facts) -> str:
    match request["type"]:
        case "Order":
            return _order(request)
        case "Modify":
            return f"replace {_named_order(request)} by: {_order(request['order'])}"
    return f"cancel {_named_order(request)} in {request['market']}"


def _result(result: Facts) -> str:
    """An outcome, or what the venue says of an item."""
    match result["type"]:
        case "Resting":
            return "waits for its trigger" if result["oid"] is None else f"resting, oid {result['oid']}"
        case "Filled":
            price = "" if result["average_price"] is None else f" at {result['average_price']}"
            return f"filled {result['size']}{price}, oid {result['oid']}"
        case "Canceled":
            return "canceled"
        case "Rejected":
            return f"rejected: {result['reason']}"
        case "NotExecuted":
            return f"not executed: {result['reason']}"
    return f"unknown: {result['reason']}"


def _reply(reply: Facts) -> str:
    match reply["type"]:
        case "Accepted":
            results = reply["results"]
            if len(results) <= _LISTED:
                return "; ".join(["accepted", *map(_result, results)])
            kinds = Counter(result["type"].lower() for result in results)
            return "; ".join(["accepted", *(f"{count} × {kind}" for kind, count in sorted(kinds.items()))])
        case "Refused":
            return f"refused: {reply['reason']}"
        case "GatewayError":
            return f"error: {reply['reason']}"
    return f"unreadable: {reply['detail']}"


def _record(record: Facts | None) -> str:
    if record is None:
        return "no such order"
    return f"{record['status']}, traded {record['traded']}, oid {record['oid']}"


def _admitted(effect: Facts) -> str:
    intent = effect["intent"]
    admission = effect["admission"].replace("_", " ")
    return f"refused: {admission}" if intent is None else f"intent {intent['intent']}: {admission}"


def _transmit(effect: Facts) -> str:
    post, items = effect["post"]["post"], [item["intent"] for item in effect["items"]]
    if effect["fence_of"] is not None:
        return f"post {post}: noop with the nonce of post {effect['fence_of']}, its fence"
    return f"post {post}: {effect['kind']}" + (f" of {named('intent', items)}" if items else "")


def _ended(effect: Facts) -> str:
    outcome, proof = effect["outcome"], effect["settled_by"]
    told = f"intent {effect['intent']['intent']}: {_result(outcome)}"
    return told if proof in (None, outcome.get("reason")) else f"{told}; shown by: {proof}"


def _recovered(facts: Facts) -> str:
    parts = {
        "unanswered or unsettled posts": [post["row"]["post_id"] for post in facts["posts"]],
        "never sent: intents": [row["seq"] for row in facts["never_sent"]],
        "cancels that may have run: intents": [row["seq"] for row in facts["lost_cancels"]],
    }
    return "left by an earlier run: " + "; ".join(f"{kind} {numbers(found)}" for kind, found in parts.items() if found)


Teller: TypeAlias = tuple[Party, Party, Callable[[Facts], str]]

_EVENTS: Final[Mapping[str, Teller]] = {
    "Submit": (_S, _E, lambda facts: _request(facts["request"])),
    "StopTripped": (_E, _E, lambda facts: f"told to stop new orders: {facts['reason']}"),
    "StopReset": (_E, _E, lambda facts: f"told to let new orders pass again: {facts['reason']}"),
    "DrainStarted": (_E, _E, lambda _: "shutting down"),
    "Closed": (_E, _E, lambda _: "closed for good"),
    "PostWritten": (_W, _V, lambda facts: f"frame of post {facts['post_id']}, on connection {facts['epoch']}"),
    "SendRefused": (_W, _E, lambda facts: f"post {facts['post_id']} was not sent: {facts['reason']}"),
    "SendBroken": (_W, _E, lambda facts: f"post {facts['post_id']} may be out, its hand-over broke: {facts['reason']}"),
    "ConnectionOpened": (_W, _E, lambda _: "a new connection is open"),
    "ConnectionLost": (_W, _E, lambda facts: f"the connection is lost: {facts['reason']}"),
    "ReplyReceived": (_V, _E, lambda facts: f"post {facts['post_id']}: {_reply(facts['reply'])}"),
    "ErrorReceived": (_V, _E, lambda facts: f"post {facts['post_id']}: error: {facts['message']}"),
    "OrderSeen": (_V, _E, lambda facts: f"order {short(facts['cloid'])}: {_record(facts['record'])}"),
    "OrderGone": (_V, _E, lambda facts: f"order {short(facts['cloid'])} is no longer among the open ones"),
    "FillSeen": (_V, _E, lambda facts: f"a trade of order {short(facts['cloid'])}: {facts['size']}"),
    "LookedUp": (_V, _E, lambda facts: f"intent {facts['seq']}: {_record(facts['record'])}"),
    "LookUpFailed": (_E, _E, lambda facts: f"the look-up of intent {facts['seq']} was not answered"),
    "Recovered": (_E, _E, _recovered),
}
_EFFECTS: Final[Mapping[str, Teller]] = {
    "Admitted": (_E, _S, _admitted),
    "Transmit": (_E, _W, _transmit),
    "IntentEnded": (_E, _S, _ended),
    "IntentUnknown": (_E, _S, lambda effect: f"intent {effect['intent']['intent']}: unknown: {effect['reason']}"),
    "IntentUnsettled": (_E, _S, lambda effect: f"intent {effect['intent']['intent']}: unsettled: {effect['reason']}"),
    "LookUp": (_E, _V, lambda effect: f"what became of intent {effect['seq']}?"),
    "SettlementOverdue": (
        _E,
        _S,
        lambda effect: f"{named('intent', [item['intent'] for item in effect['intents']])}: unknown for too long",
    ),
    "Contradiction": (
        _E,
        _S,
        lambda effect: (
            f"intent {effect['intent']['intent']}: contradiction: {_result(effect['first'])}, "
            f"but {effect['source']} says {_result(effect['later'])}"
        ),
    ),
    "StrayReply": (_E, _E, lambda effect: f"the reply for post {effect['post_id']} came for no open post"),
    "Halted": (_E, _S, lambda effect: f"hard stop: {effect['reason']}"),
    "KeyRefused": (_E, _S, lambda effect: f"the venue refuses the key: {effect['reason']}"),
    "SwitchRefused": (_E, _S, lambda effect: f"the venue did not set the dead-man's switch: {effect['reason']}"),
}
_WORD: Final = re.compile("(?<!^)(?=[A-Z])")


def said_by_event(event: str, facts: Facts) -> Said | None:
    """The sentence of an event; None if it is none."""
    return _said(_EVENTS.get(event), facts)


def said_by_effect(effect: Facts) -> Said | None:
    """The sentence of an effect; None if it is none."""
    return _said(_EFFECTS.get(effect["type"]), effect)


def thought(event: str) -> Said:
    """An event that is no sentence, but moved a machine, by its name: `time passed`."""
    return Said(_E, _E, _WORD.sub(" ", event).lower())


def _said(teller: Teller | None, facts: Facts) -> Said | None:
    if teller is None:
        return None
    source, target, words = teller
    return Said(source, target, words(facts))
