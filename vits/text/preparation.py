"""A text as people write it, prepared as sentences of symbol ids."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from time import monotonic
from typing import NamedTuple

from vits.errors import NothingToSay, PreparationTooLong, UnknownLanguage, UnspeakableText
from vits.limits import LANGUAGES, LONE_SURROGATES, as_language
from vits.text import auto, japanese_words, laughs, markup, phonemes, sentences
from vits.text.auto import Span
from vits.text.cleaners import Cleaner, find, tag_of
from vits.text.dictionary import Dictionary
from vits.text.normalize import normalize as normalized
from vits.text.normalize import unify, unify_numbers
from vits.text.phonemes import Pronunciation, Pronunciations

MAX_CHARACTERS = 200
"""Longest sentence in characters; longer ones are cut at commas, or else at blanks."""
MAX_SYMBOLS = 500
"""Most symbols of a sentence, without blanks. A digit or a letter's name has many, so characters do not bound them."""
MAX_SECONDS = 10.0
"""How long a preparation may take. 100 000 characters take less than half of that on two slow cores."""

NO_DICTIONARY = Dictionary()

_SPOKEN_MARKS = frozenset("%&@#‰％＆＠＃")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A part of a text that is spoken in one go."""

    written: str
    """The part as it was written, without language tags."""
    normalized: str
    """What the cleaner was given: numbers and signs in words, each language in its tags."""
    cleaned: str
    """What the cleaner made of it, characters that the voice has no symbol for included."""
    ids: tuple[int, ...]
    """The symbol ids that the voice is to speak, with blanks between them where it was trained with blanks."""
    pause_s: float
    """Silence that should follow, in seconds."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text ready to be spoken."""

    sentences: tuple[Sentence, ...]
    """What is to be spoken, in order; at least one."""
    dropped: Mapping[str, int]
    """How often each letter, digit or symbol of the text was left out, because the voice cannot speak it."""


def to_ids(cleaned: str, symbols: Sequence[str]) -> list[int]:
    """The ids of those characters of a cleaned text that the symbol table has, in order."""
    id_of = {symbol: index for index, symbol in enumerate(symbols)}
    return [id_of[character] for character in cleaned if character in id_of]


def with_blanks(ids: Sequence[int]) -> tuple[int, ...]:
    """The ids with the blank, which is symbol 0, between them and at both ends."""
    blanked = [0] * (2 * len(ids) + 1)
    blanked[1::2] = ids
    return tuple(blanked)


def is_spoken(character: str) -> bool:
    """Whether a listener would miss the character: true for letters, digits and symbols, false for marks and blanks."""
    category = unicodedata.category(character)
    return category[0] in "LN" or category in ("Sc", "Sm", "So") or character in _SPOKEN_MARKS


class _Given(NamedTuple):
    """What a cleaner is given for a part of a sentence."""

    text: str
    is_phonemes: bool = False


