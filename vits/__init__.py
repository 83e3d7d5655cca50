"""VITS speech synthesis on a CPU: exact, in fixed windows.

torch is imported when `load_voice`, `Voice` or `Profile` is first asked for, so `vits.text` can be used without it.
"""

from typing import TYPE_CHECKING

from vits.errors import (
    BadDictionary,
    BadRequest,
    BrokenCheckpoint,
    BrokenSound,
    MissingLibrary,
    NothingToSay,
    PreparationTooLong,
    RunawayLength,
    TextError,
    UnknownCleaner,
    UnknownLanguage,
    UnknownSpeaker,
    UnspeakableText,
    VitsError,
)
from vits.text import Dictionary, Prepared, Sentence

if TYPE_CHECKING:
    from vits.voice import Profile, Voice, load_voice, warm_up

__all__ = [
    "BadDictionary",
    "BadRequest",
    "BrokenCheckpoint",
    "BrokenSound",
    "Dictionary",
    "MissingLibrary",
    "NothingToSay",
    "PreparationTooLong",
    "Prepared",
    "Profile",
    "RunawayLength",
    "Sentence",
    "TextError",
    "UnknownCleaner",
    "UnknownLanguage",
    "UnknownSpeaker",
    "UnspeakableText",
    "VitsError",
    "Voice",
    "load_voice",
    "warm_up",
]


def __getattr__(name: str) -> object:
    if name in ("Profile", "Voice", "load_voice", "warm_up"):
        from vits import voice

        return getattr(voice, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
