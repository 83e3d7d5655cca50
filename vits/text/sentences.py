"""The sentences of a text, each short enough to be spoken in one go, with the pause that follows it."""

from __future__ import annotations

import re
from typing import NamedTuple

SENTENCE_PAUSE_S = 0.35
PARAGRAPH_PAUSE_S = 0.6
CLAUSE_PAUSE_S = 0.15
NO_PAUSE_S = 0.0

# A full stop after one of these words never ends a sentence.
_TITLE = re.compile(
    "mr|mrs|ms|dr|prof|st|gen|rev|lt|sgt|capt|maj|col|cmdr|adm|gov|sen|rep|hon|pres|messrs|mt|ft|fig|figs|eq|sec|vol|"
    r"ed|pp|p|vs|v|cf|viz|al|approx|ca|e\.g|i\.e|a\.k\.a",
    re.IGNORECASE,
)
# A full stop after one of these ends a sentence if a capital letter follows.
_ABBREVIATION = re.compile(
    "etc|inc|ltd|co|corp|jr|sr|bros|dept|est|min|max|avg|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|mon|tues?|wed|"
    r"thu|thurs?|fri|sat|sun|[ap]\.m|b\.c|a\.d|u\.[skn]|ph\.d|esq|ave|blvd|rd",
    re.IGNORECASE,
)
# A full stop after one of these ends a sentence unless a digit follows.
_NUMBERED = re.compile("nos?|art|apt|ext|ch|chap|rm|tel|pt", re.IGNORECASE)
_CLOSING = "\"'”’»)\\]}」』）】》〉］｝"
_END = re.compile(
    rf"(?P<newline>\n\s*)|(?P<wide>[。！？｡।॥]+|[…‥]+)[。！？!?…‥]*[{_CLOSING}]*|(?P<ascii>[.!?]+)[{_CLOSING}]*"
)
_CLAUSE = re.compile(rf"[,，、;；:：—–،]+[{_CLOSING}]*")
_CJK = re.compile(r"[\u1100-\u11ff\u3000-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]")
_WORD_BEFORE = re.compile(r"([^\W\d_]+(?:\.[^\W\d_]+)*)$")


class Piece(NamedTuple):
    """A sentence or a part of one, as the range of its characters in the text."""

    start: int
    end: int
    pause_s: float


def _is_abbreviated(before: str, after: str) -> bool:
    """Whether the full stop between these two belongs to an abbreviation and ends no sentence."""
    following = after.lstrip()
    if following[:1].islower() or re.fullmatch(r"\s*\(?\d+", before):
        return True
    match = _WORD_BEFORE.search(before)
    if not match:
        return False
    word = match[1]
    if _TITLE.fullmatch(word) or (_NUMBERED.fullmatch(word) and following[:1].isdigit()):
        return True
    if _ABBREVIATION.fullmatch(word):
        return not following[:1].isupper()
    is_initial = len(word) == 1 and word.isupper() and word != "I"
    return is_initial and bool(re.search(r"(?:^|[A-Z]\.\s*|\b[A-Z][a-z]+\.?\s)$", before[: match.start()]))


def _ends_sentence(text: str, match: re.Match[str], start: int) -> bool:
    after = text[match.end() : match.end() + 40]
    closes_quote = match[0][-1] in _CLOSING
    if not after or match["newline"]:
        return True
    if closes_quote and (after[0].isalnum() or after[0] in ",，、"):
        return False
    if match["wide"]:
        return True
    if not after[0].isspace() and not _CJK.match(after):
        return False
    if match["ascii"] == ".":
        return not _is_abbreviated(text[max(start, match.start() - 40) : match.start()], after)
    return not after.lstrip()[:1].islower()


def _sentences(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    start = 0
    for match in _END.finditer(text):
        if match.end() <= start or not _ends_sentence(text, match, start):
            continue
        if match["newline"] and not text[start : match.start()].strip():
            if pieces:
                pieces[-1] = Piece(pieces[-1].start, match.end(), PARAGRAPH_PAUSE_S)
            start = match.end()
            continue
        pieces.append(Piece(start, match.end(), PARAGRAPH_PAUSE_S if match["newline"] else SENTENCE_PAUSE_S))
        start = match.end()
    if text[start:].strip():
        pieces.append(Piece(start, len(text), SENTENCE_PAUSE_S))
    return pieces


def _last_break(text: str, start: int, limit: int) -> tuple[int, float]:
    """The best end of a piece that starts at `start` and may reach `limit`, and the pause there."""
    earliest = start + max(1, (limit - start) // 4)
    clause_ends = [match.end() for match in _CLAUSE.finditer(text, start, limit) if _is_clause_end(text, match)]
    if clause_ends and clause_ends[-1] >= earliest:
        return clause_ends[-1], CLAUSE_PAUSE_S
    for position in range(limit, earliest, -1):
        if text[position - 1].isspace() or text[position].isspace():
            return position, NO_PAUSE_S
    for position in range(limit, earliest, -1):
        if not (_is_word(text[position - 1]) and _is_word(text[position])):
            return position, NO_PAUSE_S
    return limit, NO_PAUSE_S


def _is_clause_end(text: str, match: re.Match[str]) -> bool:
    """Whether the mark ends a clause, unlike those in numbers such as 1,000 or 10:30."""
    return not (text[match.start() - 1 : match.start()].isdigit() and text[match.end() : match.end() + 1].isdigit())


def _is_word(character: str) -> bool:
    return character.isalnum() and not _CJK.match(character)


def halves(text: str) -> list[Piece]:
    """A text in two pieces, cut at the best place near its middle."""
    middle, pause_s = _last_break(text, 0, max(1, (len(text) + 1) * 5 // 8))
    return [Piece(0, middle, pause_s), Piece(middle, len(text), NO_PAUSE_S)]


def _trimmed(text: str, piece: Piece) -> Piece:
    start, end = piece.start, piece.end
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace():
        start += 1
    return Piece(start, end, piece.pause_s)


def split(text: str, max_characters: int) -> list[Piece]:
    """The pieces of a text, in order: sentences, or clauses of those that are too long, or else whatever fits.

    None is longer than `max_characters`, none begins or ends with a blank, and only blanks stand between them.
    """
    pieces = []
    for sentence in _sentences(text):
        piece = _trimmed(text, sentence)
        while piece.end - piece.start > max_characters:
            end, pause_s = _last_break(text, piece.start, piece.start + max_characters)
            pieces.append(_trimmed(text, Piece(piece.start, end, pause_s)))
            piece = _trimmed(text, Piece(end, piece.end, sentence.pause_s))
        pieces.append(piece)
    return [piece for piece in pieces if piece.start < piece.end]
