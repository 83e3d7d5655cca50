"""Gunicorn with its settings from deploy/: a real master and its worker."""

import ctypes.util
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from deploy.defaults import defaults
from tests.conftest import ROOT, RunningServer, free_port, head_in_segments, write_models
from tests.deploy.conftest import DEPLOY, LONG_TEXT, StartProcess, running_processes, speak
from tests.waiting import WAIT_S, wait_until

SETTINGS = DEPLOY / "gunicorn.conf.py"
COMMAND = (sys.executable, "-m", "gunicorn", "--config", SETTINGS)

StartGunicorn = Callable[..., RunningServer]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Gunicorn with the defaults, for the tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("gunicorn")
    with running_processes(folder, write_models(folder)) as start:
        server = start(*COMMAND, LD_PRELOAD=ctypes.util.find_library("jemalloc") or "")
        server.wait_until_ready()
        yield server


@pytest.fixture
def gunicorn(start_process: StartProcess) -> StartGunicorn:
    """Starts Gunicorn with its settings from deploy/, and waits until its worker is ready."""

    def start(**variables: str) -> RunningServer:
        server = start_process(*COMMAND, **variables)
        server.wait_until_ready()
        return server

    return start


def workers(server: RunningServer) -> set[int]:
    """The process ids of the children."""
    pid = server.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def settings() -> dict[str, Any]:
    """What the settings file defines."""
    names: dict[str, Any] = {"__file__": str(SETTINGS)}
    exec(SETTINGS.read_text(), names)
    return names


def test_gunicorn_has_one_worker_and_the_server_is_it(shared: RunningServer) -> None:
    assert len(workers(shared)) == 1
    assert shared.process.pid not in workers(shared)
    assert "In force: allocator" in shared.log


def test_gunicorns_worker_has_the_cache_capacities_of_run_sh(shared: RunningServer) -> None:
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        assert shared.health[name.lower()] == defaults()[name]


def test_gunicorns_worker_has_the_allocator_that_the_master_was_started_with(shared: RunningServer) -> None:
    assert shared.health["allocator"] == ("jemalloc" if ctypes.util.find_library("jemalloc") else "glibc")


def test_gunicorn_passes_on_the_capacities_that_it_was_given(gunicorn: StartGunicorn) -> None:
    server = gunicorn(ONEDNN_PRIMITIVE_CACHE_CAPACITY="64", LRU_CACHE_CAPACITY="2")
    assert server.health["onednn_primitive_cache_capacity"] == "64"
    assert server.health["lru_cache_capacity"] == "2"


def test_a_hang_up_starts_a_new_worker_and_lets_the_old_one_finish(gunicorn: StartGunicorn) -> None:
    server = gunicorn(GRACE_S=str(WAIT_S))
    (old,) = workers(server)
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(speak, server, LONG_TEXT)
        wait_until(lambda: server.get_json("/health")[1]["waiting"], server)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: workers(server) and old not in workers(server), server)
        assert answer.result().startswith(b"RIFF")
    server.wait_until_ready()
    assert speak(server, "Hello.").startswith(b"RIFF")
    assert server.process.poll() is None


def test_gunicorn_told_to_stop_finishes_what_is_under_way(gunicorn: StartGunicorn) -> None:
    server = gunicorn(GRACE_S=str(WAIT_S))
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(speak, server, LONG_TEXT)
        wait_until(lambda: server.get_json("/health")[1]["waiting"], server)
        server.process.terminate()
        assert server.process.wait(2 * WAIT_S) == 0
        assert answer.result().startswith(b"RIFF")
    assert "Traceback" not in server.log


def test_invalid_settings_end_gunicorn(start_process: StartProcess, tmp_path: Path) -> None:
    server = start_process(*COMMAND, MODELS=str(tmp_path / "none.toml"))
    assert server.process.wait(WAIT_S) == 3
    assert "none.toml: expected the file that lists the models; there is none" in server.log


def test_gunicorn_reads_a_query_of_many_chinese_characters_however_it_arrives(shared: RunningServer) -> None:
    assert head_in_segments(shared.port, f"/speak?speaker=solo&text={quote('你好。' * 660)}") == 200


def test_gunicorn_reads_a_query_of_64_kib_however_it_arrives(shared: RunningServer) -> None:
    assert head_in_segments(shared.port, "/speak?text=".ljust(65_536, "a")) == 413


def test_gunicorn_serves_at_an_address_of_ipv6(start_process: StartProcess) -> None:
    if not has_ipv6():
        pytest.skip("This machine has no IPv6")
    server = start_process(*COMMAND, HOST="::1")

    def answers() -> bool:
        assert server.process.poll() is None, server.log
        try:
            with urlopen(f"http://[::1]:{server.port}/health", timeout=WAIT_S) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    wait_until(answers, server)


def has_ipv6() -> bool:
    """Whether a server can have the address ::1."""
    try:
        socket.create_server(("::1", free_port()), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_gunicorn_logs_no_text(shared: RunningServer) -> None:
    assert speak(shared, "my+secret").startswith(b"RIFF")
    assert shared.get_json("/speak?text=my+secret&speaker=nobody")[0] == 404
    with socket.create_connection(("127.0.0.1", shared.port), WAIT_S) as client:
        client.sendall(b"GET /speak?text=my secret HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert '"GET /speak HTTP/1.1" 200' in shared.log
    assert "secret" not in shared.log


def test_gunicorns_own_access_log_would_hold_no_text_either() -> None:
    fields = re.findall(r"%\((.*?)\)s", settings()["access_log_format"])
    assert fields
    assert not {"r", "q", "f"} & set(fields)  # the request line, the query, the page that it came from


def test_gunicorns_worker_has_the_options_of_uvicorn_that_run_sh_gives_it() -> None:
    options = settings()["Worker"].CONFIG_KWARGS
    assert options == {
        "http": "service.connections:Connections",
        "loop": "asyncio",
        "ws": "none",
        "timeout_graceful_shutdown": int(defaults()["GRACE_S"]),
        "h11_max_incomplete_event_size": int(defaults()["MAX_HEAD_BYTES"]),
    }


def test_as_many_connections_wait_for_gunicorn_as_for_run_sh() -> None:
    assert f"--backlog {settings()['backlog']} " in (ROOT / "run.sh").read_text()


def test_gunicorn_listens_where_run_sh_does_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT"):
        monkeypatch.delenv(name, raising=False)
    assert settings()["bind"] == f"{defaults()['HOST']}:{defaults()['PORT']}"
