"""The front ends of Piper's voices: phonemes by espeak-ng, letters as they are, or pinyin.

Follows, in behaviour, piper-tts 1.8.0 (github.com/OHF-Voice/piper1-gpl): voice.py, phonemize_espeak.py and
phoneme_ids.py. Sentences are cut as for all voices here; within one, espeak-ng may find several.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vits.text import espeak_ng
from vits.text.front_end import OneLanguageFrontEnd, Reading
from vits.text.libraries import PACKAGES
from vits.text.normalize import normalize as normalized
from vits.text.preparation import is_spoken

PHONEME_TYPES = ("espeak", "text", "pinyin")
PAD, BEGIN, END = "_", "^", "$"

_RAW = re.compile(r"\[\[.*?\]\]", re.DOTALL)
"""Phonemes that stand in the text itself."""
_LANGUAGE_SWITCH = re.compile(r"\([^)]+\)")
"""espeak-ng's (en) and (de) around words of another language."""

_PINYIN = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw]?)(\w+)([1-5])")
_NO_INITIAL = "Ø"
_ENDS_OF_PINYIN = frozenset("12345。？！.?!—…、，：；,:; ")
"""What ends a syllable or stands alone: only behind these there is a pad."""


@dataclass(frozen=True, slots=True)
class PiperFrontEnd(OneLanguageFrontEnd):
    """What a Piper config says of text."""

    raw: ClassVar[re.Pattern[str] | None] = _RAW

    phoneme_type: str
    """One of PHONEME_TYPES."""
    espeak_voice: str
    """The name of espeak-ng's voice."""
    language: str
    id_map: Mapping[str, Sequence[int]]
    """The ids of each phoneme."""
    phoneme_map: Mapping[str, Sequence[str]]
    """Phonemes that others stand for."""
    clusters: Sequence[Sequence[str]]
    """Sequences of phonemes that are one symbol, longest first."""

    @property
    def name(self) -> str:
        """Such as "espeak en-us"."""
        return f"espeak {self.espeak_voice}" if self.phoneme_type == "espeak" else self.phoneme_type

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """espeak-ng's or those of Chinese, where they are needed and not there."""
        if self.phoneme_type == "pinyin":
            return () if all(map(importlib.util.find_spec, ("pypinyin", "rjieba"))) else PACKAGES["Chinese"]
        return espeak_ng.missing_packages() if self.phoneme_type == "espeak" else ()

    def read(self, text: str, dropped: Counter[str], *, normalize: bool) -> list[Reading]:
        """The sentences that espeak-ng finds, or one. Numbers become words for pinyin alone: espeak-ng reads them."""
        in_words = normalized(text, "zh") if normalize and self.phoneme_type == "pinyin" else text
        readings: list[Reading] = []
        for phonemes in self._phonemes(in_words):
            mapped = [symbol for phoneme in phonemes for symbol in self.phoneme_map.get(phoneme, (phoneme,))]
            symbols = list(self._joined(mapped))
            dropped.update(symbol for symbol in symbols if symbol not in self.id_map and is_spoken(symbol[0]))
            says_something = any(is_spoken(symbol[0]) for symbol in symbols if symbol in self.id_map)
            # espeak-ng does not say where in the text a sentence begins; the first of several stands for all.
            written = "" if any(reading.ids for reading in readings) else text
            readings.append(Reading(written, "".join(symbols), self._ids(symbols) if says_something else ()))
        return readings

    def _phonemes(self, text: str) -> list[list[str]]:
        """The phonemes of each sentence in a text."""
        if self.phoneme_type == "text":
            return [list(unicodedata.normalize("NFD", text))]
        if self.phoneme_type == "pinyin":
            return [list(self._pinyin(text))]
        sentences: list[list[str]] = []
        parts = re.split(f"({_RAW.pattern})", text, flags=re.DOTALL)
        for index, part in enumerate(parts):
            if index % 2:
                before, after = parts[index - 1], parts[index + 1]
                raw = [" "] * before.endswith(" ") + list(part[2:-2].strip()) + [" "] * after.startswith(" ")
                sentences = sentences or [[]]
                sentences[-1] += raw
                continue
            spoken = self._spoken(part)
            if index and spoken:
                sentences[-1] += spoken.pop(0)
            sentences += spoken
        return sentences

    def _spoken(self, text: str) -> list[list[str]]:
        """What espeak-ng makes of a text, sentence by sentence."""
        sentences: list[list[str]] = []
        is_open = False
        for clause in espeak_ng.clauses(text, self.espeak_voice):
            phonemes = _LANGUAGE_SWITCH.sub("", clause.phonemes) + clause.mark
            if clause.mark in (",", ":", ";"):
                phonemes += " "
            if not is_open:
                sentences.append([])
            sentences[-1] += unicodedata.normalize("NFD", phonemes)
            is_open = not clause.ends_sentence
        return sentences

    def _pinyin(self, text: str) -> Iterator[str]:
        """The initial, the final and the tone of each syllable, and the marks between them."""
        from vits.text.mandarin import to_numbered_pinyin

        for syllable in to_numbered_pinyin(re.sub('[“”"]', "", text)):
            if match := _PINYIN.fullmatch(syllable):
                yield from (match[1] or _NO_INITIAL, match[2], match[3])
            else:
                # Letters are no sounds here, though the names of some are those of finals; in capitals none is.
                yield from (character.upper() for character in syllable)

    def _joined(self, phonemes: Sequence[str]) -> Iterable[str]:
        """The phonemes, where those that are one symbol together are one."""
        position = 0
        while position < len(phonemes):
            here = (c for c in self.clusters if [*phonemes[position : position + len(c)]] == [*c])
            cluster = next(here, (phonemes[position],))
            yield "".join(cluster)
            position += len(cluster)

    def _ids(self, phonemes: Iterable[str]) -> tuple[int, ...]:
        """The ids of a sentence: its mark at each end, and the pad after each phoneme, or each syllable of pinyin."""
        pad, by_syllable = self.id_map[PAD], self.phoneme_type == "pinyin"
        ids = [*self.id_map[BEGIN], *(() if by_syllable else pad)]
        for phoneme in phonemes:
            if phoneme in self.id_map:
                ids += [*self.id_map[phoneme], *(() if by_syllable and phoneme not in _ENDS_OF_PINYIN else pad)]
        return (*ids, *self.id_map[END])
