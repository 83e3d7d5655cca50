"""Pronunciations written in a text: ARPAbet, pinyin, or the voice's own symbols.

A text has them between [[ and ]], as Piper's have, or from a dictionary. While the rest of the text is prepared, one
private character stands for each. A normalized English text has the ARPAbet of heteronyms between OPEN and CLOSE.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

OPEN, CLOSE = "\U000f0000", "\U000f0001"
MAX_SYMBOLS = 240
"""Longest pronunciation in characters; a sentence may have twice as many."""

_FIRST, _LAST = 0xE000, 0xF8FF
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]")
_BRACKETED = re.compile(r"\[\[([^\[\]\n]{1,240})\]\]")
_HETERONYM = re.compile(f"{OPEN}([^{CLOSE}]*){CLOSE}([.,!?;:]*)")
_STANDS_FOR = re.compile("([\ue000-\uf8ff])([.,!?;:。，、！？；：…]*)")
_PHONE = "(?:(?:AA|AE|AH|AO|AW|AY|EH|ER|EY|IH|IY|OW|OY|UH|UW)[0-2]|B|CH|DH?|F|G|HH|JH|K|L|M|NG?|P|R|SH?|TH?|V|W|Y|ZH?)"
_ARPABET = re.compile(f"{_PHONE}(?: {_PHONE})*")
_PINYIN = re.compile(r"[a-zü]{1,6}[1-5](?: [a-zü]{1,6}[1-5])*")


class Pronunciation(NamedTuple):
    """How a part of a text is to be spoken."""

    kind: str
    """"arpabet", "pinyin" or "symbols"."""
    phones: str
    written: str
    """What stands in the text."""


class Part(NamedTuple):
    """A part of a text with the marks after it: plain text where it has no pronunciation."""

    text: str
    pronunciation: Pronunciation | None = None


def read(phones: str, written: str, symbols: Collection[str]) -> Pronunciation | None:
    """The pronunciation in whichever notation it is written; None where it is in none of them."""
    phones = phones.strip()
    if not phones or len(phones) > MAX_SYMBOLS:
        return None
    if _ARPABET.fullmatch(phones) and any(phone in phones for phone in "012"):
        return Pronunciation("arpabet", phones, written)
    if _PINYIN.fullmatch(phones):
        return Pronunciation("pinyin", phones, written)
    if all(character in symbols or character == " " for character in phones):
        return Pronunciation("symbols", phones, written)
    return None


def is_notation(spoken: str, written: str) -> bool:
    """Whether a spoken form is ARPAbet, or pinyin with a syllable for each character that it stands for."""
    spoken = spoken.strip()
    if _PINYIN.fullmatch(spoken):
        han = sum("\u3400" <= character <= "\u9fff" or character >= "\U00020000" for character in written)
        return han == spoken.count(" ") + 1
    return bool(_ARPABET.fullmatch(spoken)) and any(digit in spoken for digit in "012")


class Pronunciations:
    """The pronunciations of one text, and the private characters that stand for them."""

    def __init__(self, symbols: Collection[str]) -> None:
        self._symbols = symbols
        self._found: list[Pronunciation] = []

    def stand_in(self, pronunciation: Pronunciation) -> str:
        """The character that stands for it; the text as it was written once there are no more characters."""
        if _FIRST + len(self._found) > _LAST:
            return pronunciation.written
        self._found.append(pronunciation)
        return chr(_FIRST + len(self._found) - 1)

    def take(self, text: str) -> str:
        """The text with a character for each pronunciation between [[ and ]]; other private characters are left out."""

        def taken(match: re.Match[str]) -> str:
            pronunciation = read(match[1], match[0], self._symbols)
            return self.stand_in(pronunciation) if pronunciation else match[0]

        return _BRACKETED.sub(taken, without_private(text))

    def restored(self, text: str) -> str:
        """The text with what was written in place of the characters."""
        return _STANDS_FOR.sub(lambda match: self._found[ord(match[1]) - _FIRST].written + match[2], text)

    def parts(self, text: str) -> list[Part]:
        """The text in parts: plain ones, and those with a pronunciation."""
        pieces = _STANDS_FOR.split(text)
        parts = [Part(pieces[0])]
        for character, marks, following in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            parts += [Part(marks, self._found[ord(character) - _FIRST]), Part(following)]
        return parts


def heteronyms(text: str) -> list[Part]:
    """A normalized text in parts: plain ones, and words with their ARPAbet."""
    pieces = _HETERONYM.split(text)
    parts = [Part(pieces[0])]
    for phones, marks, following in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        parts += [Part(marks, Pronunciation("arpabet", phones, "")), Part(following)]
    return parts


def without_private(text: str) -> str:
    """The text without private characters, which no voice speaks."""
    return _PRIVATE.sub("", text)
