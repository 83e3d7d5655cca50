"""Measure a shipped English voice against its teacher: `python -m training.evaluate slt`.

Prints the word error rates of pocketsphinx over the sentences of held_out.txt, none of which is in the corpus, and
writes a picture of one sentence's spectrograms to the voice's folder.
"""

import argparse
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.export import VOICES
from training.losses import magnitudes
from training.recipes import RECIPES, Recipe
from training.teachers import speak

HELD_OUT = Path(__file__).parent / "held_out.txt"
MODELS = Path(__file__).parent.parent / "models.toml"
PICTURED = "Hello from two small cores."


def words(text: str) -> list[str]:
    """Return the lower-case words of a text."""
    return re.findall(r"[a-z']+", text.lower())


def word_errors(said: list[str], heard: list[str]) -> int:
    """Return the fewest insertions, deletions and substitutions between two lists of words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def recognize(samples: np.ndarray) -> str:
    """Return what pocketsphinx hears in samples float [n] at 16 kHz, with its own US English model."""
    from pocketsphinx import Decoder

    decoder: Any = Decoder(samprate=16000, loglevel="FATAL")
    decoder.start_utt()
    silence = np.zeros(4800, np.float32)
    loud = samples / max(float(np.abs(samples).max()), 1e-3) * 0.5
    audio = (np.concatenate([silence, loud, silence]) * 32767).astype(np.int16)
    decoder.process_raw(audio.tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


def error_rate(synthesize: Callable[[str], np.ndarray], sentences: list[str], label: str, verbose: bool) -> float:
    """Return the word error rate over sentences, and print it."""
    errors, total, seconds = 0, 0, 0.0
    for sentence in sentences:
        samples = synthesize(sentence)
        heard = recognize(samples)
        errors += word_errors(words(sentence), words(heard))
        total += len(words(sentence))
        seconds += len(samples) / 16000
        if verbose:
            print(f"  {sentence}  ->  {heard}", flush=True)
    print(f"{label}: word error rate {errors / total:.3f} over {total} words, {seconds:.1f} s of speech", flush=True)
    return errors / total


def our_voice(name: str, folder: Path) -> Callable[[str], np.ndarray]:
    """Return a function that speaks a sentence with a voice's shipped files, as models.toml has it speak."""
    from vits import load_voice

    voice = load_voice(folder / "G.pth", folder / "config.json", precision="float32")
    tables = tomllib.loads(MODELS.read_text("utf-8"))["models"]
    table: dict[str, Any] = next((table for table in tables if table["name"] == name), {})
    scales = {key: table[key] for key in ("noise_scale", "noise_scale_w", "length_scale") if key in table}

    def synthesize(text: str) -> np.ndarray:
        return np.concatenate(list(voice.stream(voice.ids(text, lang="en"), **scales)))

    return synthesize


def picture(recipe: Recipe, ours: Callable[[str], np.ndarray], path: Path) -> None:
    """Write the spectrograms of one sentence, the teacher's above ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    teacher = recipe.teachers[recipe.name]
    figure, axes = pyplot.subplots(2, 1, figsize=(11, 9), layout="constrained")
    spoken = {
        f"{teacher.synthesizer} {teacher.voice} (teacher)": speak(teacher, PICTURED, recipe.sample_rate_hz).samples,
        recipe.name: ours(PICTURED),
    }
    for axis, (title, samples) in zip(axes, spoken.items(), strict=True):
        decibels = 20 * magnitudes(torch.from_numpy(samples)[None], 1024, 128)[0].log10().numpy()
        extent = (0, len(samples) / recipe.sample_rate_hz, 0, recipe.sample_rate_hz / 2000)
        axis.imshow(decibels, origin="lower", aspect="auto", vmin=-40, vmax=35, extent=extent)
        axis.set(title=f"{title}: {PICTURED}", ylabel="kHz")
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure one voice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", choices=sorted(RECIPES))
    parser.add_argument("--verbose", action="store_true", help="print what was heard")
    parser.add_argument("--folder", type=Path, help="the voice's folder (default: the shipped one)")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.voice]
    folder = arguments.folder or VOICES / recipe.name
    sentences = HELD_OUT.read_text("utf-8").splitlines()
    ours = our_voice(recipe.name, folder)
    teacher = recipe.teachers[recipe.name]
    label = f"{teacher.synthesizer} {teacher.voice}"
    error_rate(lambda text: speak(teacher, text, 16000).samples, sentences, label, arguments.verbose)
    error_rate(ours, sentences, recipe.name, arguments.verbose)
    picture(recipe, ours, folder / "spectrogram.png")


if __name__ == "__main__":
    main()
