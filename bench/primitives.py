"""What oneDNN has to compile: python -m bench.primitives.

oneDNN itself says (ONEDNN_VERBOSE=profile_create) each time that it makes a primitive which its cache did not have.
They are counted while a voice warms up as the server does it, and while it then speaks 50 utterances of different
lengths, 20 to 240 symbols. Ours is to need none by then; the original's way needs new ones for every length.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.full_size import lengths, symbol_ids, voice_files, write_model
from bench.report import arguments, table, write
from bench.serving import run_sh_defaults

if TYPE_CHECKING:
    from vits import Voice

LEAST, MOST = 20, 240
PHASES = ("warm-up", "new lengths")
MARK = "phase: "
MADE = ",create:cache_miss,"
FOUND = ",create:cache_hit,"


def speak(kind: str, folder: Path, count: int, threads: int) -> None:
    """Warm up and speak, printing a line where each phase begins; oneDNN prints the others."""
    import torch

    from bench import original
    from vits import load_voice, warm_up

    torch.set_num_threads(threads)
    load: Callable[..., Voice] = load_voice if kind == "ours" else original.load_voice
    voice = load(*voice_files(folder), "float32")

    print(MARK + PHASES[0], flush=True)
    warm_up(voice, speaker=0)
    print(MARK + PHASES[1], flush=True)
    for length in lengths(count, LEAST, MOST):
        for _ in voice.stream(symbol_ids(length, 40), seed=length):
            pass


def made(kind: str, folder: Path, count: int, threads: int) -> dict[str, list[str]]:
    """Return the primitives that oneDNN made in each phase."""
    environment = os.environ | run_sh_defaults() | {"ONEDNN_VERBOSE": "profile_create"}
    command = [sys.executable, "-m", "bench.primitives", "--child", kind, "--voice", str(folder)]
    command += ["--lengths", str(count), "--threads", str(threads)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return by_phase(done.stdout.splitlines())


def by_phase(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return the primitives made in each phase, from oneDNN's lines and ours."""
    phases: dict[str, list[str]] = {phase: [] for phase in PHASES}
    phase, found = "", 0
    for line in lines:
        if line.startswith(MARK):
            phase = line.removeprefix(MARK)
        elif MADE in line and phase:
            phases[phase].append(line.partition(MADE)[2].rpartition(",")[0])
        found += FOUND in line
    if not found:
        raise SystemExit("oneDNN said nothing of its cache; another version may say it in other words")
    return phases


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--lengths", type=int, default=50)
    parser.add_argument("--child", help="ours or original: speak, in this process")
    options = parser.parse_args()
    if options.child:
        speak(options.child, options.voice, options.lengths, options.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.voice is None:
            write_model(Path(folder))
        voice = options.voice or Path(folder)
        results = {kind: made(kind, voice, options.lengths, options.threads) for kind in ("ours", "original")}
    rows = [(kind, *(len(phases[phase]) for phase in PHASES)) for kind, phases in results.items()]
    print(table(("primitives made in", *PHASES), rows))
    write("primitives", results, options.out)


if __name__ == "__main__":
    main()
