"""What goes wrong outside: clients that vanish, crowd, dawdle or attack, and a server that is stopped or killed."""

import http.client
import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import SMALL_VOICES, RunningServer, StartServer, head_in_segments
from tests.waiting import wait_until

SENTENCE = "This sentence is here to take its time. "
MINUTES = quote(SENTENCE * 45)
"""Four minutes of the voice `solo` at length_scale 4, which take it seconds, and the voice `trio` about a minute."""
TIMEOUT_S = 120


@pytest.fixture
def long_settings(models_toml: Path) -> Path:
    """Settings that let recordings be long."""
    models_toml.write_text(models_toml.read_text().replace("threads = 1", "threads = 1\nmax_audio_s = 3600"))
    return models_toml


def ask(server: RunningServer, target: str, *headers: str) -> socket.socket:
    """A connection that has sent a GET."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)
    lines = (f"GET {target} HTTP/1.1", "Host: x", *headers, "", "")
    connection.sendall("\r\n".join(lines).encode("latin-1"))
    return connection


def answer_to(server: RunningServer, target: str, *headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    """The whole answer to a GET: status, headers, body."""
    with ask(server, target, *headers) as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.headers, response.read()


def health(server: RunningServer) -> dict[str, Any]:
    """What /health says."""
    status, report = server.get_json("/health")
    assert status == 200
    return dict(report)


# Clients


def test_a_listener_who_vanishes_costs_nothing_more(start_server: StartServer, long_settings: Path) -> None:
    server = start_server()
    with ask(server, f"/speak?speaker=trio&length_scale=4&stream=true&text={MINUTES}") as listener:
        assert listener.recv(12) == b"HTTP/1.1 200"
        turns = health(server)["turns"]
        wait_until(lambda: health(server)["turns"] > turns)
    wait_until(lambda: health(server)["waiting"] == 0)
    turns = health(server)["turns"]
    time.sleep(1)
    assert health(server)["turns"] == turns
    assert health(server)["cache"] == {"recordings": 0, "bytes": 0}
    assert "Traceback" not in server.log


def test_fifty_at_once_are_served_or_told_when_to_come_back(start_server: StartServer) -> None:
    server = start_server()
    together = threading.Barrier(50)

    def speak(number: int) -> tuple[int, http.client.HTTPMessage]:
        together.wait(TIMEOUT_S)
        status, headers, body = answer_to(server, f"/speak?text=Number+{number}.&speaker=trio")
        assert (body[:4] == b"RIFF") == (status == 200)
        return status, headers

    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(speak, range(50)))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 8
    assert all(int(headers["retry-after"]) > 0 for status, headers in answers if status == 503)
    assert health(server)["waiting"] == 0
    for number in range(50):
        assert answer_to(server, f"/speak?text=Number+{number}.&speaker=trio")[0] == 200


def test_fifty_equal_requests_are_one_synthesis(start_server: StartServer) -> None:
    server = start_server()
    target = f"/speak?text={quote(SENTENCE)}&speaker=trio"
    turns = health(server)["turns"]
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda _: answer_to(server, target), range(50)))
    once = health(server)["turns"] - turns
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, _, body in answers}) == 1
    assert sorted(headers["x-cache"] for _, headers, _ in answers).count("miss") == 1
    assert answer_to(server, target + "&seed=1")[0] == 200
    assert health(server)["turns"] - turns - once >= once - 2


def test_slow_readers_take_bounded_memory_and_nobodys_turn(start_server: StartServer, long_settings: Path) -> None:
    long_settings.write_text(long_settings.read_text().replace("threads = 1", "threads = 1\ncache_mb = 1"))
    server = start_server()
    assert answer_to(server, f"/speak?speaker=solo&text={quote(SENTENCE)}")[0] == 200
    before_mb = health(server)["rss_mb"]
    target = f"/speak?speaker=solo&length_scale=4&stream=true&text={MINUTES}"
    readers = [ask(server, f"{target}&seed={number}") for number in range(3)]
    try:
        for reader in readers:
            assert reader.recv(12) == b"HTTP/1.1 200"
        for number in range(3):
            assert answer_to(server, f"/speak?speaker=solo&text=Still+here+{number}.")[0] == 200
        turns = -1
        while turns != (turns := health(server)["turns"]):
            time.sleep(2)
        # All is computed and nothing is read: what it holds are three recordings of four minutes, 16 000 Hz, 16 bits.
        # Finished as they are, they take no place from those that are still to be made.
        assert health(server)["waiting"] == 0
        assert health(server)["rss_mb"] - before_mb < 3 * 240 * 16000 * 2 / 1e6 * 1.5 + 30
    finally:
        for reader in readers:
            reader.close()
    wait_until(lambda: health(server)["waiting"] == 0)
    assert answer_to(server, "/speak?speaker=solo&text=And+still.")[0] == 200


UNFINISHED = {
    "nothing": b"",
    "half a head": b"GET /speak?text=a HTTP/1.1\r\nHost: x\r\n",
    "half a body": b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
}


def test_hundreds_of_idle_connections_keep_nobody_out(start_server: StartServer) -> None:
    server = start_server(descriptors=256)
    for sent in UNFINISHED.values():
        idle = [socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) for _ in range(300)]
        for connection in idle:
            with suppress(ConnectionError):
                connection.sendall(sent)
        assert answer_to(server, "/health")[0] == 200
        assert answer_to(server, "/speak?text=Hello.&speaker=solo")[0] == 200
        for connection in idle:
            connection.close()
    assert len(server.log.splitlines()) < 100


def test_a_megabyte_of_query_is_refused_and_forgotten(start_server: StartServer) -> None:
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as client:
        try:
            client.sendall(b"GET /speak?text=" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            refusal = client.recv(1000)
        except ConnectionError:
            refusal = b""
    assert refusal == b"" or re.match(rb"HTTP/1\.1 4\d\d ", refusal)
    assert answer_to(server, "/speak?text=Hello.&speaker=solo")[0] == 200
    assert answer_to(server, "/speak?text=" + "x" * 50_000)[0] == 413
    assert head_in_segments(server.port, "/speak?speaker=trio&text=" + quote("今" * 4096)) == 200


def test_a_megabyte_of_body_is_refused(start_server: StartServer) -> None:
    server = start_server()
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S) as client:
        head = "POST /speak HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
        client.sendall(head.encode() + b'{"text": "' + b"x" * 100_000)
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.status == 413
        assert json.load(response)["error"]["code"] == "body_too_large"


INJECTIONS = [
    "/speak?text=a%0d%0aX-Injected:%201%0d%0a%0d%0a&speaker=solo",
    "/speak?text=a%E2%98%83%0d%0aX-Injected:1&speaker=solo",
    "/speak?text=a&speaker=solo%0d%0aX-Injected:%201",
    "/speak?text=a&format=wav%0d%0aX-Injected:%201",
    "/speak?text=a&%0d%0aX-Injected:%201=b",
    "/%0d%0aX-Injected:%201",
    "/speak%0aERROR%20forged?text=a",
]


def test_nothing_sent_becomes_a_header_or_a_line_of_the_log(start_server: StartServer) -> None:
    server = start_server()
    for target in INJECTIONS:
        status, headers, _ = answer_to(server, target, "Range: bytes=0-1\r\tX", 'If-None-Match: "\t"')
        assert status in (200, 206, 400, 404)
        assert "X-Injected" not in headers
    for line in server.log.splitlines():
        assert re.match(r"(INFO|WARNING): |run\.sh: ", line), line
    assert "X-Injected" not in re.sub(r"%0d%0aX-Injected", "", server.log, flags=re.IGNORECASE)


NO_PATHS = [
    "/../models.toml",
    "/speak/../models.toml",
    "/%2e%2e/models.toml",
    "/..%2fserver.py",
    "//etc/passwd",
    "/etc/passwd",
    "/page.html",
    "/server.py",
    "/voices/slt/config.json",
    "/speak%00",
    "/%2fspeak",
]
NO_SPEAKERS = ["../../etc/passwd", "trio/../solo", "solo.pth", "/etc/passwd", "trio\0"]


def test_no_path_and_no_speaker_leads_to_a_file(start_server: StartServer) -> None:
    server = start_server()
    targets = [(target, "unknown_path") for target in NO_PATHS]
    targets += [(f"/speak?text=a&speaker={quote(speaker)}", "unknown_speaker") for speaker in NO_SPEAKERS]
    for target, code in targets:
        status, _, body = answer_to(server, target)
        assert (status, json.loads(body)["error"]["code"]) == (404, code), target


def test_a_key_is_wanted_and_never_logged(start_server: StartServer) -> None:
    server = start_server("--log-level", "debug", SPEAK_API_KEY="my-own-secret")
    assert answer_to(server, "/speak?text=Hello.&speaker=solo")[0] == 401
    assert answer_to(server, "/speak?text=Hello.&speaker=solo&key=no-secret")[0] == 401
    for target, *headers in (
        ("/speak?text=Hello.&speaker=solo&key=my-own-secret",),
        ("/speak?text=Hello.&speaker=solo", "Authorization: Bearer my-own-secret"),
    ):
        status, answered, _ = answer_to(server, target, *headers)
        assert status == 200
        assert "secret" not in str(answered)
    assert "secret" not in server.log


# The server


def test_sigterm_lets_a_stream_come_to_its_end(start_server: StartServer, long_settings: Path) -> None:
    server = start_server(GRACE_S="100")
    target = f"/speak?speaker=solo&length_scale=4&format=flac&text={MINUTES}"
    with ask(server, target + "&stream=true") as listener:
        response = http.client.HTTPResponse(listener)
        response.begin()
        start = response.read(1000)
        server.process.send_signal(signal.SIGTERM)
        content = start + response.read()
    assert server.process.wait(TIMEOUT_S) in (0, -signal.SIGTERM)
    assert "Traceback" not in server.log
    again = start_server()
    _, _, whole = answer_to(again, target)
    assert len(content) == len(whole)
    assert content[1000:] == whole[1000:]


def test_a_stream_that_fails_halfway_is_cut_without_an_end(start_server: StartServer, models_toml: Path) -> None:
    models_toml.write_text(models_toml.read_text().replace("threads = 1", "threads = 1\nmax_audio_s = 20"))
    server = start_server()
    target = f"/speak?speaker=solo&length_scale=4&text={MINUTES}"
    with ask(server, target + "&stream=true") as listener:
        response = http.client.HTTPResponse(listener)
        response.begin()
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    assert "Cut an answer to /speak after its first bytes: Refusal" in server.log
    status, _, body = answer_to(server, target)
    assert (status, json.loads(body)["error"]["code"]) == (422, "audio_too_long")


def test_kill_minus_nine_leaves_nothing_in_the_way(start_server: StartServer, long_settings: Path) -> None:
    server = start_server()
    before = answer_to(server, "/speak?text=Hello.&speaker=trio")
    with ask(server, f"/speak?speaker=trio&length_scale=4&stream=true&text={MINUTES}") as listener:
        response = http.client.HTTPResponse(listener)
        response.begin()
        server.process.send_signal(signal.SIGKILL)
        assert server.process.wait(TIMEOUT_S) == -signal.SIGKILL
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()
    again = start_server(ready=False, PORT=str(server.port))
    again.port = server.port
    again.wait_until_ready()
    status, headers, body = answer_to(again, "/speak?text=Hello.&speaker=trio")
    assert (status, headers["etag"], body) == (200, before[1]["etag"], before[2])


@pytest.mark.parametrize("damage", ["cut", "scribbled on", "empty", "a folder of another voice"])
def test_a_damaged_checkpoint_ends_the_start_with_one_line(
    start_server: StartServer, models_toml: Path, tmp_path: Path, damage: str
) -> None:
    checkpoint = SMALL_VOICES / "multi_speaker_sdp/G_latest.pth"
    content = bytearray(checkpoint.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "scribbled on":
        content[len(content) // 2 : len(content) // 2 + 5000] = bytes(5000)
    elif damage == "empty":
        content.clear()
    else:
        content = bytearray((SMALL_VOICES / "single_speaker_dp_resblock2/G_latest.pth").read_bytes())
    damaged = tmp_path / "G_damaged.pth"
    damaged.write_bytes(content)
    models_toml.write_text(models_toml.read_text().replace(str(checkpoint), str(damaged), 1))
    server = start_server(ready=False)
    assert server.process.wait(TIMEOUT_S) == 3
    (line,) = [line for line in server.log.splitlines() if "Cannot start" in line]
    assert "G_damaged.pth" in line
    assert "Traceback" not in server.log
