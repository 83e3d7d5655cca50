"""Make a training corpus: sentences, spoken by a teacher, with symbols and their durations.

`python -m training.corpus slt` writes training/runs/slt/corpus.npz. Texts come from Debian's fortunes, speech from
Debian's flite.
"""

import argparse
import functools
import re
import subprocess
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from training.alignment import frames_per_symbol, symbol_starts
from training.recipes import RECIPES, RUNS, Recipe
from vits.text import clean

FORTUNES = Path("/usr/share/games/fortunes")
SILENCE_BEFORE_S = 0.016
SILENCE_AFTER_S = 0.16
WORDS = re.compile(r"[A-Za-z][a-z']*(?:, [A-Za-z][a-z']*|[ -][A-Za-z][a-z']*)*[.!?]")


def sentences(folder: Path = FORTUNES) -> list[str]:
    """Return the distinct plain sentences of 3 to 18 words in a folder of fortunes, in a stable order."""
    found: dict[str, None] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix or not path.is_file():
            continue
        for fortune in path.read_text("utf-8", errors="replace").split("\n%\n"):
            text = re.sub(r"\s+", " ", fortune.split("\t\t--")[0])
            for sentence in re.split(r"(?<=[.!?])\s+", text):
                if 3 <= sentence.count(" ") + 1 <= 18 and WORDS.fullmatch(sentence):
                    found[sentence[0].upper() + sentence[1:]] = None
    return list(found)


def speak(text: str, voice: str) -> tuple[np.ndarray, int, list[tuple[str, float, float]]]:
    """Return what flite says: samples float32 [n], their rate in Hz, and phones as (name, start, end) in seconds."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as wav:
        command = ["flite", "-voice", voice, "-psdur", "-t", text, "-o", wav.name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        samples, rate = soundfile.read(wav.name, dtype="float32")
    phones, start = [], 0.0
    for item in out.split():
        name, end = item.split(":")
        phones.append((name, start, float(end)))
        start = float(end)
    return samples, rate, phones


def utterance(text: str, recipe: Recipe) -> tuple[list[int], list[int], np.ndarray] | None:
    """Return ids, frames per id and int16 samples of one sentence, or None where text and teacher disagree."""
    cleaned = clean(f"[EN]{text}[EN]", "cjke_cleaners2")
    ids = {symbol: i for i, symbol in enumerate(recipe.symbols)}
    symbols = [s for s in cleaned if s in ids]
    if "*" in cleaned or len(symbols) > recipe.most_symbols:
        return None
    samples, rate, phones = speak(text, recipe.teacher)
    assert rate == recipe.sample_rate_hz
    first, last = phones[0][2], phones[-1][1]  # the teacher begins and ends with a pause
    begin = max(first - SILENCE_BEFORE_S, 0.0)
    phones = [(name, start - begin, end - begin) for name, start, end in phones[1:]]
    phones[-1] = ("pau", last - begin, min(phones[-1][2], last - begin + SILENCE_AFTER_S))
    n_frames = int(phones[-1][2] / recipe.frame_s)
    starts = symbol_starts(symbols, phones)
    if starts is None or n_frames > recipe.most_frames:
        return None
    frames = frames_per_symbol(starts, n_frames, recipe.frame_s)
    if frames is None or max(frames) > recipe.most_frames_a_symbol:
        return None
    offset = round(begin * rate)
    cut = samples[offset : offset + n_frames * recipe.hop_length]
    if len(cut) < n_frames * recipe.hop_length:
        return None
    return [ids[s] for s in symbols], frames, (cut * 32767).astype(np.int16)


def build(recipe: Recipe, most: int) -> None:
    """Write the corpus of a recipe."""
    texts = sentences()
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))][:most]
    kept, rows = [], []
    with ProcessPoolExecutor() as pool:
        spoken = pool.map(functools.partial(utterance, recipe=recipe), texts, chunksize=16)
        for n, (text, row) in enumerate(zip(texts, spoken, strict=True), 1):
            if row is not None:
                kept.append(text)
                rows.append(row)
            if n % 250 == 0:
                print(f"{n}/{len(texts)} sentences, {len(rows)} kept", flush=True)
    folder = RUNS / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "corpus.npz",
        ids=np.concatenate([np.array(r[0], np.int64) for r in rows]),
        frames=np.concatenate([np.array(r[1], np.int64) for r in rows]),
        samples=np.concatenate([r[2] for r in rows]),
        symbols_each=np.array([len(r[0]) for r in rows]),
        frames_each=np.array([sum(r[1]) for r in rows]),
    )
    (folder / "corpus.txt").write_text("\n".join(kept) + "\n")
    hours = sum(len(r[2]) for r in rows) / recipe.sample_rate_hz / 3600
    print(f"{len(rows)} of {len(texts)} sentences, {hours:.2f} h -> {folder / 'corpus.npz'}")


def main() -> None:
    """Build one voice's corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", choices=sorted(RECIPES))
    parser.add_argument("--most", type=int, default=9000, help="most sentences to have spoken")
    arguments = parser.parse_args()
    build(RECIPES[arguments.voice], arguments.most)


if __name__ == "__main__":
    main()
