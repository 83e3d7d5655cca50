"""English as espeak-ng speaks it: the cleaners of the original VITS.

Follows text/cleaners.py of VITS (MIT): phonemizer drives espeak-ng, whose library and voices come from the
espeakng-loader package, so that no system package is needed.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

from vits.text.english import expand_abbreviations, to_ascii
from vits.text.errors import MissingLibrary


@cache
def _phonemize() -> Any:
    try:
        import espeakng_loader
        from phonemizer import phonemize
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ImportError as error:
        raise MissingLibrary("English", ["phonemizer", "espeakng-loader", "Unidecode"]) from error
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    return phonemize


def to_phonemes(text: str, *, punctuation: bool, stress: bool) -> str:
    """English text in espeak's American phonemes."""
    text = expand_abbreviations(to_ascii(text).lower())
    phonemes: str = _phonemize()(
        text,
        language="en-us",
        backend="espeak",
        strip=True,
        preserve_punctuation=punctuation,
        with_stress=stress,
        logger=logging.getLogger(__name__),
    )
    return re.sub(r"\s+", " ", phonemes)
