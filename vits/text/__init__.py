"""Text to symbols, without torch: each front end as the checkpoints' training had it, and what text needs before it.

clean("[EN]Hello.[EN]", "cjke_cleaners2")    the text in a cleaner's symbols, exactly as in training
to_ids(cleaned, symbols)                     those symbols' ids
prepare("Hello. 你好。", cleaner, symbols)     any text, tagged, normalized and cut into sentences of ids
"""

from __future__ import annotations

from vits.errors import (
    BadDictionary,
    MissingLibrary,
    NothingToSay,
    PreparationTooLong,
    TextError,
    UnknownCleaner,
    UnknownLanguage,
    UnspeakableText,
)
from vits.text.cleaners import CLEANERS, clean, languages
from vits.text.dictionary import Dictionary
from vits.text.preparation import (
    MAX_CHARACTERS,
    MAX_SECONDS,
    NO_DICTIONARY,
    Prepared,
    Sentence,
    prepare,
    to_ids,
    with_blanks,
)

__all__ = [
    "CLEANERS",
    "MAX_CHARACTERS",
    "MAX_SECONDS",
    "NO_DICTIONARY",
    "BadDictionary",
    "Dictionary",
    "MissingLibrary",
    "NothingToSay",
    "PreparationTooLong",
    "Prepared",
    "Sentence",
    "TextError",
    "UnknownCleaner",
    "UnknownLanguage",
    "UnspeakableText",
    "clean",
    "languages",
    "prepare",
    "to_ids",
    "with_blanks",
]
