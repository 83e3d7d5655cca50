"""The front ends of Coqui's models: a cleaner, phonemes by espeak-ng where the model has them, and a vocabulary.

Follows coqui-tts 0.28.0: TTS/tts/utils/text/tokenizer.py, characters.py, punctuation.py and phonemizers/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from vits.text import espeak_program
from vits.text.coqui_cleaners import clean
from vits.text.front_end import OneLanguageFrontEnd, Reading
from vits.text.preparation import is_spoken

_MARKS = re.compile(r"""(\s*[;:,.!?¡¿—…"«»“”][;:,.!?¡¿—…"«»“”\s]*)""")
"""What stays as it is between the parts that espeak-ng gets, blanks included."""
_LANGUAGE_SWITCH = re.compile(r"\(.+?\)")
"""espeak-ng's (en) and (de) around words of another language."""


@dataclass(frozen=True, slots=True)
class CoquiFrontEnd(OneLanguageFrontEnd):
    """What a Coqui config says of text."""

    cleaner: str
    """One of CLEANERS, or "" for none."""
    cleaner_language: str | None
    """The language that the cleaner is told."""
    espeak_language: str
    """The language that espeak-ng is asked for, such as "en-us"; "" for a model of characters."""
    vocabulary: Mapping[str, int]
    blank: int | None
    """The id that stands between all symbols and at both ends."""
    begin: tuple[int, ...]
    end: tuple[int, ...]
    """The ids around a sentence."""
    language: str

    @property
    def name(self) -> str:
        """Such as "characters by basic_cleaners" or "espeak en-us by english_cleaners"."""
        symbols = f"espeak {self.espeak_language}" if self.espeak_language else "characters"
        return f"{symbols} by {self.cleaner or 'no cleaner'}"

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """espeak-ng's, where it is needed and not there."""
        return espeak_program.missing_packages() if self.espeak_language else ()

    def read(self, text: str, dropped: Counter[str], *, normalize: bool) -> list[Reading]:
        """One sentence; beyond what the cleaner does, numbers and signs stay as written.

        Some cleaners put numbers into English words whatever the language. If the text is normalized, espeak-ng reads
        them in a language of its own instead.
        """
        numbers = not (normalize and self.espeak_language and self.language != "en")
        cleaned = clean(text, self.cleaner, self.cleaner_language, numbers=numbers)
        if self.espeak_language:
            cleaned = self._phonemes(cleaned)
        known = [symbol for symbol in cleaned if symbol in self.vocabulary]
        dropped.update(symbol for symbol in cleaned if symbol not in self.vocabulary and is_spoken(symbol))
        if not any(map(is_spoken, known)):
            return [Reading(text, cleaned, ())]
        ids = [self.vocabulary[symbol] for symbol in known]
        if self.blank is not None:
            blanked = [self.blank] * (2 * len(ids) + 1)
            blanked[1::2] = ids
            ids = blanked
        return [Reading(text, cleaned, (*self.begin, *ids, *self.end))]

    def _phonemes(self, text: str) -> str:
        """A cleaned text in espeak-ng's phonemes, with its marks. Raises MissingLibrary."""
        parts = _MARKS.split(text.strip())
        parts[::2] = (self._spoken(part) if part else "" for part in parts[::2])
        return "".join(parts)

    def _spoken(self, text: str) -> str:
        """What espeak-ng makes of a text without marks; nothing stands between the clauses that it still finds."""
        lines = espeak_program.lines(text, self.espeak_language)
        return "".join(_LANGUAGE_SWITCH.sub("", line.strip()).strip() for line in lines).replace("_", "")
