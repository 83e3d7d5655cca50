"""Speed beside the peers, all in one run: python -m bench.speed.

Sixty utterances of 20 to 240 symbols, all lengths different, are spoken by each peer in turn, one at a time, so that
a noisy machine treats them alike: ours in float32 and bfloat16; the original's way (bench/original.py) with oneDNN's
cache as it comes, which leaks, and with the known cure; ONNX Runtime and OpenVINO on an export of the same network. All
get the same noise and must give the same samples, but for OpenVINO in bfloat16, which may find other durations: it is
0 dB like the reference then. Where --voice is a folder with a voice of Piper's, the peers are piper-tts (ONNX Runtime),
streaming-vits and OpenVINO on that voice, and none gets noise. RTF is seconds of computing per second of
audio, the median over utterances.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.full_size import lengths, symbol_ids, voice_files, write_model
from bench.report import arguments, install_extras, progress, say, spread, table, write

LEAST, MOST = 20, 240
PAUSE_S = 0.02
"""Between two turns: threads of the last one that still wait for work in a busy loop come to rest."""
LEAST_SNR_DB = {"ours, bfloat16": 30.0}
LEAST_FLOAT32_SNR_DB = 80.0
OTHER_DURATIONS = ("OpenVINO, bfloat16",)
"""These compute durations in bfloat16 too, so they may speak longer or shorter; their samples are only counted then."""
NOT_COMPARABLE_DB = 0.0
REFERENCE = "original"
COLUMNS = (
    "way of running",
    "RTF",
    "x ONNX Runtime",
    "RTF, all in all",
    "first sound, s",
    "RSS at first, MB",
    "RSS at last, MB",
    "like the reference to, dB",
)


def prepare(folder: Path, count: int, voice: Path | None) -> tuple[list[Path], float]:
    """Return a warm-up utterance and `count` utterances, and seconds a sample; model and export go to the folder."""
    import numpy as np
    import torch

    from bench.onnx_export import export
    from bench.peers import EXPORT, NOISE_SCALE_W
    from vits import load_voice
    from vits.checkpoint import load_network
    from vits.config import read_config

    if voice is None:
        write_model(folder)
    else:
        for file in voice_files(voice):
            (folder / file.name).symlink_to(file)
    checkpoint, config = voice_files(folder)
    settings = read_config(config)
    network = load_network(checkpoint, settings)
    say("Exporting to ONNX")
    export(network, folder / EXPORT)
    speaker, files = load_voice(checkpoint, config, "float32"), []
    channels = settings.shape.inter_channels
    for number, length in enumerate((MOST + 1, *lengths(count, LEAST, MOST))):
        ids = symbol_ids(length, len(settings.symbols))
        source = torch.Generator().manual_seed(number)
        duration_noise = torch.randn((1, 2, length), generator=source) * NOISE_SCALE_W
        n_frames = int(speaker.durations(ids, noise_scale_w=NOISE_SCALE_W, seed=number).sum())
        noise = torch.randn((1, channels, n_frames), generator=source)
        files.append(folder / f"{number}.npz")
        arrays = {"ids": ids, "seed": number, "duration_noise": duration_noise.numpy(), "noise": noise.numpy()}
        np.savez(files[-1], allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})
    return files, 1 / settings.sample_rate_hz


def prepare_piper(folder: Path, count: int, export: Path) -> tuple[list[Path], float]:
    """Return the same as prepare, for a voice of Piper's."""
    import numpy as np

    from vits.formats import open_model

    for file in (export, Path(f"{export}.json")):
        (folder / file.name).symlink_to(file)
    settings, _ = open_model(export)
    files, spoken = [], [number for number, symbol in enumerate(settings.symbols) if symbol]
    for number, length in enumerate((MOST + 1, *lengths(count, LEAST, MOST))):
        ids = [spoken[index] for index in symbol_ids(length, len(spoken))]
        files.append(folder / f"{number}.npz")
        np.savez(files[-1], allow_pickle=False, ids=np.asarray(ids))
    return files, 1 / settings.sample_rate_hz


