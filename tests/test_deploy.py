"""deploy/ as its users start it: the real systemd-analyze, Gunicorn, nginx and Ray Serve, where they are installed."""

import ctypes.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from deploy.capacity import Model, Plan
from tests.conftest import ROOT, RunningServer, StartServer, free_port

DEPLOY = ROOT / "deploy"
WAIT_S = 120
RAY_START_S = 400
LONG_TEXT = quote("This sentence is here to take its time. " * 40)

NeedsProgram = Callable[[str, str], str]
StartProcess = Callable[..., RunningServer]


@pytest.fixture
def start_process(tmp_path: Path, models_toml: Path) -> Iterator[StartProcess]:
    """Starts a command that serves the small voices on the port in its environment; all of them end with the test."""
    started: list[RunningServer] = []

    def start(*command: str | Path, port: int | None = None, **variables: str) -> RunningServer:
        port = free_port() if port is None else port
        log_path = tmp_path / f"process-{len(started)}.log"
        environment = os.environ | {"PORT": str(port), "MODELS": str(models_toml)} | variables
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        started.append(RunningServer(process, port, log_path))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.terminate()
            try:
                server.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                server.process.kill()
        server.process.wait()


def wait_until(condition: Callable[[], object], server: RunningServer, timeout_s: float = WAIT_S) -> None:
    """Return when the condition holds; fail with the log where it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, server.log
        time.sleep(0.05)


def replaced(text: str, **changes: str) -> str:
    """The text with each old part, which must be there, in its new form."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


