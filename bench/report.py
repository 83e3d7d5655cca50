"""What the programs share: their extra packages, progress, tables, and results as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service import process as process_facts

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "bench/requirements.txt"
OPENVINO = "openvino==2026.4.1"
"""A peer that stays out of the service's environment."""
RESULTS = ROOT / "bench/results"
LOGGED_EVERY_S = 60.0
_told = time.monotonic()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all programs have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--voice", type=Path, help="a folder with one .pth or .onnx and one .json, in place of a full-size model"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of one inference")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder for results, bench/results if not given")
    return parser


def install_extras() -> None:
    """Install what bench/requirements.txt lists, unless it is there."""
    wanted = [line.split()[0] for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    if not all(installed(*requirement.split("==")) for requirement in wanted):
        say(f"Installing {', '.join(wanted)}")
        command = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "-r",
            str(REQUIREMENTS),
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)


def openvino_python() -> Path:
    """Return the Python of an environment that has OpenVINO and nothing of the service's, made where it is missing."""
    python = ROOT / "bench/.venv/bin/python"
    wanted: list[str] = [OPENVINO, f"numpy=={version('numpy')}"]
    try:
        probe = "from importlib.metadata import version as v; print('openvino==' + v('openvino'))"
        told = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        told = ""
    if told != OPENVINO:
        say(f"Installing {', '.join(wanted)} into bench/.venv")
        subprocess.run([sys.executable, "-m", "venv", "--clear", python.parent.parent], check=True)
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *wanted]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return python


def installed(package: str, wanted: str) -> bool:
    """Whether that version of a package is installed."""
    try:
        return version(package) == wanted
    except PackageNotFoundError:
        return False


def resident_bytes(process: int | str = "self") -> int:
    """Return how much memory this process, or the one with that number, holds; fail where the system does not say."""
    held = process_facts.resident_bytes(process)
    if held is None:
        raise SystemExit("This program needs Linux, which says how much memory a process holds")
    return held


def say(message: str) -> None:
    """Print a line about the progress, apart from the results."""
    print(message, file=sys.stderr, flush=True)


def progress(message: str) -> None:
    """Show how far it is, on one line that the next overwrites; in a log, a line now and then."""
    global _told
    if sys.stderr.isatty():
        print(f"\r\033[K{message}", end="", file=sys.stderr, flush=True)
    elif message and time.monotonic() - _told > LOGGED_EVERY_S:
        say(message)
        _told = time.monotonic()


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; numbers are rounded to what a reader needs."""
    progress("")
    lines = [headers, ["---"] * len(headers), *([shown(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(cell: object) -> str:
    """Return a number with three digits or, from 100 on, without decimals; anything else as it is."""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return "" if cell is None else str(cell)


def write(name: str, results: object, out: Path = RESULTS) -> Path:
    """Write results, and the machine they are from, to NAME.json and return its path."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=1, ensure_ascii=False) + "\n")
    say(f"Written: {path}")
    return path


def machine() -> dict[str, object]:
    """Return what results depend on besides the code; a load beyond the program's own spoils times."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "cpu": cpu.partition(":")[2].strip() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def spread(values: Iterable[float], share: float) -> float:
    """Return the value that this share of all is below or at: 0.5 for the median, 0.95, 1 for the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
