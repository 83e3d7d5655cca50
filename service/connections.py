"""Connections that cannot wear the server out: limits on their time and number, and ends that free the socket.

uvicorn times out nothing but a connection at rest between two requests, and accepts connections until no file
descriptor is left. `Connections` is its h11 protocol with those limits:
`uvicorn --http service.connections:Connections`.
"""

import asyncio
import resource
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_TIMEOUT_S = 10.0
"""How long a client may take from its connection, or from the first byte of a further request, to the head's end."""
BODY_TIMEOUT_S = 30.0
"""How long a client may take from the end of a request's head to the end of its body."""
SPARE_DESCRIPTORS = 192
"""How many file descriptors are kept for everything but connections: 64 for files and listening sockets, and four times
uvicorn's --backlog of 32. So many may be open before the first of them is closed here: asyncio accepts a whole backlog
in each round of its loop, and takes four rounds from accepting a connection to closing it."""
LEAST_CONNECTIONS = 16
"""The fewest connections, however few descriptors there are."""
MOST_CONNECTIONS = 1000
"""The most connections where there are descriptors for more; each may hold BUFFERED_BYTES, and a piece of sound."""
BUFFERED_BYTES = 64 * 1024
"""How much a client may send ahead of what is read. Until then reading goes on, and so its leaving is noticed."""
PROBES_S = (0.1, 0.5)
"""How long after the first probe of a client that has sent its last byte the second follows, and the others."""
ABORT = "vits_speak.abort"
"""The ASGI extension by which an application frees the socket at once: a function without arguments."""
REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def most_connections() -> int:
    """How many connections may be open, by the process's limit of file descriptors."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(LEAST_CONNECTIONS, min(MOST_CONNECTIONS, descriptors - SPARE_DESCRIPTORS))


class Flow(FlowControl):
    """uvicorn's flow control, which goes on reading while little has been sent ahead."""

    def __init__(self, transport: asyncio.Transport, buffered_bytes: Callable[[], int]) -> None:
        """`buffered_bytes` says how much was received and not read yet."""
        super().__init__(transport)
        self._buffered_bytes = buffered_bytes

    def pause_reading(self) -> None:
        """Stop reading only where there is much to read already: a transport that does not read sees no end."""
        if self._buffered_bytes() > BUFFERED_BYTES:
            super().pause_reading()


class Connections(H11Protocol):
    """One connection. It is idle while no request on it is being answered."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Uvicorn's own arguments."""
        super().__init__(*arguments, **options)
        self.waits_since_s = self.loop.time()
        """When it last became the client's turn; what a client sends now and then does not change it."""
        self._awaited: str | None = None
        """What the client has to send in time: "head", "body", or None where it is the server's turn."""
        self._deadline: asyncio.TimerHandle | None = None
        self._probe_timer: asyncio.TimerHandle | None = None
        self._ended = False
        """Whether the client has sent its last byte."""

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: nothing asked, or not all of it."""
        return self.idle or (self.cycle.more_body and not self.cycle.response_started)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, and close one where there are too many."""
        super().connection_made(transport)
        self.flow = Flow(transport, self._buffered_bytes)
        self._make_room()
        self._await_client()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        for timer in (self._deadline, self._probe_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        super().data_received(data)
        self._await_client()

    def handle_events(self) -> None:
        """Begin the requests that are there; each can abort its connection."""
        super().handle_events()
        if self.scope is not None:
            extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
            extensions[ABORT] = self.transport.abort

    def on_response_complete(self) -> None:
        """Go on with the next request, if there can be one."""
        self.waits_since_s = self.loop.time()
        super().on_response_complete()
        self._await_client()
        if self._ended and self.waits_for_client:
            self._silence_application()
            self.transport.close()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Whether to keep the connection for its answer, of which a client that sends no more may well want to hear.

        One that is gone altogether looks the same. So it is sent 102 Processing (RFC 2518) until the answer begins: a
        client that is there ignores it, and the host of one that is gone answers with a reset.
        """
        begun = not self.idle and self.cycle.response_started
        waits = not self.idle and not self.cycle.more_body and (self.conn.their_http_version or b"") >= b"1.1"
        if self.scheme == "https" or not (begun or waits):
            return None
        self._ended = True
        self._probe(*PROBES_S)
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; where an answer has begun it is cut instead."""
        if not self.idle and self.cycle.response_started:
            self.transport.abort()
            return
        self._silence_application()
        super().send_400_response(msg)

    def _silence_application(self) -> None:
        """Drop what the application still sends: the connection has its last answer."""
        if not self.idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _should_upgrade(self) -> bool:
        """Never: nothing here speaks another protocol, and a request to upgrade is answered as if it had not asked."""
        return False

    def _buffered_bytes(self) -> int:
        waiting = len(self.conn.trailing_data[0])
        return waiting if self.idle else waiting + len(self.cycle.body)

    def _make_room(self) -> None:
        """Where there are too many, close the one that has waited for its client longest; else this one."""
        others = [other for other in self.connections if isinstance(other, Connections)]
        there = [other for other in others if not other.transport.is_closing()]
        if len(there) > most_connections():
            waiting = (other for other in there if other.waits_for_client)
            min(waiting, key=lambda other: other.waits_since_s, default=self).transport.abort()

    def _await_client(self) -> None:
        """Set the time by which the client must have sent what it owes; a little at a time does not extend it."""
        awaited: str | None = None
        if self.idle:
            unfinished = self.conn.their_state is h11.SEND_BODY
            if self.cycle is None or self.conn.trailing_data[0] or unfinished:
                awaited = "body" if unfinished else "head"
        elif self.cycle.more_body:
            awaited = "body"
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if awaited is not None:
            timeout_s = HEAD_TIMEOUT_S if awaited == "head" else BODY_TIMEOUT_S
            self._deadline = self.loop.call_later(timeout_s, self._time_out)

    def _time_out(self) -> None:
        """End a connection whose request did not come in time."""
        if self.transport.is_closing():
            return
        begun = self._buffered_bytes() or self.cycle is not None
        if begun and (self.cycle is None or not self.cycle.response_started):
            self._silence_application()
            self.transport.write(REQUEST_TIMEOUT)
            self.transport.close()
            self.loop.call_later(1.0, self.transport.abort)
        else:
            self.transport.abort()

    def _probe(self, next_s: float, later_s: float) -> None:
        """Ask whether the client is still there, until its answer begins."""
        if self.transport.is_closing() or self.idle or self.cycle.response_started:
            return
        probe = h11.InformationalResponse(status_code=102, headers=[], reason=b"Processing")
        self.transport.write(self.conn.send(probe) or b"")
        self._probe_timer = self.loop.call_later(next_s, self._probe, later_s, later_s)
