"""The front end of voices whose symbols are characters, as Hugging Face's VitsTokenizer has them.

Follows tokenization_vits.py of transformers 5.24.0. Where that gives a character without a row in the voice's table the
id of its unknown token, which has no row either, the character is left out here, and counted.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from vits.text import espeak
from vits.text.front_end import OneLanguageFrontEnd, Reading
from vits.text.libraries import PACKAGES, load
from vits.text.preparation import is_spoken, with_blanks

_ROMANIZER = "Text in other scripts than Latin"


@dataclass(frozen=True, slots=True)
class CharacterFrontEnd(OneLanguageFrontEnd):
    """What a tokenizer's files say of text."""

    vocabulary: Mapping[str, int]
    """The ids of the characters."""
    special: tuple[str, ...]
    """The pad token and the unknown token, which text is cut at; MMS uses the first character as pad."""
    language: str
    add_blank: bool
    """Whether symbol 0 stands between all characters."""
    normalize: bool
    """Whether letters become small, and what the vocabulary lacks is dropped."""
    phonemize: bool
    """Whether the characters are those of espeak-ng's American phonemes."""
    romanize: bool
    """Whether text goes through uroman."""

    @property
    def name(self) -> str:
        """Such as "characters of en"."""
        return f"{'phonemes' if self.phonemize else 'characters'} of {self.language}"

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """espeak-ng's or uroman's, where they are needed and not there."""
        missing = espeak.missing_packages() if self.phonemize else ()
        if self.romanize and importlib.util.find_spec("uroman") is None:
            missing += PACKAGES[_ROMANIZER]
        return missing

    def read(self, text: str, dropped: Counter[str], *, normalize: bool) -> list[Reading]:
        """One sentence; numbers and signs stay as they are written."""
        cleaned = self.cleaned(text)
        known = "".join(character for character in cleaned if character in self.vocabulary)
        dropped.update(c for c in cleaned if c not in self.vocabulary and is_spoken(c))
        if self.normalize and not self.phonemize:
            known = known.strip()
        ids = self._ids(known) if any(is_spoken(character) for character in known) else ()
        return [Reading(text, cleaned, ids)]

    def cleaned(self, text: str) -> str:
        """The text as its characters are looked up. Raises MissingLibrary."""
        if self.normalize:
            text = "".join(self._small(text))
        if self.language == "ro":
            text = text.replace("ț", "ţ")
        if self.romanize and not text.isascii():
            text = _romanizer().romanize_string(text)
        return re.sub(r"\s+", " ", espeak.phonemes(text, marked=True)) if self.phonemize else text

    def _small(self, text: str) -> list[str]:
        """The text in small letters, but for what the vocabulary and the special tokens have in capitals."""
        tokens = "|".join(re.escape(token) for token in (*self.vocabulary, *self.special) if token)
        parts = re.split(f"({tokens})", text)
        return [part if index % 2 else part.lower() for index, part in enumerate(parts)]

    def _ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text; blanks are put into each part between special tokens by itself, as they are there."""
        if not self.add_blank:
            return tuple(self.vocabulary[character] for character in text)
        parts = re.split("(" + "|".join(re.escape(token) for token in self.special) + ")", text)
        ids: list[int] = []
        for index, part in enumerate(parts):
            numbers = [self.vocabulary[character] for character in part]
            ids += numbers if index % 2 else with_blanks(numbers) if part else ()
        return tuple(ids)


@cache
def _romanizer() -> Any:
    return load("uroman", _ROMANIZER).Uroman()
