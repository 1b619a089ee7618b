"""The story of one post or one order, from a recorded run: who said what to whom, and what that moved.

Everything told is in the record: the facts of an event, the effects that the core asked for, the moves of its machines.
The four parties are the strategy (whoever owns the executor), the executor, the wire (its socket) and the venue. That a
frame goes from the wire to the venue says that it left, not that it came; what came is told by the venue's words.

Two passes over the file: the first finds what belongs to the story, the second tells it. So memory grows with the
story, not with the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, TypeAlias

from adapters.journal import Move, Step
from adapters.journal.reading import Subject
from adapters.recorder import BEGAN
from adapters.said import Party, Said, named, said_by_effect, said_by_event, thought
from adapters.trace import trace_of, understood
from machines.catalogue import MACHINES
from machines.intent import Admission, Priority

Runs: TypeAlias = Iterator[tuple[int, Iterator[Step]]]

_FINAL: Final = {machine.name: {state.value for state in machine.final} for machine in MACHINES}
_FRAME: Final = frozenset({"ConnectionLost", "ConnectionOpened", "StopTripped", "StopReset", "DrainStarted", "Closed"})
"""Events that concern whatever is open, even if they do not move it."""
_OF_ALL: Final = frozenset({"Halted", "KeyRefused", "SwitchRefused"})
"""Effects that name no post and no intent."""
_EVERYBODYS: Final = frozenset({"session", "hard_stop"})
"""Machines that no post and no intent owns."""
_ACCEPTED: Final = frozenset(admission.value for admission in Admission if admission.accepted)


class NotInTrace(Exception):
    """The record does not speak of this post or order; the message says what was looked for, and where."""


@dataclass(frozen=True, slots=True)
class Line:
    """One interaction.

    Attributes:
        step: Its number in the run, as in `hip3 journal show`.
        at_ms: When, in ms since the chapter began.
        source: Who speaks.
        target: Who is spoken to; the speaker itself, for what happens inside.
        text: What is said.
        moves: What it moved, in order.
    """

    step: int
    at_ms: int
    source: Party
    target: Party
    text: str
    moves: tuple[Move, ...] = ()

    @property
    def parties(self) -> str:
        """Who speaks to whom: `executor → wire`."""
        return self.source.value if self.source is self.target else f"{self.source.value} → {self.target.value}"

    @property
    def moved(self) -> tuple[str, ...]:
        """The moves for a reader: `post 3: sent → acked`, `inflight release: normal → idle`."""
        return tuple(
            _printable(f"{move.machine.replace('_', ' ')} {move.key or move.event}: {move.source} → {move.target}")
            for move in self.moves
        )


@dataclass(frozen=True, slots=True)
class Chapter:
    """What one run has of a story.

    Attributes:
        run: The run.
        unix_ms: Unix time of the first line, ms.
        lines: The interactions, in order.
    """

    run: int
    unix_ms: int
    lines: tuple[Line, ...]

    @property
    def heading(self) -> str:
        """The run and the time at which the chapter begins."""
        moment = datetime.fromtimestamp(self.unix_ms / 1_000, UTC)
        return f"run {self.run}, from {moment:%Y-%m-%d %H:%M:%S}.{self.unix_ms % 1_000:03} UTC"


@dataclass(frozen=True, slots=True)
class Story:
    """A story.

    Attributes:
        title: What it is about.
        chapters: One a run, in order.
    """

    title: str
    chapters: tuple[Chapter, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """All interactions, in order."""
        return tuple(line for chapter in self.chapters for line in chapter.lines)


def story_of(path: Path, wanted: int | str, run: int | None = None) -> Story:
    """The story of a post (by its id) or of an order (by its cloid) in a journal or an export of one.

    A post's story has its fences and the intents that it carried; of a fence, the story of the post that it fences is
    told. An order's story has its cancels and modifies, the posts that carried any of them, and their fences.

    Args:
        path: The file.
        wanted: Id of the post, or cloid of the order.
        run: Only this run; None for all.

    Raises:
        NotInTrace: The record has nothing of it.
        UnreadableTrace: The file is no record, or a step is not what an executor writes.
        JournalError: It is a journal that can't be read.
    """

    @contextmanager
    def runs() -> Iterator[Runs]:
        with trace_of(path) as found:
            yield ((number, steps) for number, steps in found if run in (None, number))

    subject, title = _subject(runs, wanted)
    with runs() as found:
        story = tell(found, subject, title)
    if not story.chapters:
        place = f"{path}{'' if run is None else f', run {run},'}"
        raise NotInTrace(f"{place} has no {'order' if isinstance(wanted, str) else 'post'} {wanted}")
    return story


def tell(runs: Iterable[tuple[int, Iterable[Step]]], subject: Subject | None, title: str) -> Story:
    """The story of `subject` in recorded runs; of everything, if it is None.

    Raises:
        UnreadableTrace: A step is not what an executor writes.
    """
    chapters = (_chapter(run, steps, subject) for run, steps in runs)
    return Story(title, tuple(chapter for chapter in chapters if chapter is not None))


# ------------------------------------------------------------------------------------------- what belongs to the story


def _subject(runs: Callable[[], AbstractContextManager[Runs]], wanted: int | str) -> tuple[Subject, str]:
    """What is looked for, with a title that says so."""
    finder = _read(runs, wanted)
    if isinstance(wanted, int) and wanted in finder.fences:
        finder = _read(runs, finder.fences[wanted])
    what = f"Post {wanted}" if isinstance(wanted, int) else f"Order {wanted}"
    if isinstance(wanted, int) and finder.wanted != wanted:
        what += f", a fence of post {finder.wanted}"
    carriers = finder.posts - finder.fences.keys() - {wanted, finder.wanted}
    parts = [("intent", finder.intents), ("post", carriers), ("fence", finder.fences.keys() - {wanted})]
    cloid = wanted if isinstance(wanted, str) else None
    subject = Subject(cloid, frozenset(finder.intents), frozenset(finder.posts))
    return subject, "; ".join([what, *(named(noun, found) for noun, found in parts if found)])


def _read(runs: Callable[[], AbstractContextManager[Runs]], wanted: int | str) -> _Finder:
    finder = _Finder(wanted)
    with runs() as found:
        for run, steps in found:
            finder.prefix = None
            for step in steps:
                with understood(run, step):
                    finder.take(step)
    return finder


class _Finder:
    """Goes through the steps, and gathers what belongs to a post or an order.

    Attributes:
        wanted: Id of the post, or cloid of the order.
        intents: Numbers of the intents found.
        posts: Ids of the posts found.
        fences: Of those, the fences, each with the post that it fences.
        prefix: The first half of the cloids that the present run allots; None if its beginning is not in the record.
    """

    def __init__(self, wanted: int | str) -> None:
        self.wanted = wanted
        self.intents: set[int] = set()
        self.posts: set[int] = {wanted} if isinstance(wanted, int) else set()
        self.fences: dict[int, int] = {}
        self.prefix: str | None = None
        self._orders: set[int] = set()  # intents that place the order, or were to
        self._oids: set[int] = set()

    def take(self, step: Step) -> None:
        """Go on by a step."""
        if step.event == BEGAN:
            self.prefix = step.facts["run_id"]
        elif step.event == "Recovered":
            self._recovered(step.facts)
        for effect in step.effects:
            match effect["type"]:
                case "Admitted" if step.event == "Submit" and effect["admission"] in _ACCEPTED:
                    self._accepted(step.facts["request"], effect["intent"]["intent"])
                case "Transmit":
                    items = {item["intent"] for item in effect["items"]}
                    self._posted(effect["post"]["post"], items, effect["fence_of"])
                case "IntentEnded" if effect["intent"]["intent"] in self._orders:
                    self._oids |= {effect["outcome"].get("oid")} - {None}

    def _accepted(self, request: dict[str, Any], seq: int) -> None:
        if not isinstance(self.wanted, str):
            return
        if request["type"] != "Cancel":
            cloid = (request["order"] if request["type"] == "Modify" else request)["cloid"]
            if cloid == self.wanted or (cloid is None and self._allots(seq)):
                self._orders.add(seq)
                self.intents.add(seq)
        if request["cloid"] == self.wanted or request.get("oid") in self._oids:  # a cancel or a modify of it
            self.intents.add(seq)

    def _allots(self, seq: int) -> bool:
        """Whether the cloid is the one that intent `seq` was given (machines/register.py)."""
        if self.prefix is None:  # the beginning of the run was retired: its own half of the cloid has to do
            return str(self.wanted).endswith(f"{seq:016x}")
        return self.wanted == f"0x{self.prefix}{seq:016x}"

    def _posted(self, post: int, items: set[int], fence_of: int | None) -> None:
        if fence_of is not None and (fence_of in self.posts or post == self.wanted):
            self.fences[post] = fence_of
            self.posts.add(post)
        elif post == self.wanted:
            self.intents |= items
        elif isinstance(self.wanted, str) and not items.isdisjoint(self.intents):
            self.posts.add(post)

    def _recovered(self, facts: dict[str, Any]) -> None:
        rows = [
            *facts["never_sent"],
            *facts["lost_cancels"],
            *(item for post in facts["posts"] for item in post["items"]),
        ]
        of_it = {row["seq"]: row["priority"] for row in rows if row["cloid"] == self.wanted}
        self.intents |= of_it.keys()
        self._orders |= {seq for seq, priority in of_it.items() if priority != Priority.CANCEL.value}
        for post in facts["posts"]:
            row = post["row"]
            self._posted(row["post_id"], set(row["items"]), row["fence_of"])


# -------------------------------------------------------------------------------------------------------------- telling


def _chapter(run: int, steps: Iterable[Step], subject: Subject | None) -> Chapter | None:
    told: list[tuple[Step, list[tuple[Said, tuple[Move, ...]]]]] = []
    still_open: set[tuple[str, int]] = set()
    for step in steps:
        with understood(run, step):
            concerned = subject is None or subject.concerns(step)
            near = concerned or bool(still_open)
            moves = _moves(step, subject) if near else ()
            sentences = list(_sentences(step, subject, moves, concerned=concerned, near=near))
            for move in moves:
                _note(move, still_open)
            if sentences:
                told.append((step, [(sentences[0], moves), *((said, ()) for said in sentences[1:])]))
    if not told:
        return None
    first = told[0][0]
    return Chapter(
        run,
        first.unix_ms,
        tuple(
            Line(
                step.seq, step.monotonic_ms - first.monotonic_ms, said.source, said.target, _printable(said.text), moves
            )
            for step, sentences in told
            for said, moves in sentences
        ),
    )


def _sentences(
    step: Step, subject: Subject | None, moves: tuple[Move, ...], *, concerned: bool, near: bool
) -> Iterator[Said]:
    """What the step says of the subject, and of what concerns all while something of the subject is open (`near`)."""

    def spoken_to_all(effect: dict[str, Any]) -> bool:
        kind = effect["type"]
        return near if kind in _OF_ALL else concerned and kind == "Admitted"  # a refusal names no intent

    told = [effect for effect in step.effects if subject is None or subject.names(effect) or spoken_to_all(effect)]
    event = said_by_event(step.event, step.facts) if concerned or (near and step.event in _FRAME) else None
    if event is None and moves and step.event != "Tick":  # what a tick moves, the post that it sends tells
        event = thought(step.event)
    return (said for said in (event, *map(said_by_effect, told)) if said is not None)


def _printable(text: str) -> str:
    """A text of a venue's or a strategy's on one line, and without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def _moves(step: Step, subject: Subject | None) -> tuple[Move, ...]:
    """The moves of the subject, with those of the slot that they took or gave back, and of machines that all share."""
    if subject is None:
        return step.moves

    def shown(move: Move, following: Move | None) -> bool:
        if move.machine != "inflight":
            return move.machine in _EVERYBODYS or subject.moved(move)
        if following is not None and following.machine == "post":  # a post moves its slot before itself
            return subject.moved(following)
        return subject.names(step.facts)

    return tuple(move for move, following in zip_longest(step.moves, step.moves[1:]) if shown(move, following))


