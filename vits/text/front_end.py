"""The interface that turns text into a voice's symbol ids, whatever the voice's format, and what its kinds share."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from vits.errors import UnknownLanguage
from vits.limits import as_language
from vits.text import cleaners, markup, preparation, sentences
from vits.text.dictionary import Dictionary
from vits.text.preparation import (
    MAX_CHARACTERS,
    MAX_SECONDS,
    MAX_SYMBOLS,
    NO_DICTIONARY,
    Prepared,
    Sentence,
    in_time,
    readable,
    silence_of,
)
from vits.text.sentences import NO_PAUSE_S, Piece


class FrontEnd(Protocol):
    """What a voice's text goes through."""

    @property
    def name(self) -> str:
        """What it is called: a cleaner, or the engine and language that it follows."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it can speak."""

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """The Python packages that must be installed before it can speak, as pip takes them; most need none."""

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
        """The sentences of a text in symbol ids; what vits.text.prepare says of arguments and errors holds here."""


@dataclass(frozen=True, slots=True)
class CleanerFrontEnd:
    """One of the cleaners of VITS and VITS-fast-fine-tuning, with a voice's symbols."""

    name: str
    symbols: tuple[str, ...]
    add_blank: bool

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the cleaner has front ends for."""
        return cleaners.languages(self.name)

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """None: a cleaner speaks several languages, and a text in one that lacks a package says so."""
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
        """The sentences of a text in symbol ids."""
        return preparation.prepare(
            text,
            self.name,
            self.symbols,
            lang,
            declared_languages=declared_languages,
            normalize=normalize,
            add_blank=self.add_blank,
            check=check,
            timeout_s=timeout_s,
            dictionary=dictionary,
        )


class Reading(NamedTuple):
    """What a front end makes of one sentence."""

    written: str
    """The part of the text that it is."""
    cleaned: str
    """Its symbols, those that the voice lacks included."""
    ids: tuple[int, ...]
    """What the voice is to speak; none where the part has nothing to speak."""


class OneLanguageFrontEnd(ABC):
    """A front end of one language, which reads the text piece by piece; texts are cut as for all front ends."""

    __slots__ = ()

    language: str
    raw: ClassVar[re.Pattern[str] | None] = None
    """What phonemes in a text look like, if the voice reads any; such a part is neither changed nor cut."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @property
    @abstractmethod
    def missing_packages(self) -> tuple[str, ...]:
        """The Python packages that must be installed before it can speak, as pip takes them."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The voice's one language."""
        return (self.language,)

    @abstractmethod
    def read(self, text: str, dropped: Counter[str], *, normalize: bool) -> list[Reading]:
        """The sentences in a piece of text; characters that it cannot read are counted in `dropped`."""

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
        """The sentences of a text in symbol ids; what vits.text.prepare says of arguments and errors holds here."""
        check_language(lang, self)
        check = in_time(check, timeout_s)
        dropped: Counter[str] = Counter()
        text = readable(as_meant(text, dictionary, dropped, normalize=normalize, raw=self.raw), dropped)
        spoken: list[Sentence] = []
        for piece, readings in self._pieces(text, dropped, normalize, check):
            found = [reading for reading in readings if reading.ids]
            for reading in found:
                pause_s = piece.pause_s if reading is found[-1] else NO_PAUSE_S
                spoken.append(Sentence(reading.written, reading.written, reading.cleaned, reading.ids, pause_s))
        if not spoken:
            raise silence_of(text)
        return Prepared(tuple(spoken), dict(dropped))

    def _pieces(
        self, text: str, dropped: Counter[str], normalize: bool, check: Callable[[], None]
    ) -> Iterator[tuple[Piece, list[Reading]]]:
        """Yield the pieces of a text and what is read in them; a piece with too many symbols comes in halves."""
        outline = self.raw.sub(lambda match: len(match[0]) * "x", text) if self.raw else text
        waiting = sentences.split(outline, MAX_CHARACTERS)[::-1]
        while waiting:
            check()
            piece = waiting.pop()
            readings = self.read(text[piece.start : piece.end], dropped, normalize=normalize)
            if any(len(reading.ids) > 2 * MAX_SYMBOLS for reading in readings) and piece.end - piece.start > 1:
                waiting += _halves(outline, piece)[::-1]
                continue
            yield piece, readings


def _halves(text: str, piece: Piece) -> list[Piece]:
    first, second = sentences.halves(text[piece.start : piece.end])
    return [
        Piece(piece.start + first.start, piece.start + first.end, first.pause_s),
        Piece(piece.start + second.start, piece.start + second.end, piece.pause_s),
    ]


def check_language(lang: str, front_end: FrontEnd) -> None:
    """Raise UnknownLanguage where a text's language is not the front end's."""
    if as_language(lang) not in ("auto", *front_end.languages):
        raise UnknownLanguage(f"{front_end.name} speaks {', '.join(front_end.languages)}, but not {lang}")


def as_meant(
    text: str, dictionary: Dictionary, dropped: Counter[str], *, normalize: bool, raw: re.Pattern[str] | None = None
) -> str:
    """The text with the user's own spoken forms and, if it is normalized, without markup and emoji.

    Emoji are counted in `dropped`. What matches `raw` is phonemes, which stay as they are; a voice without `raw` has no
    way to write them.
    """
    text = _outside(raw, text, lambda part: dictionary.spell(part, phonemes_allowed=raw is not None))

    def plain(part: str) -> str:
        part = markup.plain(part)
        dropped.update(markup.PICTURES.findall(part))
        return markup.PICTURES.sub("", part)

    # Spoken forms may have brought further phonemes.
    return _outside(raw, text, plain) if normalize else text


def _outside(pattern: re.Pattern[str] | None, text: str, change: Callable[[str], str]) -> str:
    """The text, changed outside of what matches."""
    parts = re.split(f"({pattern.pattern})", text, flags=pattern.flags) if pattern else [text]
    parts[::2] = map(change, parts[::2])
    return "".join(parts)
