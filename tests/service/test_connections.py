"""Connections of a real uvicorn, with short limits: clients that dawdle, vanish, or send what is no HTTP."""

import asyncio
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal
from unittest.mock import Mock

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from service import connections, recordings
from tests import fakes
from tests.fakes import Counters
from tests.waiting import wait_until

TIMEOUT_S = 60
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Answerer:
    """An application that answers when it is told to, and notes which clients have left before."""

    def __init__(self) -> None:
        self.asked = self.left = 0
        self.may_answer = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass
        self.asked += 1
        leaving = asyncio.ensure_future(receive())
        while not self.may_answer.is_set() and not leaving.done():
            await asyncio.sleep(0.01)
        if leaving.done():
            self.left += 1
            return
        leaving.cancel()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> Iterator[int]:
    """The port of a uvicorn with the service's connections."""
    config = uvicorn.Config(
        app, port=0, http=connections.Connections, lifespan=lifespan, log_config=None, timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


@pytest.fixture
def answerer() -> Answerer:
    return Answerer()


@pytest.fixture
def port(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(connections, "BODY_TIMEOUT_S", 0.5)
    with serving(answerer) as port:
        yield port
        answerer.may_answer.set()


def connect(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    connection.sendall(sent)
    return connection


def everything(connection: socket.socket) -> bytes:
    """All that comes until the server ends it."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
UNFINISHED = {
    "nothing": (b"", b""),
    "half a request line": (b"GET /", b"HTTP/1.1 408 "),
    "half a head": (b"GET / HTTP/1.1\r\nHost: ", b"HTTP/1.1 408 "),
    "no body": (POST, b"HTTP/1.1 408 "),
    "half a body": (POST + b"{", b"HTTP/1.1 408 "),
}


@pytest.mark.parametrize(("sent", "answer"), UNFINISHED.values(), ids=list(UNFINISHED))
def test_a_request_that_does_not_come_in_time_ends_its_connection(port: int, sent: bytes, answer: bytes) -> None:
    with connect(port, sent) as connection:
        assert everything(connection).startswith(answer)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nX: ", POST], ids=["head", "body"])
def test_a_byte_now_and_then_does_not_extend_the_time(port: int, sent: bytes) -> None:
    with connect(port, sent) as connection:
        for _ in range(TIMEOUT_S * 10):
            try:
                connection.sendall(b"a" if sent is not POST else b"")
            except OSError:
                return
            connection.settimeout(0.1)
            try:
                if connection.recv(100):
                    return
            except TimeoutError:
                continue
    pytest.fail("the connection stays open")


def test_a_second_half_request_is_timed_out_too(port: int, answerer: Answerer) -> None:
    answerer.may_answer.set()
    with connect(port, GET + b"GET /") as connection:
        answer = everything(connection)
    assert answer.endswith(connections.REQUEST_TIMEOUT) or answer.endswith(b"ok")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("ahead", [b"", b"G", GET], ids=["nothing", "a byte", "a request"])
def test_a_client_that_leaves_is_noticed_whatever_it_has_sent_ahead(
    port: int, answerer: Answerer, ahead: bytes
) -> None:
    with connect(port, GET + ahead):
        wait_until(lambda: answerer.asked)
    wait_until(lambda: answerer.left)


def test_a_client_that_sends_no_more_still_gets_its_answer(port: int, answerer: Answerer) -> None:
    with connect(port, GET) as connection:
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: answerer.asked)
        time.sleep(0.3)
        assert not answerer.left
        answerer.may_answer.set()
        answer = everything(connection)
    assert answer.endswith(b"ok")
    assert answer.startswith(b"HTTP/1.1 102 Processing\r\n\r\n")


def test_a_client_that_can_send_no_more_of_its_second_request_is_not_waited_for(
    port: int, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BODY_TIMEOUT_S", 100 * TIMEOUT_S)
    with connect(port, GET + POST + b"half") as connection:
        connection.shutdown(socket.SHUT_WR)
        wait_until(lambda: answerer.asked)
        answerer.may_answer.set()
        assert everything(connection).endswith(b"ok")


def test_a_request_to_upgrade_is_answered_as_if_it_had_not_asked(
    port: int, answerer: Answerer, caplog: pytest.LogCaptureFixture
) -> None:
    answerer.may_answer.set()
    head = b"GET /?text=secret HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with connect(port, head) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", POST[:-2] + b"a b\r\n\r\n"],
)
def test_what_is_no_http_is_refused(port: int, sent: bytes) -> None:
    with connect(port, sent) as connection:
        assert everything(connection).startswith(b"HTTP/1.1 400 ")


def test_a_malformed_chunk_is_refused_without_a_traceback(
    port: int, answerer: Answerer, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(port, head + b"zz\r\n") as connection:
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
    assert not [record for record in caplog.records if record.exc_info]


def test_an_application_that_answers_at_once_does_not_follow_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(answer_at_once) as port, connect(port, head + b"zz\r\n") as connection:
        said = everything(connection)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1") == 1
    assert not [record for record in caplog.records if record.exc_info]


# Their number


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [(100, 16), (256, 64), (1024, 832), (10**6, 1000), (resource.RLIM_INFINITY, 1000)],
)
def test_connections_leave_file_descriptors_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert connections.most_connections() == most


def test_the_connection_that_waited_longest_makes_room(
    port: int, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that no stop of the machine can end a connection before the bound does.
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 100 * TIMEOUT_S)
    accepted = Mock(return_value=3)
    monkeypatch.setattr(connections, "most_connections", accepted)
    with ExitStack() as clients_close:
        opened = []
        for sent in (GET, b"GET", b"GET", GET):
            opened.append(clients_close.enter_context(connect(port, sent)))
            # Each is waited for: two connections that are opened at once can be accepted the other way round.
            wait_until(lambda: accepted.call_count == len(opened))
            wait_until(lambda: answerer.asked)
        busy, first, second, latest = opened
        assert everything(first) == b""
        answerer.may_answer.set()
        for connection in (busy, latest):
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        second.sendall(GET[3:])
        assert second.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_where_all_are_busy_the_newest_is_closed(
    port: int, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 2)
    busy = [connect(port, GET) for _ in range(2)]
    wait_until(lambda: answerer.asked == 2)
    with connect(port, b"") as newest:
        assert everything(newest) == b""
    answerer.may_answer.set()
    for connection in busy:
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.close()


# Readers of the service


def test_a_reader_that_is_cut_leaves_no_descriptor(
    slow_app: Starlette, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "PATIENCE_S", 0.3)
    monkeypatch.setattr(recordings, "LEAST_PACE", 1000.0)
    monkeypatch.setattr(fakes, "WINDOW_S", 0.0)
    with ExitStack() as readers_close, serving(slow_app, lifespan="on") as port:
        wait_until(lambda: slow_app.state.service.ready.is_set())
        slow_app.state.service.recordings.limit_bytes = 0
        before = len(os.listdir("/proc/self/fd"))
        readers = []
        for number in range(3):
            reader = readers_close.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(TIMEOUT_S)
            reader.connect(("127.0.0.1", port))
            text = "|".join(f"{number}" * 1500).encode()
            reader.sendall(b"GET /speak?stream=true&text=" + text + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            readers.append(reader)
        wait_until(lambda: len(os.listdir("/proc/self/fd")) >= before + 2 * len(readers))
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before + len(readers))
