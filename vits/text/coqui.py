"""The front end of Coqui's character models: a cleaner, then a vocabulary of characters.

Follows coqui-tts 0.28.0: TTS/tts/utils/text/cleaners.py, characters.py and tokenizer.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vits.text.dictionary import Dictionary
from vits.text.front_end import Reading, as_meant, check_language, prepared
from vits.text.preparation import MAX_SECONDS, NO_DICTIONARY, Prepared, is_spoken

CLEANERS = (
    "basic_cleaners",
    "transliteration_cleaners",
    "basic_german_cleaners",
    "basic_turkish_cleaners",
    "multilingual_cleaners",
    "no_cleaners",
)
"""The cleaners that are followed here; the others put numbers and abbreviations into words of their own."""


@dataclass(frozen=True, slots=True)
class CoquiFrontEnd:
    """What a Coqui config says of text."""

    cleaner: str
    """One of CLEANERS, or "" for none."""
    vocabulary: Mapping[str, int]
    blank: int | None
    """The id that stands between all characters and at both ends."""
    begin: tuple[int, ...]
    end: tuple[int, ...]
    """The ids around a sentence."""
    language: str

    @property
    def name(self) -> str:
        """Such as "characters by basic_cleaners"."""
        return f"characters by {self.cleaner or 'no cleaner'}"

    @property
    def languages(self) -> tuple[str, ...]:
        """The voice's one language."""
        return (self.language,)

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """None."""
        return ()

    def prepare(
        self,
        text: str,
        lang: str = "auto",
        declared_languages: Sequence[str] = (),
        normalize: bool = True,
        check: Callable[[], None] | None = None,
        timeout_s: float = MAX_SECONDS,
        dictionary: Dictionary = NO_DICTIONARY,
    ) -> Prepared:
        """The sentences of a text in symbol ids; numbers and signs stay as they are written."""
        check_language(lang, self)
        dropped: Counter[str] = Counter()
        text = as_meant(text, dictionary, dropped, normalize=normalize)
        return prepared(text, lambda piece: [self._read(piece, dropped)], dropped, check, timeout_s)

    def _read(self, text: str, dropped: Counter[str]) -> Reading:
        cleaned = self.cleaned(text)
        known = [character for character in cleaned if character in self.vocabulary]
        dropped.update(c for c in cleaned if c not in self.vocabulary and is_spoken(c))
        if not any(map(is_spoken, known)):
            return Reading(text, cleaned, ())
        ids = [self.vocabulary[character] for character in known]
        if self.blank is not None:
            blanked = [self.blank] * (2 * len(ids) + 1)
            blanked[1::2] = ids
            ids = blanked
        return Reading(text, cleaned, (*self.begin, *ids, *self.end))

    def cleaned(self, text: str) -> str:
        """The text as the cleaner leaves it."""
        if not self.cleaner:
            return text
        if self.cleaner == "no_cleaners":
            return text.replace("\n", "")
        text = unicodedata.normalize("NFC", text)
        if self.cleaner == "basic_turkish_cleaners":
            text = text.replace("I", "ı")
        text = text.lower()
        if self.cleaner == "multilingual_cleaners":
            text = text.replace(";", ",").replace("-", " ").replace(":", ",")
            text = re.sub(r"[<>()\[\]\"]+", "", text)
        return re.sub(r"\s+", " ", text).strip()
