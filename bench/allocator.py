"""Memory and time of the real server under several allocator settings: python -m bench.allocator [requests].

Each row is a server of its own, started by run.sh with one full-size model, and asked for sentences of 10 to 160
characters, each length different from the last. Times on a busy machine say little; memory does.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from bench.full_size import write_settings

ROOT = Path(__file__).resolve().parent.parent
JEMALLOC = "narenas:2,background_thread:true"
CASES = {
    "glibc": {"LD_PRELOAD": ""},
    "jemalloc as it comes": {"MALLOC_CONF": ""},
    "jemalloc, 2 arenas, decay 1 s": {"MALLOC_CONF": f"{JEMALLOC},dirty_decay_ms:1000,muzzy_decay_ms:1000"},
    "jemalloc, 2 arenas, decay 5 s": {"MALLOC_CONF": f"{JEMALLOC},dirty_decay_ms:5000,muzzy_decay_ms:5000"},
    "jemalloc, 2 arenas, decay 30 s": {"MALLOC_CONF": f"{JEMALLOC},dirty_decay_ms:30000,muzzy_decay_ms:30000"},
}
SENTENCE = "the quick brown fox jumps over a lazy dog while seven small children watch from an old wooden bridge"


def texts(count: int) -> list[str]:
    """Return sentences of many lengths, the same at every call."""
    source, words = random.Random(0), SENTENCE.split()
    return [" ".join(source.choices(words, k=source.randint(2, 30))) + "." for _ in range(count)]


def resident_mb(pid: int) -> float:
    """Return a process's resident memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def start(settings: Path, variables: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    """Return a ready server and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = os.environ | {"PORT": port, "MODELS": str(settings)} | variables
    server = subprocess.Popen([ROOT / "run.sh", "--log-level", "error"], env=environment)
    url = f"http://127.0.0.1:{port}"
    while server.poll() is None:
        try:
            urlopen(url + "/health").close()
            return server, url
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def measure(settings: Path, variables: dict[str, str], count: int) -> dict[str, float]:
    """Return one row: memory when ready, half-way and at the end, and seconds of compute per second of audio."""
    server, url = start(settings, variables)
    memory, factors = [resident_mb(server.pid)], []
    try:
        for text in texts(count):
            started = time.perf_counter()
            with urlopen(f"{url}/speak?{urlencode({'text': text, 'lang': 'en'})}") as response:
                seconds = (len(response.read()) - 44) / 2 / 22050
            factors.append((time.perf_counter() - started) / seconds)
            memory.append(resident_mb(server.pid))
    finally:
        server.terminate()
        server.wait()
    return {
        "ready_mb": memory[0],
        "half_mb": memory[count // 2],
        "end_mb": memory[-1],
        "peak_mb": max(memory),
        "rtf": statistics.median(factors),
    }


def main() -> None:
    """Print a row for every case."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print("| allocator | ready, MB | half-way | end | peak | RTF, median |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        settings = write_settings(Path(folder))
        for name, variables in CASES.items():
            row = measure(settings, variables, count)
            figures = " | ".join(f"{row[key]:.0f}" for key in ("ready_mb", "half_mb", "end_mb", "peak_mb"))
            print(f"| {name} | {figures} | {row['rtf']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