# systemd


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with this repository in place of /opt/vits-speak."""
    path = tmp_path / "vits-speak.service"
    path.write_text(replaced((DEPLOY / "vits-speak.service").read_text(), **{"/opt/vits-speak": str(ROOT)}))
    return path


def test_systemd_accepts_the_unit(needs_program: NeedsProgram, unit: Path) -> None:
    analyze = needs_program("systemd-analyze", "systemd")
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_the_unit_little_exposed(needs_program: NeedsProgram, unit: Path) -> None:
    analyze = needs_program("systemd-analyze", "systemd")
    command = [analyze, "security", "--offline=true", "--no-pager", "--threshold=10", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("systemd-analyze is older than version 250")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_sets_what_run_sh_sets() -> None:
    script = (ROOT / "run.sh").read_text()
    unit = dict(re.findall(r"^Environment=(\w+)=(.*)$", (DEPLOY / "vits-speak.service").read_text(), re.M))
    defaults = dict(re.findall(r'^: "\$\{(\w+):=(.*)\}"$', script, re.M))
    exported = re.findall(r"^export (.*)$", script, re.M)[0].split()
    assert set(exported) <= unit.keys()
    assert {name: unit[name] for name in defaults if name != "TORCH_INDEX"} == {
        name: value for name, value in defaults.items() if name != "TORCH_INDEX"
    }


def test_the_unit_waits_longer_than_requests_are_given() -> None:
    unit = (DEPLOY / "vits-speak.service").read_text()
    grace, stop = (re.search(rf"{name}=(\d+)", unit) for name in ("GRACE_S", "TimeoutStopSec"))
    assert grace
    assert stop
    assert int(stop[1]) > int(grace[1])


# Gunicorn


@pytest.fixture
def gunicorn(start_process: StartProcess) -> Callable[..., RunningServer]:
    """Starts Gunicorn with its settings from deploy/, and waits until its worker is ready."""

    def start(**variables: str) -> RunningServer:
        command = [sys.executable, "-m", "gunicorn", "--config", DEPLOY / "gunicorn.conf.py"]
        server = start_process(*command, **variables)
        server.wait_until_ready()
        return server

    return start


def test_gunicorns_worker_has_the_capacities_and_the_allocator(gunicorn: Callable[..., RunningServer]) -> None:
    name = ctypes.util.find_library("jemalloc")
    server = gunicorn(LD_PRELOAD=name or "")
    assert server.health["onednn_primitive_cache_capacity"] == "512"
    assert server.health["lru_cache_capacity"] == "1"
    assert server.health["allocator"] == ("jemalloc" if name else "glibc")
    assert "In force: allocator" in server.log
    assert len(workers(server)) == 1
    assert server.process.pid not in workers(server)


def test_gunicorn_passes_on_the_capacities_that_it_was_given(gunicorn: Callable[..., RunningServer]) -> None:
    server = gunicorn(ONEDNN_PRIMITIVE_CACHE_CAPACITY="64", LRU_CACHE_CAPACITY="2")
    assert server.health["onednn_primitive_cache_capacity"] == "64"
    assert server.health["lru_cache_capacity"] == "2"


def test_a_hang_up_starts_a_new_worker_and_lets_the_old_one_finish(gunicorn: Callable[..., RunningServer]) -> None:
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


def test_gunicorn_told_to_stop_finishes_what_is_under_way(gunicorn: Callable[..., RunningServer]) -> None:
    server = gunicorn(GRACE_S=str(WAIT_S))
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(speak, server, LONG_TEXT)
        wait_until(lambda: server.get_json("/health")[1]["waiting"], server)
        server.process.terminate()
        assert server.process.wait(2 * WAIT_S) == 0
        assert answer.result().startswith(b"RIFF")
    assert "Traceback" not in server.log


def test_settings_that_cannot_be_right_end_gunicorn(start_process: StartProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "--config", DEPLOY / "gunicorn.conf.py"]
    server = start_process(*command, MODELS=str(tmp_path / "none.toml"))
    assert server.process.wait(WAIT_S) == 3
    assert "none.toml: expected the file that lists the models; there is none" in server.log


def test_gunicorn_logs_no_text(gunicorn: Callable[..., RunningServer]) -> None:
    server = gunicorn()
    assert speak(server, "my+secret").startswith(b"RIFF")
    assert server.get_json("/speak?text=my+secret&speaker=nobody")[0] == 404
    with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as client:
        client.sendall(b"GET /speak?text=my secret HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert '"GET /speak HTTP/1.1" 200' in server.log
    assert "secret" not in server.log


def test_gunicorns_own_access_log_would_hold_no_text_either() -> None:
    settings: dict[str, Any] = {"__file__": str(DEPLOY / "gunicorn.conf.py")}
    exec((DEPLOY / "gunicorn.conf.py").read_text(), settings)
    fields = re.findall(r"%\((.*?)\)s", settings["access_log_format"])
    assert fields
    assert not {"r", "q", "f"} & set(fields)  # the request line, the query, the page that it came from


def workers(server: RunningServer) -> set[int]:
    """The process ids of the children."""
    pid = server.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def speak(server: RunningServer, text: str) -> bytes:
    """The answer of the small voice that has a single speaker."""
    with urlopen(f"{server.url}/speak?text={text}&speaker=solo", timeout=2 * WAIT_S) as response:
        sound: bytes = response.read()
        return sound


# Containers


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is missing: .venv/bin/pip install -r requirements-test.txt")
    done = subprocess.run(
        [hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_all_that_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = [
        name.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.M)
        for name in line.split()[:-1]
    ]
    kept = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert name in kept


# nginx


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
def nginx(needs_program: NeedsProgram, start_process: StartProcess, tmp_path: Path) -> Callable[[int], RunningServer]:
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


def test_nginx_passes_sound_on_before_there_is_all_of_it(
    nginx: Callable[[int], RunningServer], upstream: Upstream
) -> None:
    proxy = nginx(upstream.listener.getsockname()[1])
    client = HTTPConnection("127.0.0.1", proxy.port, timeout=WAIT_S)
    client.request("GET", "/speak?text=Hello.&stream=true")
    response = client.getresponse()
    assert response.read(5) == b"first"
    upstream.may_finish.set()
    assert response.read() == b"second"
    client.close()


def test_nginx_leaves_ranges_and_keys_as_they_are(nginx: Callable[[int], RunningServer], upstream: Upstream) -> None:
    upstream.status = "206 Partial Content"
    upstream.may_finish.set()
    proxy = nginx(upstream.listener.getsockname()[1])
    sent = {"Range": "bytes=0-10", "If-Range": '"tag"', "If-None-Match": '"tag"', "Authorization": "Bearer key"}
    request = Request(
        f"{proxy.url}/speak?text=a%2Fb&key=k", headers={**sent, "X-Forwarded-For": "9.9.9.9", "Host": "voice.example"}
    )
    with urlopen(request, timeout=WAIT_S) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == "bytes 0-10/20"
        assert response.read() == b"firstsecond"
    line, *fields = upstream.request.decode().rstrip().split("\r\n")
    assert line == "GET /speak?text=a%2Fb&key=k HTTP/1.1"
    received = {name.lower(): value for name, _, value in (entry.partition(": ") for entry in fields)}
    assert {name: received[name.lower()] for name in sent} == sent
    assert received["host"] == received["x-forwarded-host"] == "voice.example"
    assert received["x-forwarded-for"] == "127.0.0.1"
    assert received["x-forwarded-proto"] == "http"


def test_nginx_speaks_for_the_server_with_queries_as_long_as_its_own(
    nginx: Callable[[int], RunningServer], start_server: StartServer
) -> None:
    server = start_server()
    proxy = nginx(server.port)
    assert speak(proxy, quote("你好。Hello. " * 180)) == speak(server, quote("你好。Hello. " * 180))
    with urlopen(proxy.url + "/metrics", timeout=30) as response:
        assert b"speak_cache_bytes" in response.read()


def test_nginx_streams_for_the_server_while_it_computes(
    nginx: Callable[[int], RunningServer], start_server: StartServer
) -> None:
    server = start_server()
    assert_sound_comes_before_its_end(nginx(server.port), server)


def test_nginx_passes_parts_of_the_servers_recordings(
    nginx: Callable[[int], RunningServer], start_server: StartServer
) -> None:
    proxy = nginx(start_server().port)
    whole = speak(proxy, "Hello.")
    request = Request(f"{proxy.url}/speak?text=Hello.&speaker=solo", headers={"Range": "bytes=4-11"})
    with urlopen(request, timeout=WAIT_S) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 4-11/{len(whole)}"
        assert response.read() == whole[4:12]


def test_nginx_passes_the_servers_key(nginx: Callable[[int], RunningServer], start_server: StartServer) -> None:
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


def test_nginx_refuses_a_body_that_no_text_needs(nginx: Callable[[int], RunningServer]) -> None:
    proxy = nginx(free_port())
    request = Request(f"{proxy.url}/speak", data=b"x" * 70_000)
    with pytest.raises(HTTPError) as refused:
        urlopen(request, timeout=WAIT_S)
    refused.value.close()
    assert refused.value.code == 413


def test_nginx_logs_no_text_even_where_nobody_answers(
    nginx: Callable[[int], RunningServer], start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    assert speak(nginx(server.port), "my+secret").startswith(b"RIFF")
    with pytest.raises(HTTPError) as failed:
        speak(nginx(free_port()), "my+secret")
    failed.value.close()
    assert failed.value.code == 502
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert '"GET /speak" 200' in logs["vits-speak.access.log"]
    assert '"GET /speak" 502' in logs["vits-speak.access.log"]
    assert [name for name, log in logs.items() if "secret" in log] == []


# Ray Serve


class Answer(NamedTuple):
    """What came of one request to Ray Serve."""

    started: float
    status: int
    replica: str | None
    sound: bytes


needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is missing: .venv/bin/pip install -r requirements-ray.txt"
)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs, and its sockets, whose paths must be short."""
    path = Path(tempfile.mkdtemp(prefix="ray"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def ray_serve(
    start_process: StartProcess, models_toml: Path, tmp_path: Path, ray_folder: Path
) -> Iterator[RunningServer]:
    """Two replicas of the small voices on a Ray of their own."""
    port = free_port()
    arguments = {"models": str(models_toml), "threads": 1, "min_replicas": 2, "max_replicas": 2}
    application = {
        "name": "speak",
        "route_prefix": "/",
        "import_path": "deploy.ray_serve:app",
        "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}},
        "args": arguments,
    }
    config = tmp_path / "serve.json"
    config.write_text(json.dumps({"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}))
    server = start_process(
        Path(sys.executable).with_name("serve"),
        "run",
        config,
        port=port,
        RAY_TMPDIR=str(ray_folder),
        RAY_AUTH_MODE="disabled",
        RAY_USAGE_STATS_ENABLED="0",
        RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S="60",  # 5 are not enough on a busy machine
        RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S="60",
    )
    wait_until(lambda: serves(server) or server.process.poll() is not None, server, RAY_START_S)
    server.wait_until_ready()
    yield server
    server.process.send_signal(signal.SIGINT)
    server.process.wait(2 * WAIT_S)


def serves(server: RunningServer) -> bool:
    """Whether it answers as the application does; before that Ray Serve says in plain text that it is not there."""
    try:
        with urlopen(server.url + "/health", timeout=WAIT_S):
            return True
    except OSError:
        return False


def ask(server: RunningServer, text: str) -> Answer:
    """One request, whatever comes of it."""
    started = time.monotonic()
    try:
        with urlopen(f"{server.url}/speak?text={quote(text)}&speaker=solo", timeout=2 * WAIT_S) as response:
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


@needs_ray
def test_replicas_stream_while_they_compute(ray_serve: RunningServer) -> None:
    client = HTTPConnection("127.0.0.1", ray_serve.port, timeout=2 * WAIT_S)
    client.request("GET", f"/speak?text={LONG_TEXT}&speaker=solo&stream=true&length_scale=4")
    response = client.getresponse()
    assert response.read(4) == b"RIFF"
    # One of the replicas is under way with it, and stops when its listener leaves.
    health = [ray_serve.get_json("/health")[1]["waiting"] for _ in range(20)]
    assert 1 in health
    client.close()
    wait_until(lambda: all(not ray_serve.get_json("/health")[1]["waiting"] for _ in range(20)), ray_serve)


@needs_ray
def test_replicas_serve_and_one_that_is_killed_is_replaced(ray_serve: RunningServer, ray_folder: Path) -> None:
    assert ray_serve.health["allocator"] == ("jemalloc" if ctypes.util.find_library("jemalloc") else "glibc")
    assert ray_serve.health["onednn_primitive_cache_capacity"] == "512"
    assert ray_serve.health["lru_cache_capacity"] == "1"
    assert ray_serve.health["threads"] == 1
    before = replicas(ray_serve.process.pid)
    assert len(before) == 2

    answers: list[Answer] = []
    over = threading.Event()

    def load(client: int) -> None:
        while not over.is_set():
            answers.append(ask(ray_serve, f"my secret {client} {len(answers)}. " + "It takes its time. " * 20))

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
    logs = [path for path in ray_folder.rglob("*") if path.suffix in (".log", ".out", ".err")]
    assert any(b"/speak" in path.read_bytes() or b"GET /" in path.read_bytes() for path in logs)
    assert [path for path in logs if b"secret" in path.read_bytes()] == []
    assert "secret" not in ray_serve.log


# Capacity


def test_the_tables_in_the_readme_are_those_of_the_measured_figures() -> None:
    readme = (DEPLOY / "README.md").read_text()
    assert Plan().summary() in readme
    assert Plan().table() in readme


def test_replicas_follow_the_formula() -> None:
    model = Model("half of real time", 0.5, 100)
    plan = Plan(utilisation=0.5, spoken_to=0.4, cached=0.5, price=1.0)
    assert plan.streams(model) == pytest.approx(2.5)
    assert [plan.replicas(model, listeners) for listeners in (1, 5, 6, 1000)] == [1, 1, 2, 200]
    assert plan.hour_of_speech(model) == pytest.approx(2.0)


# The pages


def test_every_page_is_linked_and_every_link_leads_somewhere() -> None:
    pages = sorted(DEPLOY.glob("*.md"))
    linked = {
        (page.parent / target).resolve()
        for page in (*pages, ROOT / "README.md")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    }
    assert [page.name for page in pages if page not in linked] == []
    assert [path for path in linked if not path.exists()] == []
