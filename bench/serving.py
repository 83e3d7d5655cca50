"""The real server as the programs start, ask and watch it."""

from __future__ import annotations

import ctypes.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from bench.report import ROOT, resident_bytes
from deploy.defaults import defaults

CONTROL_GROUPS = Path("/sys/fs/cgroup")
POLL_S = 0.02
WAV_HEADER_BYTES = 44


@dataclass(frozen=True)
class Server:
    """A ready server."""

    pid: int
    """Its process, which is the only one."""
    port: int
    """Where it answers, on 127.0.0.1."""
    ready_s: float
    """From its start to the first 200 of /health."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def resident_mb(self) -> float:
        """Its resident memory now."""
        return resident_bytes(self.pid) / 1e6

    @property
    def peak_mb(self) -> float:
        """The most that its resident memory ever was, loading included."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def health(self) -> dict[str, object]:
        """What /health says."""
        with urlopen(self.url + "/health") as response:
            report: dict[str, object] = json.load(response)
        return report

    def speak(self, **parameters: object) -> tuple[float, float]:
        """Return the seconds that a request took, and the seconds of sound that it gave."""
        started = time.perf_counter()
        with urlopen(f"{self.url}/speak?{urlencode(parameters)}") as response:
            sound = response.read()
        took_s = time.perf_counter() - started
        return took_s, (len(sound) - WAV_HEADER_BYTES) / 2 / int.from_bytes(sound[24:28], "little")


@contextmanager
def serve(
    settings: Path, variables: Mapping[str, str] = {}, factory: str | None = None, group: Path | None = None
) -> Iterator[Server]:
    """Run a server until the block ends.

    Args:
        settings: its models.toml.
        variables: its environment, besides this process's.
        factory: the application, where it is another than that of run.sh, which then sets no variables either.
        group: the control group that it lives in, a folder.

    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(ROOT / "run.sh"), "--log-level", "error"]
    if factory is not None:
        command = [sys.executable, "-m", "uvicorn", "--factory", factory, "--port", str(port), "--log-level", "error"]
    if group is not None:
        command = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(group), *command]
    environment = os.environ | {"PORT": str(port), "MODELS": str(settings)} | dict(variables)
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        wait_until_ready(process, port)
        yield Server(process.pid, port, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when /health says ready."""
    while process.poll() is None:
        try:
            urlopen(f"http://127.0.0.1:{port}/health").close()
            return
        except (OSError, HTTPError):
            time.sleep(POLL_S)
    raise SystemExit(f"The server did not start: exit status {process.returncode}")


def jemalloc() -> str:
    """Return the name under which jemalloc can be loaded before anything else."""
    name = ctypes.util.find_library("jemalloc")
    if name is None:
        raise SystemExit("jemalloc is missing: apt install libjemalloc2")
    return name


def run_sh_defaults() -> dict[str, str]:
    """Return what run.sh sets for the server where the environment does not, except the allocator."""
    names = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY", "MALLOC_CONF")
    return {name: value for name, value in defaults().items() if name in names}


@contextmanager
def control_group(controller: str, limits: Mapping[str, int]) -> Iterator[Path]:
    """Make a control group of version 1 with these limits, by their files' names; it goes when it is empty."""
    group = CONTROL_GROUPS / controller / f"vits-bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise SystemExit(
            f"{group} cannot be made: {error.strerror}; it takes root and control groups of version 1"
        ) from None
    try:
        for name, limit in limits.items():
            (group / name).write_text(str(limit))
        yield group
    finally:
        group.rmdir()