class _Preparation:
    """The preparation of one text for one voice, which also counts the characters that cannot be spoken."""

    def __init__(
        self,
        cleaner: Cleaner,
        symbols: Sequence[str],
        *,
        normalize: bool,
        add_blank: bool,
        check: Callable[[], None],
    ) -> None:
        self._cleaner = cleaner
        self._symbols = symbols
        self._symbol_set = frozenset(symbols)
        self._normalize = normalize
        self._add_blank = add_blank
        self._check = check
        self._pronunciations = Pronunciations(self._symbol_set)
        self._dropped: Counter[str] = Counter()

    def of(
        self, text: str, language: str | None, declared_languages: Sequence[str], dictionary: Dictionary
    ) -> Prepared:
        """The text in sentences; if `language` is None, the language outside tags is found by script."""
        text = self._pronunciations.take(readable(text, self._dropped))
        text = dictionary.apply(text, self._pronunciations, self._symbols)
        if self._normalize:
            text = unify(unify_numbers(markup.plain(laughs.without(text))))
        slices = _Slices(auto.spans(text, self._cleaner.languages, declared_languages, language))
        with japanese_words.used(self._normalize):
            spoken = [
                sentence
                for piece in sentences.split(slices.text, MAX_CHARACTERS)
                for sentence in self._sentences(slices.between(piece.start, piece.end), piece.pause_s)
            ]
        if not spoken:
            raise silence_of(text)
        return Prepared(tuple(spoken), dict(self._dropped))

    def _sentences(self, spans: list[Span], pause_s: float) -> list[Sentence]:
        """The sentence of these spans: several where it has too many symbols, none where it says nothing."""
        self._check()
        parts = [part for span in spans if span.language for part in self._parts(span)]
        text = "".join(part.text for part in parts)
        cleaned = self._cleaner.clean(text) if self._cleaner.tagged else self._cleaned(parts)
        ids = tuple(to_ids(cleaned, self._symbols))
        written = "".join(span.text for span in spans)
        if len(ids) > MAX_SYMBOLS and len(written) > 1:
            first, second = sentences.halves(written)
            slices = _Slices(spans)
            return [
                *self._sentences(slices.between(first.start, first.end), first.pause_s),
                *self._sentences(slices.between(second.start, second.end), pause_s),
            ]
        self._count_dropped(spans, cleaned)
        if not any(unicodedata.category(self._symbols[index])[0] == "L" for index in ids):
            return []
        sentence = Sentence(
            written=self._pronunciations.restored(written).strip(),
            normalized=text,
            cleaned=cleaned,
            ids=with_blanks(ids) if self._add_blank else ids,
            pause_s=pause_s,
        )
        return [sentence]

    def _parts(self, span: Span) -> list[_Given]:
        """What the cleaner is given for a span: text, in tags where it wants them, and phonemes, which have none."""
        assert span.language
        parts = []
        for part in self._pronunciations.parts(span.text):
            if part.pronunciation:
                parts.append(self._pronounced(part.pronunciation, part.text))
                continue
            text = part.text
            if self._normalize:
                text = normalized(text, span.language, from_dictionary=self._cleaner.tagged)
            for word in phonemes.heteronyms(text):
                if word.pronunciation:
                    parts.append(self._pronounced(word.pronunciation, word.text))
                elif word.text.strip():
                    parts.append(_Given(self._tagged(word.text, span.language)))
        return parts

    def _tagged(self, text: str, language: str) -> str:
        tag = tag_of(language) if self._cleaner.tagged else ""
        return f"{tag}{text}{tag}"

    def _pronounced(self, pronunciation: Pronunciation, marks: str) -> _Given:
        """The phonemes in what the cleaner lets pass: its own symbols, or Bopomofo, which Chinese front ends keep."""
        phones = pronunciation.phones
        if pronunciation.kind == "pinyin":
            if "zh" not in self._cleaner.front_ends:
                raise UnspeakableText(f"[[{phones}]] is pinyin, which this voice does not speak")
            from vits.text.pinyin import numbered_bopomofo

            return _Given(self._tagged(numbered_bopomofo(phones) + marks, "zh"))
        if pronunciation.kind == "arpabet":
            from vits.text.english import arpabet_to

            phones = arpabet_to(self._cleaner.front_ends.get("en", "").partition(":")[2], phones)
        return _Given(f"{phones}{marks} ", is_phonemes=True)

    def _cleaned(self, parts: list[_Given]) -> str:
        """The parts as a cleaner without tags has them; it would spell phonemes, and close each part by a mark."""
        cleaned = ""
        for index, part in enumerate(parts):
            made = part.text if part.is_phonemes else self._cleaner.clean(part.text)
            if index + 1 < len(parts) and not part.text.rstrip().endswith((".", "。")):
                made = made.removesuffix(".").removesuffix("。")
            cleaned += made
        return cleaned

    def _count_dropped(self, spans: list[Span], cleaned: str) -> None:
        for span in spans:
            if span.language is None:
                self._dropped.update(filter(is_spoken, span.text))
            elif span.language in ("ja", "en"):
                self._dropped.update(self._silent(span))
        written = Counter("".join(span.text for span in spans if span.language).lower())
        left_over = Counter(character for character in cleaned if character not in self._symbol_set)
        for character, count in left_over.items():
            if is_spoken(character) and written[character]:
                self._dropped[character] += min(count, written[character])

    def _silent(self, span: Span) -> list[str]:
        """The characters that are lost when the front ends of Japanese and English put marks into ASCII."""
        from vits.text.english import to_ascii

        written = phonemes.without_private(span.text)
        text = normalized(written, span.language or "", from_dictionary=False) if self._normalize else written
        silent = [character for character in text if is_spoken(character) and not to_ascii(character).strip()]
        if span.language == "ja":
            from vits.text.japanese import unread

            silent = [character for character in silent if ord(character) > 0x9FFF] + list(unread(text))
        return silent


