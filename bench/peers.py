"""The ways of running one network that speed.py compares, each a process of its own: python -m bench.peers NAME FOLDER.

The folder has checkpoint, config and export, or a voice of Piper's (see piper_peers.py). Each line on standard input is
an utterance as JSON: {"file": its .npz, "out": where the samples go, or null}. Each answer is a line too: {"seconds",
"first_s", "resident_mb"}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import piper_peers
from bench.full_size import voice_files
from bench.report import openvino_python, resident_bytes
from bench.serving import jemalloc, run_sh_defaults

Utterance = Mapping[str, NDArray[Any]]
Synthesis = Callable[[Utterance], Iterator[NDArray[np.float32]]]
NOISE_SCALE = 0.667
NOISE_SCALE_W = 0.8
EXPORT = "export.onnx"


def ours(folder: Path, threads: int, precision: str) -> Synthesis:
    """Return synthesis in windows."""
    import torch

    from vits import load_voice

    torch.set_num_threads(threads)
    voice = load_voice(*voice_files(folder), precision)
    return lambda utterance: voice.stream(
        utterance["ids"].tolist(), 0, NOISE_SCALE, NOISE_SCALE_W, 1.0, seed_of(utterance)
    )


def original(folder: Path, threads: int) -> Synthesis:
    """Return synthesis of whole utterances."""
    import torch

    from bench.original import load_voice

    torch.set_num_threads(threads)
    voice = load_voice(*voice_files(folder))
    return lambda utterance: voice.stream(
        utterance["ids"].tolist(), 0, NOISE_SCALE, NOISE_SCALE_W, 1.0, seed_of(utterance)
    )


def onnx(folder: Path, threads: int) -> Synthesis:
    """Return synthesis by ONNX Runtime, of whole utterances."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(folder / EXPORT, options, providers=["CPUExecutionProvider"])

    def synthesis(utterance: Utterance) -> Iterator[NDArray[np.float32]]:
        inputs = onnx_inputs(utterance)
        known = {argument.name for argument in session.get_inputs()}
        yield session.run(None, {name: value for name, value in inputs.items() if name in known})[0]

    return synthesis


def openvino(folder: Path, threads: int, precision: str) -> Synthesis:
    """Return synthesis by OpenVINO, of whole utterances, from the export that ONNX Runtime has."""
    model = piper_peers.openvino_model(folder / EXPORT, threads, precision)

    def synthesis(utterance: Utterance) -> Iterator[NDArray[np.float32]]:
        inputs = onnx_inputs(utterance)
        known = {name for port in model.inputs for name in port.names}
        yield np.array(model({name: value for name, value in inputs.items() if name in known})[0]).reshape(-1)

    return synthesis


def onnx_inputs(utterance: Utterance) -> dict[str, NDArray[Any]]:
    """Return what the export takes."""
    return {
        "ids": utterance["ids"][None],
        "speaker": np.zeros(1, np.int64),
        "duration_noise": utterance["duration_noise"],
        "noise": utterance["noise"],
        "noise_scale": np.full(1, NOISE_SCALE, np.float32),
    }


def seed_of(utterance: Utterance) -> int:
    """Return the seed that the utterance's noise is drawn from."""
    return int(utterance["seed"])


KINDS: Mapping[str, Callable[[Path, int], Synthesis]] = {
    "ours, float32": partial(ours, precision="float32"),
    "ours, bfloat16": partial(ours, precision="bfloat16"),
    "original": original,
    "original, cured": original,
    "ONNX Runtime": onnx,
    "OpenVINO, float32": partial(openvino, precision="f32"),
    "OpenVINO, bfloat16": partial(openvino, precision="bf16"),
}


def variables(name: str) -> dict[str, str]:
    """Return what stands in a peer's environment: ours as run.sh sets it, the others' as their users have it."""
    if name.startswith("ours"):
        return run_sh_defaults() | {"LD_PRELOAD": jemalloc()}
    if name == "original, cured":
        return {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "0", "LRU_CACHE_CAPACITY": "1", "LD_PRELOAD": jemalloc()}
    return {}


@dataclass
class Peer:
    """A peer's process, as seen from outside."""

    name: str
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, name: str, folder: Path, threads: int) -> Peer:
        """Return a peer, which loads at once."""
        clean = {key: value for key, value in os.environ.items() if key not in run_sh_defaults() | {"LD_PRELOAD": ""}}
        python = openvino_python() if name.startswith("OpenVINO") else sys.executable
        command = [str(python), "-m", "bench.peers", name, str(folder), str(threads)]
        pipe = subprocess.PIPE
        return cls(name, subprocess.Popen(command, env=clean | variables(name), stdin=pipe, stdout=pipe, text=True))

    def speak(self, file: Path, out: Path | None = None) -> dict[str, float]:
        """Return seconds until the end and until the first sound of an utterance, and memory after it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = json.dumps({"file": str(file), "out": None if out is None else str(out)})
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended with exit status {self.process.wait()}")
        answers: dict[str, float] = json.loads(answer)
        return answers

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Answer lines until there are no more."""
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    kinds = piper_peers.KINDS if piper_peers.export_in(folder) else KINDS
    synthesis = kinds[name](folder, threads)
    for line in sys.stdin:
        job = json.loads(line)
        with np.load(job["file"]) as file:
            utterance = dict(file)
        started, first_s, pieces = time.perf_counter(), 0.0, []
        for piece in synthesis(utterance):
            first_s = first_s or time.perf_counter() - started
            pieces.append(piece)
        seconds = time.perf_counter() - started
        if job["out"] is not None:
            np.save(job["out"], np.concatenate(pieces))
        print(json.dumps({"seconds": seconds, "first_s": first_s, "resident_mb": resident_bytes() / 1e6}), flush=True)


if __name__ == "__main__":
    main()
