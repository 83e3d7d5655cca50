"""The synthesizers that voices are taught by: text in, speech out, with the time of every sound.

All have one face, `speak`. What they pronounce is handed on in the symbols of cjke_cleaners2, so that
`training.alignment` can lay it beside the text that our own front end writes.
"""

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import soundfile

from training import kokoro

Phones = list[tuple[str, float, float]]
"""Sounds as (symbols, start, end) in seconds; a pause is a space."""


class Teacher(NamedTuple):
    """A voice of a synthesizer."""

    synthesizer: str
    """One of SYNTHESIZERS."""
    voice: str
    language: str
    """What it speaks, by the name of our front end."""


class Speech(NamedTuple):
    """What a teacher said."""

    samples: np.ndarray
    """float32 [n] in [-1, 1]."""
    rate_hz: int
    phones: Phones | None
    """None where something was said that our symbols cannot write: such a sentence is not taught."""


def speak(teacher: Teacher, text: str, rate_hz: int) -> Speech:
    """Return what a teacher says, at rate_hz."""
    speech = SYNTHESIZERS[teacher.synthesizer](text, teacher)
    return Speech(resampled(speech.samples, speech.rate_hz, rate_hz), rate_hz, speech.phones)


def resampled(samples: np.ndarray, rate_hz: int, wanted_hz: int) -> np.ndarray:
    """Return samples float32 [n] at another, not higher rate; the band above 95 % of its half fades out."""
    if rate_hz == wanted_hz:
        return samples
    assert wanted_hz < rate_hz
    divisor = np.gcd(rate_hz, wanted_hz)
    block, wanted_block = rate_hz // divisor, wanted_hz // divisor
    blocks = -(-len(samples) // block)
    spectrum = np.fft.rfft(np.pad(samples.astype(np.float64), (0, blocks * block - len(samples))))
    spectrum = spectrum[: blocks * wanted_block // 2 + 1]
    height = np.linspace(0, 1, len(spectrum))
    spectrum *= np.cos(np.clip((height - 0.95) / 0.05, 0, 1) * np.pi / 2)
    made = np.fft.irfft(spectrum, blocks * wanted_block) * (wanted_block / block)
    cut: np.ndarray = made[: len(samples) * wanted_hz // rate_hz].astype(np.float32)
    return cut


def _written(names: Sequence[tuple[str, float, float]], symbols: dict[str, str]) -> Phones | None:
    if any(name not in symbols for name, _, _ in names):
        return None
    return [(symbols[name], start, end) for name, start, end in names]


# English: flite, with the phones of CMU as the English front end writes them.

CMU = {
    "aa": "ɑ", "ae": "æ", "ah": "ə", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "axr": "əɹ", "ay": "aɪ", "b": "b", "ch": "tʃ",
    "d": "d", "dh": "ð", "eh": "ɛ", "er": "əɹ", "ey": "eɪ", "f": "f", "g": "g", "hh": "h", "ih": "ɪ", "iy": "i",
    "jh": "dʒ", "k": "k", "l": "l", "m": "m", "n": "n", "ng": "ŋ", "ow": "oʊ", "oy": "ɔɪ", "p": "p", "r": "ɹ",
    "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ", "uw": "u", "v": "v", "w": "w", "y": "j", "z": "z", "zh": "ʒ",
    "pau": " ",
}  # fmt: skip


def _flite(text: str, teacher: Teacher) -> Speech:
    with tempfile.NamedTemporaryFile(suffix=".wav") as wav:
        command = ["flite", "-voice", teacher.voice, "-psdur", "-t", text, "-o", wav.name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        samples, rate = soundfile.read(wav.name, dtype="float32")
    names, start = [], 0.0
    for item in out.split():
        name, end = item.split(":")
        names.append((name, start, float(end)))
        start = float(end)
    return Speech(samples, rate, _written(names, CMU))


# Japanese: OpenJTalk's own HTS voice. Its Python package returns samples only; the durations of its states are asked
# of the engine inside the package's library.

HTS = {
    "a": "a", "i": "i", "u": "ɯ", "e": "e", "o": "o", "A": "a", "I": "i", "U": "ɯ", "E": "e", "O": "o", "N": "N",
    "k": "k", "s": "s", "t": "t", "n": "n", "h": "h", "m": "m", "y": "j", "r": "ɾ", "w": "w", "g": "g", "z": "z",
    "d": "d", "b": "b", "p": "p", "f": "ɸ", "v": "v", "j": "dʑ", "ch": "tʃ", "ts": "ts", "sh": "ʃ", "hy": "ç",
    "ky": "kj", "gy": "gj", "ny": "n^", "my": "mj", "ry": "ɾj", "by": "bj", "py": "pj", "ty": "tj", "dy": "dj",
    "pau": " ", "sil": " ",
}  # fmt: skip
HTS_GAIN = 0.5 / 32768
_ENGINE_BYTES = 1 << 16
"""Room for an HTS_Engine, of which nothing but the address is used here; it takes less than a kilobyte."""


@functools.cache
def _hts(voice: bytes) -> tuple[Any, ctypes.Array[ctypes.c_char]]:
    """Return the library of the HTS engine and an engine of it that holds a voice."""
    from pyopenjtalk import htsengine

    library = ctypes.CDLL(htsengine.__file__)
    engine = ctypes.create_string_buffer(_ENGINE_BYTES)
    library.HTS_Engine_initialize(engine)
    assert library.HTS_Engine_load(engine, (ctypes.c_char_p * 1)(voice), ctypes.c_size_t(1))
    library.HTS_Engine_get_state_duration.restype = ctypes.c_size_t
    library.HTS_Engine_get_nstate.restype = ctypes.c_size_t
    library.HTS_Engine_get_fperiod.restype = ctypes.c_size_t
    return library, engine


def _durations(labels: Sequence[str], voice: bytes, rate_hz: int) -> list[float]:
    """Return the seconds of each label of a sentence."""
    library, engine = _hts(voice)
    lines = (ctypes.c_char_p * len(labels))(*(label.encode() for label in labels))
    assert library.HTS_Engine_generate_state_sequence_from_strings(engine, lines, ctypes.c_size_t(len(labels)))
    states = library.HTS_Engine_get_nstate(engine)
    frame_s = library.HTS_Engine_get_fperiod(engine) / rate_hz
    frames = [library.HTS_Engine_get_state_duration(engine, ctypes.c_size_t(i)) for i in range(states * len(labels))]
    library.HTS_Engine_refresh(engine)
    return [sum(frames[i : i + states]) * frame_s for i in range(0, len(frames), states)]


def _openjtalk(text: str, teacher: Teacher) -> Speech:
    import pyopenjtalk

    assert teacher.voice == "mei_normal", "the package has one voice"
    labels = pyopenjtalk.extract_fullcontext(text)
    samples, rate = pyopenjtalk.synthesize(labels)
    seconds = _durations(labels, pyopenjtalk.DEFAULT_HTS_VOICE, rate)
    ends = np.cumsum(seconds)
    names = [label.split("-")[1].split("+")[0] for label in labels]
    for i, name in enumerate(names[:-1]):
        if name == "cl":  # the stop of a long consonant is written as that consonant, with a mark before k, p and t
            letter = HTS.get(names[i + 1], " ")[0]
            names[i] = "cl" + letter
    symbols = HTS | {"cl" + s: s + ("#" if s in "kpt" else "") for s in "kstpbdgzçɸhʃfmnɾw"}
    timed = [(name, float(end - s), float(end)) for name, end, s in zip(names, ends, seconds, strict=True)]
    return Speech((samples * HTS_GAIN).astype(np.float32), rate, _written(timed, symbols))


# Mandarin: espeak-ng from the package espeakng-loader. Debian 12's own espeak-ng has a dictionary of Mandarin without
# characters: it reads 今天 as the English words "jin one tian one".

ESPEAK = {
    "p": "p⁼", "ph": "pʰ", "m": "m", "f": "f", "t": "t⁼", "th": "tʰ", "n": "n", "l": "l", "k": "k⁼", "kh": "kʰ",
    "χ": "x", "tɕ": "tʃ⁼", "tɕh": "tʃʰ", "ɕ": "ʃ", "ts.": "ts`⁼", "ts.h": "ts`ʰ", "s.": "s`", "ʐ": "ɹ`", "ts": "ts⁼",
    "tsh": "tsʰ", "s": "s", "i": "i", "i.": "ɹ`", "i̪": "ɹ", "u": "u", "y": "ɥ", "ɑ": "a", "o": "o", "uo": "wo",
    "ə": "ə", "o-": "ə", "ɛ": "ɛ", "ai": "aɪ", "ei": "eɪ", "ɑu": "ɑʊ", "ou": "oʊ", "iɛ": "jɛ", "onɡ": "ʊŋ",
    "yæ": "ɥæ", "yɛ": "ɥɛ", "iou": "joʊ", "uei": "weɪ", "ər": "əɹ`", "w": "w", "j": "j", "ŋ": "ŋ", "a": "a",
    "iɑ": "iɑ", "ua": "wa", "uə": "wə", "uai": "waɪ", "yə": "ɥ", "": " ",
}  # fmt: skip
_LEAST_PAUSE_S = 0.06
"""A shorter silence is the closure before a stop and belongs to it."""
_SYNCHRONOUS, _PHONEME_EVENTS_IN_IPA, _UTF8, _PHONEME = 2, 3, 1, 7


class _Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Espeak:
    """The library of espeak-ng, which speaks into this object; one for each process."""

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        path = espeakng_loader.get_data_path().encode()
        self.rate_hz = int(self.library.espeak_Initialize(_SYNCHRONOUS, 0, path, _PHONEME_EVENTS_IN_IPA))
        self.chunks: list[np.ndarray] = []
        self.events: list[tuple[str, float]] = []
        self._callback = _CALLBACK(self._heard)  # which the library must not outlive
        self.library.espeak_SetSynthCallback(self._callback)

    def _heard(self, wav: Any, n: int, events: Any) -> int:
        if wav and n:
            self.chunks.append(np.ctypeslib.as_array(wav, (n,)).astype(np.float32) / 32768)
        i = 0
        while events[i].type:
            if events[i].type == _PHONEME:
                self.events.append((events[i].string.decode(), events[i].sample / self.rate_hz))
            i += 1
        return 0


_espeak_of_process = functools.cache(_Espeak)


def _espeak(text: str, teacher: Teacher) -> Speech:
    engine = _espeak_of_process()
    engine.chunks, engine.events = [], []
    spoken = text.encode()
    assert engine.library.espeak_SetVoiceByName(teacher.voice.encode()) == 0, teacher.voice
    assert engine.library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken) + 1), 0, 1, 0, _UTF8, None, None) == 0
    samples = np.concatenate([*engine.chunks, np.zeros(engine.rate_hz // 4, np.float32)])  # which ends abruptly
    starts = [start for _, start in engine.events]
    ends = [*starts[1:], len(samples) / engine.rate_hz]
    names = [(name.strip("ˈˌ"), s, e) for (name, s), e in zip(engine.events, ends, strict=True) if e > s]
    phones = _written(names, ESPEAK)
    return Speech(samples, engine.rate_hz, None if phones is None else _joined(phones))


def _joined(phones: Phones) -> Phones:
    """Return phones with short silences, and glides that the same vowel follows, given to the sound after them."""
    joined: Phones = []
    begun: float | None = None
    for (symbols, start, end), (following, _, _) in zip(phones, [*phones[1:], (" ", 0.0, 0.0)], strict=True):
        glide = (symbols == "j" and following[0] in "iɥj") or (symbols == "w" and following[0] in "uw")
        if following != " " and (glide or (symbols == " " and end - start < _LEAST_PAUSE_S)):
            begun = start if begun is None else begun
            continue
        joined.append((symbols, start if begun is None else begun, end))
        begun = None
    return joined


# All three languages: Kokoro, a neural network.


def _kokoro(text: str, teacher: Teacher) -> Speech:
    pieces = list(kokoro.PIECES[teacher.language](text))
    if not kokoro.can_say(pieces):
        return Speech(np.zeros(0, np.float32), kokoro.RATE_HZ, None)
    samples, seconds = kokoro.network().spoken(pieces, kokoro.style(teacher.voice))
    return Speech(samples, kokoro.RATE_HZ, kokoro.phones(pieces, seconds, samples))


SYNTHESIZERS = {"flite": _flite, "openjtalk": _openjtalk, "espeak": _espeak, "kokoro": _kokoro}
