"""What a model is, or why it cannot be used: python -m vits.check PATH [TEXT].

TEXT is spoken into a WAV file beside it. PATH is a checkpoint or a folder, in any format that vits/formats reads; its
config is found as the server finds it.
"""

import argparse
import sys
import time
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vits.errors import VitsError
from vits.voice import Voice, load_voice

EXIT_UNUSABLE = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the model is, and speak; return the exit status."""
    parser = argparse.ArgumentParser(prog="./run.sh check", description="What a model is, or why it cannot be used.")
    parser.add_argument("path", type=Path, help="a checkpoint, or a folder with one")
    parser.add_argument("text", nargs="?", help="what it shall say, into a WAV file beside it")
    parser.add_argument("--config", type=Path, help="its config, where it is not beside the checkpoint")
    options = parser.parse_args(arguments)
    try:
        started = time.perf_counter()
        voice = load_voice(options.path, options.config)
        print(described(voice, time.perf_counter() - started))
        for warning in voice.warnings:
            print(f"Warning: {warning}", file=sys.stderr)
        if voice.missing_packages:
            print(f"Needs: pip install {' '.join(voice.missing_packages)}", file=sys.stderr)
        if options.text is not None:
            print(f"Written: {spoken(voice, options.text, options.path)}")
    except (VitsError, OSError) as error:
        print(f"Cannot be used: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_UNUSABLE
    return 0


def described(voice: Voice, seconds: float) -> str:
    """Return what a voice is, a line each."""
    names = list(voice.speakers)
    speakers = "1" if not names else f"{len(names)}: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"
    defaults = ", ".join(f"{name} {value:g}" for name, value in voice.defaults.items())
    rows = {
        "Family": voice.family,
        "Files": ", ".join(map(str, voice.files)),
        "Speakers": speakers,
        "Languages": ", ".join(voice.languages),
        "Text": voice.cleaner,
        "Rate": f"{voice.sample_rate_hz} Hz",
        "Parameters": f"{voice.parameter_count / 1e6:.1f} million",
        "Memory": f"{voice.parameter_bytes / 1e6:.0f} MB, the decoder in {voice.precision}",
        "Loaded in": f"{seconds:.2f} s",
        "Defaults": defaults,
        "Licence": voice.license or "its files do not say",
        "Source": voice.source or "its files do not say",
    }
    return "\n".join(f"{name + ':':<12}{value}" for name, value in rows.items())


def spoken(voice: Voice, text: str, path: Path) -> Path:
    """Return the WAV file that a text was spoken into, beside the model."""
    target = path / f"{path.resolve().name}.wav" if path.is_dir() else path.with_suffix(".wav")
    noise, noise_w, length = (voice.defaults[name] for name in ("noise_scale", "noise_scale_w", "length_scale"))
    parts: list[NDArray[np.float32]] = []
    for sentence in voice.prepare(text).sentences:
        parts += voice.stream(sentence.ids, voice.default_speaker, noise, noise_w, length)
        parts.append(np.zeros(round(sentence.pause_s * voice.sample_rate_hz), np.float32))
    samples = np.concatenate(parts)
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(voice.sample_rate_hz)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return target


if __name__ == "__main__":
    raise SystemExit(main())