def run(
    folder: Path, files: list[Path], names: list[str], threads: int, reference: str
) -> dict[str, list[dict[str, float]]]:
    """Return what every peer took for every utterance; the first file warms up."""
    from bench.peers import Peer

    peers = [Peer.start(name, folder, threads) for name in names]
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        for peer in peers:
            peer.speak(files[0])
        for number, file in enumerate(files[1:]):
            progress(f"Utterance {number + 1} of {len(files) - 1}")
            first = number % len(peers)
            for peer in peers[first:] + peers[:first]:
                time.sleep(PAUSE_S)
                out = folder / f"{peer.name}.npy"
                taken[peer.name].append(peer.speak(file, out))
            compare(folder, taken, reference)
    finally:
        for peer in peers:
            peer.stop()
    return taken


def compare(folder: Path, taken: dict[str, list[dict[str, float]]], reference: str) -> None:
    """Add how long the last utterance is in samples, and its signal to noise against the reference in decibels."""
    import numpy as np

    expected = np.load(folder / f"{reference}.npy").astype(np.float64)
    for name, rows in taken.items():
        samples = np.load(folder / f"{name}.npy")
        if samples.shape != expected.shape and name in OTHER_DURATIONS:
            rows[-1] |= {"samples": len(samples), "snr_db": NOT_COMPARABLE_DB}
            continue
        if samples.shape != expected.shape:
            raise SystemExit(f"{name} gave {len(samples)} samples where {reference} gave {len(expected)}")
        noise = max(float(np.square(samples - expected).sum()), 1e-30)
        rows[-1] |= {"samples": len(samples), "snr_db": 10 * np.log10(float(np.square(expected).sum()) / noise)}


def summary(rows: list[dict[str, float]], sample_s: float) -> dict[str, float]:
    """Return what stands in the table of one peer."""
    sound_s = [row["samples"] * sample_s for row in rows]
    return {
        "rtf": spread((row["seconds"] / s for row, s in zip(rows, sound_s, strict=True)), 0.5),
        "rtf_in_all": sum(row["seconds"] for row in rows) / sum(sound_s),
        "first_s": spread((row["first_s"] for row in rows), 0.5),
        "first_mb": rows[0]["resident_mb"],
        "last_mb": rows[-1]["resident_mb"],
        "snr_db": min(row["snr_db"] for row in rows),  # beyond all measure for the reference itself
    }


def main() -> None:
    """Print the table."""
    parser = arguments(__doc__)
    parser.add_argument("--utterances", type=int, default=60)
    options = parser.parse_args()
    install_extras()
    from bench import peers, piper_peers
    from vits.voice import has_bfloat16

    export = piper_peers.export_in(options.voice) if options.voice else None
    kinds, reference, onnx_peer = (
        (piper_peers.KINDS, "piper-tts", "piper-tts") if export else (peers.KINDS, REFERENCE, "ONNX Runtime")
    )
    names = [name for name in kinds if has_bfloat16() or "bfloat16" not in name]
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_piper(Path(folder), options.utterances, export) if export else None
        files, sample_s = prepared or prepare(Path(folder), options.utterances, options.voice)
        taken = run(Path(folder), files, names, options.threads, reference)
    results: dict[str, Any] = {name: summary(taken[name], sample_s) if name in taken else None for name in kinds}
    onnx = results[onnx_peer]["rtf"]
    keys = ("rtf_in_all", "first_s", "first_mb", "last_mb", "snr_db")
    rows = [
        (name, row["rtf"], row["rtf"] / onnx, *(row[key] for key in keys))
        if row
        else (name, "not on this CPU", *6 * [""])
        for name, row in results.items()
    ]
    print(table(COLUMNS, rows))
    write("speed", {"summary": results, "utterances": taken}, options.out)
    for name in names:
        if name not in OTHER_DURATIONS and results[name]["snr_db"] < LEAST_SNR_DB.get(name, LEAST_FLOAT32_SNR_DB):
            raise SystemExit(f"{name} computes something else: {results[name]['snr_db']:.0f} dB")


if __name__ == "__main__":
    main()
