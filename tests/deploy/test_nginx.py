"""nginx with its site from deploy/, in front of a stand-in and of the real server."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from deploy.defaults import defaults
from service.parameters import JSON_CHARACTER_BYTES, JSON_OVERHEAD_BYTES
from service.settings import Settings
from tests.conftest import RunningServer, StartServer, free_port, head_in_segments
from tests.deploy.conftest import DEPLOY, LONG_TEXT, NeedsProgram, StartProcess, replaced, speak
from tests.waiting import WAIT_S, wait_until

StartNginx = Callable[[int], RunningServer]


@dataclass
class Upstream:
    """A stand-in for the server that answers one request in two halves, the second when it is allowed to."""

    listener: socket.socket
    status: str = "200 OK"
    first: bytes = b"first"
    second: bytes = b"second"
    may_finish: threading.Event = field(default_factory=threading.Event)
    request: bytes = b""

    def serve(self) -> None:
        """Take one connection."""
        connection, _ = self.listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(65536)
            length = len(self.first + self.second)
            head = f"HTTP/1.1 {self.status}\r\nContent-Length: {length}\r\nContent-Range: bytes 0-10/20\r\n\r\n"
            connection.sendall(head.encode() + self.first)
            assert self.may_finish.wait(WAIT_S)
            connection.sendall(self.second)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A stand-in that waits for its one request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        upstream = Upstream(listener)
        thread = threading.Thread(target=upstream.serve, daemon=True)
        thread.start()
        yield upstream
        upstream.may_finish.set()


@pytest.fixture
def nginx(needs_program: NeedsProgram, start_process: StartProcess, tmp_path: Path) -> StartNginx:
    """Starts nginx, with its site from deploy/, in front of a port."""
    program = needs_program("nginx", "nginx")

    def start(upstream_port: int) -> RunningServer:
        port = free_port()
        changes = {
            "listen 80;": f"listen 127.0.0.1:{port};",
            "listen [::]:80;": "",
            "http://127.0.0.1:8000": f"http://127.0.0.1:{upstream_port}",
            "/var/log/nginx": str(tmp_path),
        }
        site = tmp_path / "site.conf"
        site.write_text(replaced((DEPLOY / "nginx.conf").read_text(), **changes))
        settings = tmp_path / "nginx.conf"
        folders = " ".join(
            f"{name}_temp_path {tmp_path};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        settings.write_text(
            ("user root;\n" if os.geteuid() == 0 else "")
            + f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/main.log;\nevents {{}}\n"
            + f"http {{ {folders} include {site}; }}\n"
        )
        server = start_process(program, "-c", settings, "-e", tmp_path / "main.log", port=port)
        wait_until(lambda: answers(port) or server.process.poll() is not None, server)
        assert server.process.poll() is None, server.log
        return server

    return start


def answers(port: int) -> bool:
    """Whether somebody listens at the port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_nginx_passes_sound_on_before_there_is_all_of_it(nginx: StartNginx, upstream: Upstream) -> None:
    proxy = nginx(upstream.listener.getsockname()[1])
    client = HTTPConnection("127.0.0.1", proxy.port, timeout=WAIT_S)
    client.request("GET", "/speak?text=Hello.&stream=true")
    response = client.getresponse()
    assert response.read(5) == b"first"
    upstream.may_finish.set()
    assert response.read() == b"second"
    client.close()


SENT = {"Range": "bytes=0-10", "If-Range": '"tag"', "If-None-Match": '"tag"', "Authorization": "Bearer key"}


@pytest.fixture
def passed_on(nginx: StartNginx, upstream: Upstream) -> tuple[str, dict[str, str]]:
    """The request line and the headers that the server gets from nginx, of a request for a part of a recording."""
    upstream.status = "206 Partial Content"
    upstream.may_finish.set()
    proxy = nginx(upstream.listener.getsockname()[1])
    headers = {**SENT, "X-Forwarded-For": "9.9.9.9", "Host": "voice.example"}
    with urlopen(Request(f"{proxy.url}/speak?text=a%2Fb&key=k", headers=headers), timeout=WAIT_S) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == "bytes 0-10/20"
        assert response.read() == b"firstsecond"
    line, *fields = upstream.request.decode().rstrip().split("\r\n")
    return line, {name.lower(): value for name, _, value in (entry.partition(": ") for entry in fields)}


def test_nginx_leaves_the_request_line_as_it_is(passed_on: tuple[str, dict[str, str]]) -> None:
    assert passed_on[0] == "GET /speak?text=a%2Fb&key=k HTTP/1.1"


def test_nginx_leaves_ranges_and_keys_as_they_are(passed_on: tuple[str, dict[str, str]]) -> None:
    assert {name: passed_on[1][name.lower()] for name in SENT} == SENT


