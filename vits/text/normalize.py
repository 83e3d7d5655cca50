"""Numbers, dates, units and symbols in words, before a cleaner that would drop or garble them.

The cleaners stay as they were when the checkpoints were trained: they lose the % of 12.5%, read the 14 of 3.14 as
fourteen and 2024年 as a quantity. They only have to spell what is written out here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from vits.text import numbers
from vits.text.japanese_names import standard

_COMPATIBLE = re.compile(
    "[\u00bc-\u00be\u2100-\u2102\u2104-\u2108\u210a-\u2121\u2123-\u214f\u2150-\u217f\u2460-\u24ff\u3200-\u33ff\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a"
    "\uff41-\uff5a\uff61-\uff9f\U0001d400-\U0001d7ff]+"
)
_MOST_MARKS = 30
_STRAY = re.compile(r"[*^`#=_|\\<>{}\[\]→↓↑⁼ʰ]+")


def _compatible(match: re.Match[str]) -> str:
    plain = "".join(
        str(int(unicodedata.numeric(character))) if "\u2160" <= character <= "\u217f" else character
        for character in match[0]
    )
    return unicodedata.normalize("NFKC", plain).replace("\u2044", "/")


def _with_few_marks(text: str) -> str:
    """The text without what goes beyond 30 combining marks in a row, the bound of Unicode's stream-safe format.

    Normalization puts each run in order, which takes time that grows with the square of its length.
    """
    if text.isascii():
        return text
    kept = []
    run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        if run <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def unify(text: str) -> str:
    """The text with letters and digits that only look different as plain ones: １２, ①, ㎏, 𝐛𝐨𝐥𝐝, wide blanks."""
    text = re.sub(r"[^\S\n]", " ", unicodedata.normalize("NFC", _with_few_marks(text)))
    return _COMPATIBLE.sub(_compatible, text)


def unify_numbers(text: str) -> str:
    """The whole text with what numbers mean in any language settled; `unify` comes after it."""
    return numbers.name_numbers(numbers.join_groups(text))


@lru_cache(maxsize=512)
def normalize(text: str, language: str, *, from_dictionary: bool = True) -> str:
    """A text in one language with what its cleaner would lose written out.

    `from_dictionary`: the cleaner reads English words from a dictionary and letter by letter what that lacks.
    """
    text = unify(text)
    if language == "ja":
        text = standard(text)
    if language == "en":
        from vits.text import normalize_english

        text = normalize_english.normalize(text, respell=from_dictionary)
    elif language in ("zh", "ja", "ko"):
        from vits.text import normalize_cjk

        text = normalize_cjk.normalize(text, language)
    if language == "ja":
        from vits.text import katakana_words

        text = katakana_words.spell(text)
    if language == "zh":
        from vits.text.polyphones import spell

        text = spell(_STRAY.sub(" ", text))
    # Several symbol tables have these as phonetic signs, which no text means by them.
    return _STRAY.sub(" ", text)