class _Slices:
    """Spans from which parts can be cut, each in time proportional to the part."""

    def __init__(self, spans: list[Span]) -> None:
        self._spans = spans
        self.text = "".join(span.text for span in spans)
        self._starts = [0, *accumulate(len(span.text) for span in spans)]

    def between(self, start: int, end: int) -> list[Span]:
        """The spans of the characters from start to end, counted over all spans."""
        sliced = []
        index = bisect_right(self._starts, start) - 1
        while index < len(self._spans) and self._starts[index] < end:
            span, position = self._spans[index], self._starts[index]
            text = span.text[max(0, start - position) : end - position]
            if text:
                sliced.append(Span(text, span.language))
            index += 1
        return sliced


def in_time(check: Callable[[], None] | None, timeout_s: float) -> Callable[[], None]:
    """A check that also raises PreparationTooLong once the seconds have passed."""
    deadline = monotonic() + timeout_s

    def checked() -> None:
        if check is not None:
            check()
        if monotonic() > deadline:
            raise PreparationTooLong(f"this text takes longer than {timeout_s:g} seconds to prepare; send it in parts")

    return checked


def _checked_language(language: str, cleaner: Cleaner, name: str) -> str | None:
    language = as_language(language)
    if language == "auto":
        return None if cleaner.tagged else cleaner.languages[0]
    if language not in LANGUAGES:
        raise UnknownLanguage(f"unknown language {language!r}; known are {', '.join(LANGUAGES)}")
    if language not in cleaner.languages:
        raise UnknownLanguage(f"{name} speaks {', '.join(cleaner.languages)}, but not {language}")
    return language


def readable(text: str, dropped: Counter[str]) -> str:
    """The text with one kind of line end and without lone surrogates, which are counted in `dropped`."""
    text = re.sub(r"\r\n?|[\u0085\u2028\u2029]", "\n", text)
    dropped.update(LONE_SURROGATES.findall(text))
    return LONE_SURROGATES.sub("", text)


def silence_of(text: str) -> UnspeakableText:
    """The error for a text that has nothing to speak: NothingToSay if it has no letters or digits."""
    if any(character.isalnum() for character in text):
        return UnspeakableText("nothing in this text can be spoken")
    return NothingToSay("there is nothing to say in this text")


def prepare(
    text: str,
    cleaner: str,
    symbols: Sequence[str],
    lang: str = "auto",
    declared_languages: Sequence[str] = (),
    normalize: bool = True,
    add_blank: bool = False,
    check: Callable[[], None] | None = None,
    timeout_s: float = MAX_SECONDS,
    dictionary: Dictionary = NO_DICTIONARY,
) -> Prepared:
    """The sentences of a text in symbol ids, and the characters that cannot be spoken.

    Args:
        text: what is to be spoken; parts may stand between language tags such as [ZH]...[ZH].
        cleaner: the cleaner of the model's config.
        symbols: the model's symbol table, in the order of ids.
        lang: the language of the text outside tags, one of LANGUAGES; "auto" tells it by script.
        declared_languages: the languages that the model speaks; they decide where the script does not.
        normalize: whether numbers, dates, units and the like are put into words before the cleaner gets them.
        add_blank: whether the model was trained with blanks between symbols.
        check: called before each sentence; what it raises ends the preparation.
        timeout_s: how long the preparation may take.
        dictionary: written forms of the user's own and how they are spoken.

    Raises:
        PreparationTooLong: it took longer than that.
        UnknownCleaner: no front end has that name.
        UnknownLanguage: lang is not in LANGUAGES, or the cleaner does not speak it.
        UnspeakableText: nothing in the text can be spoken; NothingToSay where it has no letters or digits.
        MissingLibrary: a language in the text needs packages that are not installed.

    """
    front_end = find(cleaner)
    language = _checked_language(lang, front_end, cleaner)
    check = in_time(check, timeout_s)
    preparation = _Preparation(front_end, symbols, normalize=normalize, add_blank=add_blank, check=check)
    return preparation.of(text, language, declared_languages, dictionary)
