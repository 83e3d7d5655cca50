"""The cleaners: which front end a checkpoint was trained with, by the name its config gives.

Follows text/cleaners.py of VITS-fast-fine-tuning (and of VITS for english_cleaners). The front ends are imported
when a cleaner first needs them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from vits.text.errors import UnknownCleaner

_CJKE_ENGLISH = str.maketrans({"ɑ": "a", "ɔ": "o", "ɛ": "e", "ɪ": "i", "ʊ": "u"})


def _cjke2_english(text: str) -> str:
    from vits.text import english

    return english.to_ipa2(text)


def _tagged(text: str, tag: str, speak: Callable[[str], str]) -> str:
    return re.sub(rf"\[{tag}\](.*?)\[{tag}\]", lambda match: speak(match[1]) + " ", text)


def _close(text: str) -> str:
    text = re.sub(r"\s+$", "", text)
    return re.sub(r"([^\.,!\?\-…~])$", r"\1.", text)


def cjke_cleaners2(text: str) -> str:
    """IPA for tagged Chinese, Japanese, Korean and English."""
    return _close(_tagged(text, "EN", _cjke2_english))


CLEANERS: dict[str, Callable[[str], str]] = {"cjke_cleaners2": cjke_cleaners2}


def clean(text: str, cleaner: str) -> str:
    """The text in the symbols of the named cleaner; explicit language tags are part of the text."""
    try:
        function = CLEANERS[cleaner]
    except KeyError:
        raise UnknownCleaner(cleaner, CLEANERS) from None
    return function(text)
