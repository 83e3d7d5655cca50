"""Ray Serve with the application from deploy/: a real cluster on this machine, with two replicas."""

import ctypes.util
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from deploy.defaults import defaults
from tests.conftest import ROOT, RunningServer, head_in_segments, write_models
from tests.deploy.conftest import LONG_TEXT, running_processes
from tests.waiting import WAIT_S, wait_until

RAY_START_S = 400
SECRET = "my secret"
KEY = "sesame"


class Answer(NamedTuple):
    """What came of one request to Ray Serve."""

    started: float
    status: int
    replica: str | None
    sound: bytes


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs, and its sockets, whose paths must be short. Without Ray the tests are skipped."""
    if find_spec("ray") is None:
        reason = "Ray is missing: .venv/bin/pip install -r deploy/requirements-ray.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    path = Path(tempfile.mkdtemp(prefix="ray"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_serve(tmp_path_factory: pytest.TempPathFactory, ray_folder: Path) -> Iterator[RunningServer]:
    """Two replicas of the small voices on a Ray of their own."""
    folder = tmp_path_factory.mktemp("ray")
    models_toml = write_models(folder)
    config = folder / "serve.json"
    port = port_that_ray_leaves_free()
    config.write_text(json.dumps(serve_config(models_toml, port)))
    with running_processes(folder, models_toml) as start_process:
        server = start_process(
            Path(sys.executable).with_name("serve"),
            "run",
            config,
            port=port,
            SPEAK_API_KEY=KEY,
            RAY_TMPDIR=str(ray_folder),
            RAY_AUTH_MODE="disabled",
            RAY_USAGE_STATS_ENABLED="0",
            RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S="60",  # 5 are not enough on a busy machine
            RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S="60",
        )
        wait_until(lambda: serves(server) or has_failed(server), server, RAY_START_S)
        assert not has_failed(server), server.log
        server.wait_until_ready()
        yield server
        server.process.send_signal(signal.SIGINT)
        server.process.wait(2 * WAIT_S)


def port_that_ray_leaves_free() -> int:
    """A free port: Ray's processes take those from 10002 to 19999, and from 32768 on, where the system chooses."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("There is no free port from 20000 to 31999")


def serve_config(models_toml: Path, port: int) -> dict[str, object]:
    """A config file of Serve's for two replicas with those models."""
    application = {
        "name": "speak",
        "route_prefix": "/",
        "import_path": "deploy.ray_serve:app",
        "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}},
        "args": {"models": str(models_toml), "threads": 1, "min_replicas": 2, "max_replicas": 2},
    }
    return {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}


def serves(server: RunningServer) -> bool:
    """Whether it answers as the application does; before that Ray Serve says in plain text that it is not there."""
    try:
        with urlopen(server.url + "/health", timeout=WAIT_S):
            return True
    except OSError:
        return False


def has_failed(server: RunningServer) -> bool:
    """Whether it has ended, or could not start the replicas."""
    return server.process.poll() is not None or "startup failed" in server.log


def ask(server: RunningServer, text: str) -> Answer:
    """One request, whatever comes of it."""
    started = time.monotonic()
    try:
        url = f"{server.url}/speak?text={quote(text)}&speaker=solo&key={KEY}"
        with urlopen(url, timeout=2 * WAIT_S) as response:
            return Answer(started, response.status, response.headers["X-Replica"], response.read())
    except HTTPError as error:
        with error:
            return Answer(started, error.code, None, b"")
    except OSError:
        return Answer(started, 0, None, b"")


def replicas(pid: int) -> set[int]:
    """The processes of Ray Serve's replicas among the descendants of a process."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found = {pid} if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::ServeReplica") else set()
    except OSError:  # It has ended.
        return set()
    return found.union(*(replicas(int(child)) for child in children))


def test_a_replica_has_the_allocator_and_the_cache_capacities_of_run_sh(ray_serve: RunningServer) -> None:
    assert ray_serve.health["allocator"] == ("jemalloc" if ctypes.util.find_library("jemalloc") else "glibc")
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        assert ray_serve.health[name.lower()] == defaults()[name]


def test_a_replica_has_the_threads_of_its_options(ray_serve: RunningServer) -> None:
    assert ray_serve.health["threads"] == 1


def test_replicas_want_the_key(ray_serve: RunningServer) -> None:
    assert ray_serve.get_json("/speak?text=Hello.&speaker=solo")[0] == 401


def test_replicas_read_a_query_of_many_chinese_characters_however_it_arrives(ray_serve: RunningServer) -> None:
    assert head_in_segments(ray_serve.port, f"/speak?key={KEY}&speaker=solo&text={quote('你好。' * 660)}") == 200


def test_replicas_stream_while_they_compute(ray_serve: RunningServer) -> None:
    client = HTTPConnection("127.0.0.1", ray_serve.port, timeout=2 * WAIT_S)
    client.request("GET", f"/speak?text={LONG_TEXT}&speaker=solo&stream=true&length_scale=4&key={KEY}")
    response = client.getresponse()
    assert response.read(4) == b"RIFF"
    # One of the replicas is under way with it, and stops when its listener leaves.
    health = [ray_serve.get_json("/health")[1]["waiting"] for _ in range(20)]
    assert 1 in health
    client.close()
    wait_until(lambda: all(not ray_serve.get_json("/health")[1]["waiting"] for _ in range(20)), ray_serve)


def test_a_replica_that_is_killed_is_replaced_and_loses_its_own_requests_alone(ray_serve: RunningServer) -> None:
    before = replicas(ray_serve.process.pid)
    assert len(before) == 2
    answers: list[Answer] = []
    over = threading.Event()

    def load(client: int) -> None:
        while not over.is_set():
            answers.append(ask(ray_serve, f"{SECRET} {client} {len(answers)}. " + "It takes its time. " * 20))

    def wait_for_replicas(count: int) -> None:
        wait_until(lambda: len({answer.replica for answer in answers} - {None}) >= count, ray_serve, RAY_START_S)

    with ThreadPoolExecutor(6) as clients:
        try:
            for client in range(6):
                clients.submit(load, client)
            wait_for_replicas(2)
            killed_at = time.monotonic()
            os.kill(min(before), signal.SIGKILL)
            wait_for_replicas(3)
        finally:
            over.set()
    lost = [answer for answer in answers if answer.status != 200]
    assert all(answer.started < killed_at for answer in lost)
    assert len(lost) <= 6
    assert all(answer.sound.startswith(b"RIFF") for answer in answers if answer.status == 200)
    after = replicas(ray_serve.process.pid)
    assert len(after) == 2
    assert min(before) not in after


def test_replicas_log_no_text(ray_serve: RunningServer, ray_folder: Path) -> None:
    assert ask(ray_serve, SECRET).status == 200
    logs = [path for path in ray_folder.rglob("*") if path.suffix in (".log", ".out", ".err")]
    wait_until(lambda: any(b"/speak" in path.read_bytes() or b"GET /" in path.read_bytes() for path in logs), ray_serve)
    assert [path for path in logs if b"secret" in path.read_bytes()] == []
    assert "secret" not in ray_serve.log