def test_nginx_says_itself_for_whom_it_asks(passed_on: tuple[str, dict[str, str]]) -> None:
    received = passed_on[1]
    assert received["host"] == received["x-forwarded-host"] == "voice.example"
    assert received["x-forwarded-for"] == "127.0.0.1"
    assert received["x-forwarded-proto"] == "http"


def test_nginx_speaks_for_the_server_with_queries_as_long_as_its_own(
    nginx: StartNginx, start_server: StartServer
) -> None:
    server = start_server()
    proxy = nginx(server.port)
    assert speak(proxy, quote("你好。Hello. " * 180)) == speak(server, quote("你好。Hello. " * 180))


def test_nginx_reads_a_query_of_many_chinese_characters_however_it_arrives(
    nginx: StartNginx, start_server: StartServer
) -> None:
    proxy = nginx(start_server().port)
    assert head_in_segments(proxy.port, f"/speak?speaker=solo&text={quote('你好。' * 660)}") == 200


def test_nginx_hands_no_longer_head_on_than_the_server_reads() -> None:
    assert "large_client_header_buffers 4 64k;" in (DEPLOY / "nginx.conf").read_text()
    assert int(defaults()["MAX_HEAD_BYTES"]) > 64 * 1024


def test_nginx_hands_on_every_body_that_the_server_reads() -> None:
    most_chars = Settings(Path(), (), threads=1).max_text_chars
    limit = f"client_max_body_size {(JSON_CHARACTER_BYTES * most_chars + JSON_OVERHEAD_BYTES) // 1024}k"
    assert f"    {limit};\n" in (DEPLOY / "nginx.conf").read_text()
    assert f"(max_text_chars = {most_chars})" in (DEPLOY / "nginx.conf").read_text()
    assert f"`{limit}`" in (DEPLOY / "nginx.md").read_text()


def test_nginx_shows_metrics_to_this_machine(nginx: StartNginx, start_server: StartServer) -> None:
    proxy = nginx(start_server().port)
    with urlopen(proxy.url + "/metrics", timeout=30) as response:
        assert b"speak_cache_bytes" in response.read()


def test_nginx_streams_for_the_server_while_it_computes(nginx: StartNginx, start_server: StartServer) -> None:
    server = start_server()
    assert_sound_comes_before_its_end(nginx(server.port), server)


def test_nginx_passes_parts_of_the_servers_recordings(nginx: StartNginx, start_server: StartServer) -> None:
    proxy = nginx(start_server().port)
    whole = speak(proxy, "Hello.")
    request = Request(f"{proxy.url}/speak?text=Hello.&speaker=solo", headers={"Range": "bytes=4-11"})
    with urlopen(request, timeout=WAIT_S) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 4-11/{len(whole)}"
        assert response.read() == whole[4:12]


def test_nginx_passes_the_servers_key(nginx: StartNginx, start_server: StartServer) -> None:
    proxy = nginx(start_server(SPEAK_API_KEY="sesame").port)
    assert proxy.get_json("/speak?text=Hello.")[0] == 401
    request = Request(f"{proxy.url}/speak?text=Hello.&speaker=solo", headers={"Authorization": "Bearer sesame"})
    with urlopen(request, timeout=WAIT_S) as response:
        assert response.status == 200


def assert_sound_comes_before_its_end(proxy: RunningServer, server: RunningServer) -> None:
    """The proxy gives out sound of a stream that the server still computes."""
    client = HTTPConnection("127.0.0.1", proxy.port, timeout=2 * WAIT_S)
    client.request("GET", f"/speak?text={LONG_TEXT}&speaker=solo&stream=true&length_scale=4")
    response = client.getresponse()
    assert response.read(4) == b"RIFF"
    assert server.get_json("/health")[1]["waiting"] == 1
    client.close()


def test_nginx_refuses_a_body_that_no_text_needs(nginx: StartNginx) -> None:
    proxy = nginx(free_port())
    request = Request(f"{proxy.url}/speak", data=b"x" * 120_000)
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=WAIT_S)
    refused.value.close()
    assert refused.value.code == 413


def test_nginx_logs_no_text_even_where_nobody_answers(
    nginx: StartNginx, start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    assert speak(nginx(server.port), "my+secret").startswith(b"RIFF")
    with pytest.raises(HTTPError) as failed:
        speak(nginx(free_port()), "my+secret")
    failed.value.close()
    assert failed.value.code == 502
    # nginx writes a line once the answer is sent.
    access = tmp_path / "vits-speak.access.log"
    wait_until(lambda: all(f'"GET /speak" {status}' in access.read_text() for status in (200, 502)))
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert [name for name, log in logs.items() if "secret" in log] == []
