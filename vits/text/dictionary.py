"""A dictionary of the user's own: how written forms are spoken, in other words or in phonemes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from vits.errors import BadDictionary
from vits.limits import LONE_SURROGATES
from vits.text import phonemes
from vits.text.phonemes import Pronunciations
from vits.text.rules import fold

MAX_ENTRIES = 10_000
MAX_WRITTEN = 100
MAX_SPOKEN = 240
MAX_GROWTH = 4
GROWTH_CHARACTERS = 10_000
"""A text's spoken forms may make it so many times as long, and so many characters longer: a character could be one of
MAX_SPOKEN, and what is prepared would then be no longer bounded by what a client may send."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How one written form is spoken."""

    written: str
    spoken: str
    case_sensitive: bool = False


@dataclass(frozen=True)
class Dictionary:
    """Entries by their written form. Equal ones have equal hashes, so they can be part of a key."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, table: Mapping[str, object], where: str = "replace") -> Dictionary:
        """The dictionary of a table: written form -> spoken form, or -> {spoken = "...", case = true}.

        A spoken form is text, ARPAbet ("HH AH0 L OW1"), pinyin ("hang2 zhang3"), or the voice's symbols between [[ and
        ]].

        Raises:
            BadDictionary: an entry is not usable; the message names it.

        """
        if not isinstance(table, Mapping):
            raise BadDictionary(f"{where} is {type(table).__name__}, expected a table of written and spoken forms")
        if len(table) > MAX_ENTRIES:
            raise BadDictionary(f"{where} has {len(table)} entries, expected at most {MAX_ENTRIES}")
        return cls(tuple(_entry(written, spoken, where) for written, spoken in table.items()))

    def over(self, other: Dictionary) -> Dictionary:
        """A dictionary of these entries, and those of the other for forms that these lack."""
        own = {entry.written for entry in self.entries}
        return Dictionary(self.entries + tuple(entry for entry in other.entries if entry.written not in own))

    def __bool__(self) -> bool:
        """Whether there are any entries."""
        return bool(self.entries)

    @cached_property
    def _exact(self) -> dict[str, Entry]:
        """The entries whose capitals matter, by their written form; of two the first counts, here as below."""
        return {entry.written: entry for entry in reversed(self.entries) if entry.case_sensitive}

    @cached_property
    def _folded(self) -> dict[str, Entry]:
        """The others, by their written form without its case."""
        return {_folded(entry.written): entry for entry in reversed(self.entries) if not entry.case_sensitive}

    @cached_property
    def _lengths(self) -> dict[str, list[int]]:
        """How long the written forms are that begin with a character, without its case: the longest first."""
        lengths: dict[str, set[int]] = {}
        for entry in self.entries:
            lengths.setdefault(_folded(entry.written[0]), set()).add(len(entry.written))
        return {start: sorted(found, reverse=True) for start, found in lengths.items()}

    def apply(self, text: str, pronunciations: Pronunciations, symbols: Collection[str]) -> str:
        """The text with each written form as its spoken form, or as the character that stands for its phonemes."""

        def said(entry: Entry, written: str) -> str:
            phones = entry.spoken.removeprefix("[[").removesuffix("]]")
            is_plain = phones == entry.spoken and not phonemes.is_notation(phones, entry.written)
            pronunciation = None if is_plain else phonemes.read(phones, written, symbols)
            return pronunciations.stand_in(pronunciation) if pronunciation else phones

        return "".join(self._replaced(text, said)) if self.entries else text

    def spell(self, text: str, *, phonemes_allowed: bool) -> str:
        """The text with each written form as its spoken form, for voices that are not taught by cleaners.

        Args:
            text: anything.
            phonemes_allowed: whether the voice reads phonemes between [[ and ]].

        Raises:
            BadDictionary: a form in the text is given in a notation that such voices do not read.

        """

        def said(entry: Entry, written: str) -> str:
            is_raw = entry.spoken.startswith("[[")
            if (is_raw and not phonemes_allowed) or phonemes.is_notation(entry.spoken, entry.written):
                wanted = "words, or its phonemes between [[ and ]]" if phonemes_allowed else "words"
                raise BadDictionary(f"{written!r}: this voice does not read {entry.spoken!r}; expected {wanted}")
            return entry.spoken

        return "".join(self._replaced(text, said)) if self.entries else text

    def _replaced(self, text: str, said: Callable[[Entry, str], str]) -> Iterator[str]:
        folded = _folded(text)
        most = MAX_GROWTH * len(text) + GROWTH_CHARACTERS
        kept = position = 0
        while position < len(text):
            entry = self._at(text, folded, position)
            if entry is None:
                position += 1
                continue
            yield text[kept:position]
            end = position + len(entry.written)
            spoken = said(entry, text[position:end])
            most -= len(spoken)
            if most < 0:
                raise BadDictionary(f"the spoken forms make this text over {MAX_GROWTH} times as long; shorten them")
            yield spoken
            kept = position = end
        yield text[kept:]

    def _at(self, text: str, folded: str, position: int) -> Entry | None:
        """The longest entry that is written here, and not in a word of a script with blanks between words."""
        if _is_inside(text, position):
            return None
        for length in self._lengths.get(folded[position], ()):
            end = position + length
            entry = self._exact.get(text[position:end]) or self._folded.get(folded[position:end])
            if entry is not None and len(entry.written) == length and not _is_inside(text, end):
                return entry
        return None


def _folded(text: str) -> str:
    """The text without its case, one character for each."""
    return "".join(fold(character)[:1] for character in text)


def _is_spaced(character: str) -> bool:
    """Whether the character belongs to a script that has blanks between words."""
    return character.isalnum() and not "\u0e00" <= character <= "\u0eff" and character < "\u1100"


def _is_inside(text: str, position: int) -> bool:
    return 0 < position < len(text) and _is_spaced(text[position - 1]) and _is_spaced(text[position])


def _entry(written: str, spoken: object, where: str) -> Entry:
    case_sensitive: object = False
    if isinstance(spoken, Mapping):
        if unknown := set(spoken) - {"spoken", "case"}:
            raise BadDictionary(f"{where}: {written!r}: unknown key {sorted(unknown)[0]!r}; known are spoken, case")
        case_sensitive, spoken = spoken.get("case", False), spoken.get("spoken")
    if not isinstance(written, str) or not 0 < len(written) <= MAX_WRITTEN or written != written.strip():
        raise BadDictionary(
            f"{where}: {str(written)[:40]!r}: expected 1 to {MAX_WRITTEN} characters, no blank at the ends"
        )
    if not isinstance(spoken, str) or len(spoken) > MAX_SPOKEN:
        raise BadDictionary(f"{where}: {written!r}: the spoken form is no text of at most {MAX_SPOKEN} characters")
    if LONE_SURROGATES.search(written + spoken):
        raise BadDictionary(f"{where}: {written!r}: holds half a character (a lone surrogate)")
    if not isinstance(case_sensitive, bool):
        raise BadDictionary(f"{where}: {written!r}: case is {case_sensitive!r}, expected true or false")
    return Entry(written, phonemes.without_private(spoken), case_sensitive)
