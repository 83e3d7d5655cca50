"""The programs that speak Piper's voices, which speed.py compares on one such voice.

All get the same symbol ids, and no noise: each draws it in a way of its own, and without it they must give the same
samples. Noise costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

Utterance = Mapping[str, NDArray[Any]]
Synthesis = Callable[[Utterance], Iterator[NDArray[np.float32]]]


def export_in(folder: Path) -> Path | None:
    """Return the voice of Piper's in a folder, which is its only .onnx with a config beside it; None: it has none."""
    exports = [path for path in sorted(folder.resolve().glob("*.onnx")) if Path(f"{path}.json").is_file()]
    if len(exports) > 1:
        raise SystemExit(f"{folder}: expected one voice of Piper's, and there are {len(exports)}")
    return exports[0] if exports else None


def _export_in(folder: Path) -> Path:
    export = export_in(folder)
    assert export is not None
    return export


def ours(folder: Path, threads: int, precision: str) -> Synthesis:
    """Return synthesis in windows."""
    import torch

    from vits import load_voice

    torch.set_num_threads(threads)
    voice = load_voice(_export_in(folder), None, precision)
    return lambda utterance: voice.stream(utterance["ids"].tolist(), 0, 0.0, 0.0, 1.0)


def piper_tts(folder: Path, threads: int) -> Synthesis:
    """Return synthesis by piper-tts, whole utterances in ONNX Runtime."""
    import json

    import onnxruntime
    from piper import PiperVoice, SynthesisConfig
    from piper.config import PiperConfig

    export = _export_in(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(export, options, providers=["CPUExecutionProvider"])
    config = json.loads(Path(f"{export}.json").read_text(encoding="utf-8"))
    voice = PiperVoice(config=PiperConfig.from_dict(config), session=session)
    settings = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, length_scale=1.0)

    def synthesis(utterance: Utterance) -> Iterator[NDArray[np.float32]]:
        samples = voice.phoneme_ids_to_audio(utterance["ids"].tolist(), settings)
        assert isinstance(samples, np.ndarray)
        yield samples

    return synthesis


def streaming_vits(folder: Path, threads: int) -> Synthesis:
    """Return synthesis by streaming-vits, chunk by chunk in ONNX Runtime, as it comes: with margins decoded again."""
    from streaming_vits.engine import StreamingTTS

    # Its phonemes are not measured, and their libraries would have to be installed.
    with patch("streaming_vits.phonemize.build"):
        engine = StreamingTTS(_export_in(folder), threads=threads, verbose=False, cache=folder / "streaming-vits")
    scales = engine.scales(noise=0.0, length=1.0, noise_w=0.0)

    def synthesis(utterance: Utterance) -> Iterator[NDArray[np.float32]]:
        with patch.object(engine, "phoneme_ids", lambda text: (utterance["ids"][None], 0)):
            for chunk in engine.stream("", scales=scales):
                yield chunk.audio

    return synthesis


def openvino_model(export: Path, threads: int, precision: str) -> Any:
    """Return an export as OpenVINO compiles it for one inference at a time."""
    from openvino import Core

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    return Core().compile_model(export, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})


def openvino(folder: Path, threads: int) -> Synthesis:
    """Return synthesis by OpenVINO, of whole utterances; in bfloat16 it fails on such a voice, for its durations."""
    model = openvino_model(_export_in(folder), threads, "f32")

    def synthesis(utterance: Utterance) -> Iterator[NDArray[np.float32]]:
        inputs = {
            "input": utterance["ids"][None],
            "input_lengths": np.array([utterance["ids"].size]),
            "scales": np.array([0.0, 1.0, 0.0], np.float32),
        }
        yield np.array(model(inputs)[0]).reshape(-1)

    return synthesis


KINDS: Mapping[str, Callable[[Path, int], Synthesis]] = {
    "ours, float32": partial(ours, precision="float32"),
    "ours, bfloat16": partial(ours, precision="bfloat16"),
    "piper-tts": piper_tts,
    "streaming-vits": streaming_vits,
    "OpenVINO, float32": openvino,
}
