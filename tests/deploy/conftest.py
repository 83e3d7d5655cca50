"""What the tests of deploy/ share: processes that are started as their users start them, and clients."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT, RunningServer, free_port
from tests.waiting import WAIT_S

DEPLOY = ROOT / "deploy"
LONG_TEXT = quote("This sentence is here to take its time. " * 40)

NeedsProgram = Callable[[str, str], str]
StartProcess = Callable[..., RunningServer]


@pytest.fixture
def start_process(tmp_path: Path, models_toml: Path) -> Iterator[StartProcess]:
    """Starts a command that serves the small voices on the port in its environment; all of them end with the test."""
    with running_processes(tmp_path, models_toml) as start:
        yield start


@contextmanager
def running_processes(folder: Path, models_toml: Path) -> Iterator[StartProcess]:
    """What starts a command in `folder`, where its log is too; all that were started end with the context."""
    started: list[RunningServer] = []

    def start(*command: str | Path, port: int | None = None, **variables: str) -> RunningServer:
        port = free_port() if port is None else port
        log_path = folder / f"process-{len(started)}.log"
        environment = os.environ | {"PORT": str(port), "MODELS": str(models_toml)} | variables
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        started.append(RunningServer(process, port, log_path))
        return started[-1]

    try:
        yield start
    finally:
        for server in started:
            end(server.process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the process, by force where it takes long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def replaced(text: str, **changes: str) -> str:
    """The text with each old part, which must be there, in its new form."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def speak(server: RunningServer, text: str) -> bytes:
    """The answer of the small voice that has a single speaker."""
    with urlopen(f"{server.url}/speak?text={text}&speaker=solo", timeout=2 * WAIT_S) as response:
        sound: bytes = response.read()
        return sound
