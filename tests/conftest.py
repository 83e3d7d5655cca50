"""What the tests share: system programs that may be missing, small voices, and real servers started by run.sh."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
SMALL_VOICES = ROOT / "tests/golden/network"
START_TIMEOUT_S = 240
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def needs_program() -> Callable[[str, str], str]:
    """A system program's path; without it the test skips, or fails where CI=true says that everything is there."""

    def find(name: str, package: str) -> str:
        path = shutil.which(name)
        if path is None:
            reason = f"{name} is missing: apt install {package}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find


@pytest.fixture(scope="module")
def browser(needs_program: Callable[[str, str], str]) -> Iterator["Browser"]:
    """Debian's Chromium, one for all tests of a module. Sound needs a gesture there, as it does for people."""
    chromium = needs_program("chromium", "chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tensors as small as the tests', threads cost more than they bring, above all on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def models_toml(tmp_path: Path) -> Path:
    """Two small voices that are loaded and one that is not."""
    return write_models(tmp_path)


def write_models(folder: Path, *server_lines: str) -> Path:
    """A models.toml of two small voices that are loaded and one that is not."""
    path = folder / "models.toml"
    path.write_text(
        "\n".join(("[server]", "threads = 1", *server_lines, ""))
        + model_table("trio", "multi_speaker_sdp")
        + model_table("solo", "single_speaker_dp_resblock2")
        + model_table("idle", "speaker_list_sdp", "load = false")
    )
    return path


def model_table(name: str, voice: str, *lines: str) -> str:
    """A [[models]] table for one of the small voices."""
    folder = SMALL_VOICES / voice
    files = (f'checkpoint = "{folder / "G_latest.pth"}"', f'config = "{folder / "config.json"}"')
    return "\n".join(("[[models]]", f'name = "{name}"', *files, *lines, ""))


@dataclass
class RunningServer:
    """A process of ./run.sh."""

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path
    health: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """Everything it printed."""
        return self.log_path.read_text()

    def get_json(self, path: str) -> tuple[int, Any]:
        """The status and the JSON of a GET."""
        try:
            with urlopen(self.url + path, timeout=30) as response:
                return response.status, json.load(response)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def wait_until_ready(self) -> None:
        """Return when /health says ready; fail when the process ends before."""
        for _ in range(round(START_TIMEOUT_S / 0.1)):  # counted as in tests/waiting.py
            assert self.process.poll() is None, self.log
            try:
                status, self.health = self.get_json("/health")
                if status == 200:
                    return
            except (URLError, ConnectionError):
                pass
            time.sleep(0.1)
        pytest.fail(f"not ready in {START_TIMEOUT_S} s:\n{self.log}")


def head_in_segments(port: int, target: str) -> int:
    """The status of a HEAD request whose bytes arrive little by little."""
    request = f"HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), START_TIMEOUT_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for start in range(0, len(request), 1000):
            client.sendall(request[start : start + 1000])
            time.sleep(0.002)  # so that they are not joined on their way
        return int(client.recv(1000).split()[1])


PORTS = itertools.count(20000 + 2000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
"""Below those that the system picks from, and others in each of the processes that run tests."""


def free_port() -> int:
    """A port that nobody listens at, and that no other test is given."""
    for port in PORTS:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


StartServer = Callable[..., RunningServer]


@pytest.fixture
def start_server(tmp_path: Path, models_toml: Path) -> Iterator[StartServer]:
    """Starts ./run.sh with the small voices on a free port; all that were started end with the test."""
    with running_servers(tmp_path, models_toml) as start:
        yield start


@contextmanager
def running_servers(folder: Path, models_toml: Path) -> Iterator[StartServer]:
    """What starts ./run.sh on a free port, with its log in `folder`; all that were started end with the context."""
    started: list[RunningServer] = []

    def start(*arguments: str, ready: bool = True, descriptors: int | None = None, **variables: str) -> RunningServer:
        port = free_port()
        log_path = folder / f"server-{len(started)}.log"
        environment = os.environ | {"PORT": str(port), "MODELS": str(models_toml)} | variables
        with log_path.open("wb") as log:
            limit = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}"]
            command = [*limit, str(ROOT / "run.sh"), *arguments]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        server = RunningServer(process, port, log_path)
        started.append(server)
        if ready:
            server.wait_until_ready()
        return server

    try:
        yield start
    finally:
        for server in started:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGKILL)
            server.process.wait()