def _note(move: Move, still_open: set[tuple[str, int]]) -> None:
    thing = (move.machine, move.key)
    if move.target in _FINAL[move.machine]:
        still_open.discard(thing)
    elif move.key:
        still_open.add(thing)


# ------------------------------------------------------------------------------------------------------------ rendering

COLUMNS: Final = ("ms", "from → to", "what", "moves")


def rows(chapter: Chapter) -> Iterator[tuple[str, str, str, str]]:
    """A chapter as cells, a row an interaction, in the order of `COLUMNS`."""
    for line in chapter.lines:
        yield f"+{line.at_ms}", line.parties, line.text, "; ".join(line.moved)


def mermaid(story: Story) -> str:
    """A story as a Mermaid sequence diagram, as code hosts draw it."""
    lines = ["sequenceDiagram", f"    accTitle: {_escaped(story.title)}"]
    lines += [f"    participant {_ALIAS[party]} as {party.value}" for party in Party]
    for chapter in story.chapters:
        lines.append(f"    Note over {_ALIAS[Party.STRATEGY]},{_ALIAS[Party.VENUE]}: {_escaped(chapter.heading)}")
        for line in chapter.lines:
            source, target = _ALIAS[line.source], _ALIAS[line.target]
            arrow = "-)" if line.source is Party.WIRE and line.target is Party.VENUE else "->>"
            lines.append(f"    {source}{arrow}{target}: +{line.at_ms} ms {_escaped(line.text)}")
            if line.moves:
                lines.append(f"    Note over {_ALIAS[Party.EXECUTOR]}: {'<br/>'.join(map(_escaped, line.moved))}")
    return "\n".join([*lines, ""])


_ALIAS: Final = {Party.STRATEGY: "S", Party.EXECUTOR: "E", Party.WIRE: "W", Party.VENUE: "V"}
_PLAIN: Final = frozenset(" .,:+-–→…×()/_'?=@")
"""What means nothing to Mermaid inside a text, beside letters and digits."""


def _escaped(text: str) -> str:
    """A text that Mermaid shows as it is, whatever a venue or a strategy wrote into it."""
    return "".join(sign if sign.isalnum() or sign in _PLAIN else f"#{ord(sign)};" for sign in text)
