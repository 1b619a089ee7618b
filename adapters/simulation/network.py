"""The simulated network: connections that keep their order, until they break.

Within one connection nothing is lost or overtaken. When it breaks, the bytes in flight are cut somewhere: frames that
were whole by then may be executed, even long after, while a later connection is in use; the one that was cut, and all
after it, are gone. What was under way to the executor is cut the same way. The executor may notice late, and what it
writes in the meantime is gone too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from adapters.simulation.faults import Fault, Sight, Troubles
from adapters.simulation.messages import Frame, Message, Reply
from adapters.simulation.timeline import Timeline

T = TypeVar("T")

OUTLIVES_MS: Final = 30_000
"""How long after a disconnect a frame may still be executed."""
PROMPT_MS: Final = 100
"""How long after a disconnect half of them are."""


class Server(Protocol):
    """The venue, as the network sees it."""

    def reachable(self) -> bool:
        """Whether it takes connections and questions now."""

    def receive(self, frame: Frame, connection: Connection | None, written_ms: int) -> None:
        """A frame arrived; on no connection if its own is gone."""

    def disconnected(self, connection: Connection) -> None:
        """A connection is gone."""


class Client(Protocol):
    """The executor, as the network sees it."""

    def on_open(self, connection: Connection) -> None:
        """The connection is open."""

    def on_message(self, connection: Connection, message: Message) -> None:
        """Something arrived."""

    def on_lost(self, connection: Connection | None) -> None:
        """The connection is gone; None: the attempt failed."""


class Network:
    """The network between one executor and one venue.

    Attributes:
        connections: Those over which bytes flow.
    """

    def __init__(self, timeline: Timeline, troubles: Troubles) -> None:
        """Begin without connections; the venue is plugged in with `serve`."""
        self.timeline = timeline
        self.troubles = troubles
        self.connections: list[Connection] = []
        self.server: Server

    def serve(self, server: Server) -> None:
        """Let `server` be the peer of all connections."""
        self.server = server

    def latency(self) -> int:
        """One way, on a good day, ms."""
        return self.troubles.between(5, 60)

    def connect(self, client: Client) -> None:
        """Begin a connection attempt; the client hears how it went."""

        def arrive() -> None:
            if self.troubles.strikes(Fault.CONNECT_FAILED) or not self.server.reachable():
                client.on_lost(None)
                return
            connection = Connection(self, client)
            self.connections.append(connection)
            client.on_open(connection)

        self.timeline.after(self.troubles.between(50, 400), arrive)

    def ask(self, question: Callable[[], T], answer: Callable[[T], None], failed: Callable[[], None]) -> None:
        """Ask the venue over HTTP: `question` is evaluated there."""

        def arrive() -> None:
            if self.server.reachable():
                self.timeline.after(self.latency(), partial(answer, question()))
            else:
                failed()

        if self.troubles.strikes(Fault.QUESTION_FAILED):
            self.timeline.after(self.troubles.between(10, 5_000), failed)
        else:
            self.timeline.after(self.latency(), arrive)


class _Transit:
    """A frame under way."""

    __slots__ = ("frame", "lost", "written_ms")

    def __init__(self, frame: Frame, written_ms: int) -> None:
        self.frame = frame
        self.written_ms = written_ms
        self.lost = False


class Connection:
    """One WebSocket connection.

    Attributes:
        flows: Whether bytes still get through.
        open: Whether the executor takes it for open.
        epoch: The executor's number for it.
    """

    def __init__(self, network: Network, client: Client) -> None:
        """A connection that has just been opened."""
        self.flows = True
        self.open = True
        self.epoch = 0
        self._network = network
        self._client = client
        self._up: deque[_Transit] = deque()
        self._down: deque[Message] = deque()
        self._up_free = 0
        self._down_free = 0
        self._breaks_in_ms: int | None = None

    # ----------------------------------------------------------------------------------------- from the executor

    def write(self, frame: Frame) -> None:
        """Hand a frame to the socket."""
        network = self._network
        if not self.flows:
            network.troubles.saw(Sight.FRAME_IN_SILENCE)
            return
        transit = _Transit(frame, network.timeline.now)
        self._up.append(transit)
        slow = network.troubles.between(500, 5_000) if network.troubles.strikes(Fault.SLOW_FRAME) else 0
        self._up_free = max(self._up_free, network.timeline.now + network.latency() + slow)
        network.timeline.at(self._up_free, partial(self._arrive, transit))
        if self._breaks_in_ms is not None:
            network.timeline.after(0, partial(self.break_off, self._breaks_in_ms))

    def _arrive(self, transit: _Transit) -> None:
        if not transit.lost:
            self._up.popleft()
            self._network.server.receive(transit.frame, self, transit.written_ms)

    def close(self) -> None:
        """The executor closes it, or is gone itself."""
        self.open = False
        if self.flows:
            self._sever()

    # ---------------------------------------------------------------------------------------------- from the venue

    def send(self, message: Message) -> None:
        """Send something to the executor; nowhere, if bytes no longer flow."""
        network = self._network
        if not self.flows:
            network.troubles.saw(Sight.REPLY_LOST, isinstance(message, Reply))
            return
        slow = 0
        if isinstance(message, Reply) and network.troubles.strikes(Fault.SLOW_REPLY):
            slow = network.troubles.between(500, 8_000)
        self._down.append(message)
        self._down_free = max(self._down_free, network.timeline.now + network.latency() + slow)
        network.timeline.at(self._down_free, self._deliver)

    def _deliver(self) -> None:
        if self.open and self._down:
            self._client.on_message(self, self._down.popleft())

    # -------------------------------------------------------------------------------------------------- that breaks

    def break_off(self, notice_ms: int) -> None:
        """Bytes no longer flow; the executor notices in `notice_ms`, or when it has read what had arrived."""
        if not self.flows:
            return
        self._sever()
        timeline = self._network.timeline
        notice = timeline.now + notice_ms
        if self._down:
            notice = max(notice, self._down_free)
        timeline.at(notice, self._notice)

    def break_off_at_next_frame(self, notice_ms: int) -> None:
        """Break off when the next frame has just been written, so that one is in flight."""
        self._breaks_in_ms = notice_ms

    def _notice(self) -> None:
        if self.open:
            self.open = False
            self._client.on_lost(self)

    def _sever(self) -> None:
        """Cut both directions somewhere in what is in flight."""
        network, troubles = self._network, self._network.troubles
        self.flows = False
        network.connections.remove(self)
        whole = troubles.between(0, len(self._up))
        later = network.timeline.now
        for place, transit in enumerate(self._up):
            transit.lost = True
            if place >= whole:
                troubles.saw(Sight.FRAME_CUT)
                continue
            troubles.saw(Sight.FRAME_OUTLIVES)
            later = max(
                later, network.timeline.now + troubles.between(0, (PROMPT_MS, OUTLIVES_MS)[troubles.between(0, 1)])
            )
            network.timeline.at(later, partial(network.server.receive, transit.frame, None, transit.written_ms))
        self._up.clear()
        for _ in range(troubles.between(0, len(self._down))):
            troubles.saw(Sight.REPLY_LOST, isinstance(self._down.pop(), Reply))
        network.server.disconnected(self)
