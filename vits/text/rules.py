"""Ordered replacements, which every front end uses."""

from __future__ import annotations

import re
from collections.abc import Iterable

Rules = list[tuple[re.Pattern[str], str]]


def compile_rules(pairs: Iterable[tuple[str, str]], flags: int = 0) -> Rules:
    """Rules from pairs of regular expression and replacement."""
    return [(re.compile(pattern, flags), replacement) for pattern, replacement in pairs]


def apply_rules(rules: Rules, text: str) -> str:
    """The text after each rule in turn: a rule sees what the earlier ones made."""
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def replace_all(pairs: Iterable[tuple[str, str]], text: str) -> str:
    """The text after each plain replacement in turn."""
    for old, new in pairs:
        text = text.replace(old, new)
    return text


# What a case-blind [a-z] also matches in Python: long s, the Kelvin sign, dotted and dotless i.
_FOLDED = str.maketrans({"ſ": "s", "\u212a": "k", "\u0130": "i", "ı": "i"})
_LATIN = re.compile("[a-z]", re.IGNORECASE)


def fold(text: str) -> str:
    """The text without differences of case, as case-blind regular expressions see it, character for character.

    Whatever such an expression of Latin letters matched is looked up by its folded form. `str.lower` keeps ı and ſ,
    and makes two characters of İ.
    """
    return text.translate(_FOLDED).lower()


def spell_latin(text: str, names: dict[str, str]) -> str:
    """The text with every Latin letter replaced by its name in another language."""
    return _LATIN.sub(lambda match: names[fold(match[0])], text)
