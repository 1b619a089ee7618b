"""The simulated network keeps what TCP keeps, and breaks what a disconnect breaks."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.messages import ErrorText, Frame, Message
from adapters.simulation.network import OUTLIVES_MS, Connection, Network
from adapters.simulation.timeline import Timeline
from machines.intent import ActionKind


def frame(post_id: int) -> Frame:
    return Frame(post_id, "key", post_id, ActionKind.NOOP, (), None, 1, 1, ())


class Ends:
    """Both ends of the network, and what arrived where."""

    def __init__(self, seed: int = 1, *, faulty: bool = False) -> None:
        self.timeline = Timeline()
        self.troubles = Troubles(Random(seed))
        self.troubles.healed = not faulty
        self.network = Network(self.timeline, self.troubles)
        self.network.serve(self)
        self.up = True
        self.connection: Connection | None = None
        self.frames: list[tuple[int, bool]] = []
        self.messages: list[Message] = []
        self.lost: list[Connection | None] = []
        self.gone: list[Connection] = []

    def reachable(self) -> bool:
        return self.up

    def receive(self, frame: Frame, connection: Connection | None, written_ms: int) -> None:
        self.frames.append((frame.post_id, connection is not None))

    def disconnected(self, connection: Connection) -> None:
        self.gone.append(connection)

    def on_open(self, connection: Connection) -> None:
        self.connection = connection

    def on_message(self, connection: Connection, message: Message) -> None:
        self.messages.append(message)

    def on_lost(self, connection: Connection | None) -> None:
        self.lost.append(connection)

    def open(self) -> Connection:
        self.network.connect(self)
        self.pass_ms(1_000)
        assert self.connection is not None
        return self.connection

    def pass_ms(self, ms: int) -> None:
        self.timeline.run_until(self.timeline.now + ms)


@pytest.mark.parametrize("seed", range(5))
def test_one_connection_loses_and_reorders_nothing(seed: int) -> None:
    ends = Ends(seed, faulty=True)
    ends.troubles.chances = dict.fromkeys(Fault, 0.0) | {Fault.SLOW_FRAME: 0.5, Fault.SLOW_REPLY: 0.5}
    connection = ends.open()
    for post_id in range(50):
        connection.write(frame(post_id))
        connection.send(ErrorText(str(post_id), None))
        ends.pass_ms(20)
    ends.pass_ms(20_000)
    assert ends.frames == [(post_id, True) for post_id in range(50)]
    assert ends.messages == [ErrorText(str(post_id), None) for post_id in range(50)]


def test_a_break_cuts_what_is_in_flight_somewhere() -> None:
    survived: Counter[int] = Counter()
    for seed in range(60):
        ends = Ends(seed)
        connection = ends.open()
        for post_id in range(3):
            connection.write(frame(post_id))
        connection.break_off(0)
        ends.pass_ms(OUTLIVES_MS + 1_000)
        assert ends.frames == [(post_id, False) for post_id in range(len(ends.frames))]
        assert ends.lost == ends.gone == [connection]
        survived[len(ends.frames)] += 1
    assert survived.keys() == {0, 1, 2, 3}


def test_until_the_break_is_noticed_frames_vanish_and_nothing_arrives() -> None:
    ends = Ends()
    connection = ends.open()
    connection.break_off(10_000)
    connection.write(frame(1))
    connection.send(ErrorText("x", None))
    ends.pass_ms(9_000)
    assert connection.open
    assert ends.lost == []
    ends.pass_ms(1_000)
    assert ends.lost == [connection]
    assert ends.frames == []
    assert ends.messages == []
    assert ends.troubles.counts[Sight.FRAME_IN_SILENCE] == 1


def test_a_break_can_wait_for_the_next_frame() -> None:
    ends = Ends()
    connection = ends.open()
    connection.break_off_at_next_frame(0)
    ends.pass_ms(1_000)
    assert connection.flows
    connection.write(frame(1))
    ends.pass_ms(1_000)
    assert ends.lost == [connection]


def test_what_arrived_before_the_break_can_still_be_read() -> None:
    read = set()
    for seed in range(40):
        ends = Ends(seed)
        connection = ends.open()
        for number in range(3):
            connection.send(ErrorText(str(number), None))
        connection.break_off(0)
        ends.pass_ms(5_000)
        assert ends.messages == [ErrorText(str(number), None) for number in range(len(ends.messages))]
        read.add(len(ends.messages))
    assert read == {0, 1, 2, 3}


def test_a_closed_connection_tells_its_client_nothing() -> None:
    ends = Ends()
    connection = ends.open()
    connection.send(ErrorText("x", None))
    connection.close()
    ends.pass_ms(5_000)
    assert ends.messages == []
    assert ends.lost == []
    assert ends.gone == [connection]


def test_a_venue_that_is_down_takes_no_connection_and_no_question() -> None:
    ends = Ends()
    ends.up = False
    answers: list[str] = []
    ends.network.connect(ends)
    ends.network.ask(lambda: "yes", answers.append, lambda: answers.append("failed"))
    ends.pass_ms(1_000)
    assert ends.lost == [None]
    assert answers == ["failed"]


def test_a_question_is_answered_as_of_its_arrival() -> None:
    ends = Ends()
    asked = ends.timeline.now
    answers: list[int] = []
    ends.network.ask(lambda: ends.timeline.now, answers.append, lambda: answers.append(-1))
    ends.pass_ms(1_000)
    assert asked < answers[0] < asked + 100
