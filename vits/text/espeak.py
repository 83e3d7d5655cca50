"""English as espeak-ng speaks it: the cleaners of the original VITS.

Follows text/cleaners.py of VITS (MIT): phonemizer drives espeak-ng, whose library and voices come from the
espeakng-loader package, so that no system package is needed.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from functools import cache
from typing import Any

from vits.text.english import expand_abbreviations, to_ascii
from vits.text.libraries import PACKAGES, load

_logger = logging.getLogger(__name__)
_logger.setLevel(logging.ERROR)  # phonemizer warns wherever espeak joins words, which is often.


@cache
def _phonemize() -> Any:
    language = "English by espeak"
    files = load("espeakng_loader", language)
    wrapper = load("phonemizer.backend.espeak.wrapper", language).EspeakWrapper
    wrapper.set_library(files.get_library_path())
    wrapper.set_data_path(files.get_data_path())
    return load("phonemizer", language).phonemize


def to_phonemes(text: str) -> str:
    """English text as english_cleaners2 has it: espeak's American phonemes, stress and punctuation."""
    return _spoken(text, marked=True)


def to_bare_phonemes(text: str) -> str:
    """English text as english_cleaners has it: espeak's American phonemes alone."""
    return _spoken(text, marked=False)


def _spoken(text: str, *, marked: bool) -> str:
    return re.sub(r"\s+", " ", phonemes(expand_abbreviations(to_ascii(text).lower()), marked=marked))


def phonemes(text: str, *, marked: bool, voice: str = "en-us") -> str:
    """A text in the phonemes of one of espeak's voices, with or without stress and punctuation."""
    spoken: str = _phonemize()(
        text,
        language=voice,
        backend="espeak",
        strip=True,
        preserve_punctuation=marked,
        with_stress=marked,
        logger=_logger,
    )
    return spoken


def missing_packages() -> tuple[str, ...]:
    """The packages to install, where one of those that this needs is not there."""
    modules = ("phonemizer", "espeakng_loader")
    is_there = all(importlib.util.find_spec(module) for module in modules)
    return () if is_there else PACKAGES["English by espeak"]
