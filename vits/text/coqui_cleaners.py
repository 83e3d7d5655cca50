"""The text cleaners of Coqui TTS.

Follows, in behaviour, coqui-tts 0.28.0: TTS/tts/utils/text/cleaners.py, english/ and french/. Its cleaners for Italian
and Chinese are not followed, nor are its Italian abbreviations.
"""

from __future__ import annotations

import re
import unicodedata

from vits.text.english import expand_abbreviations
from vits.text.english_numbers import cardinal, number_in_words, ordinal

CLEANERS = (
    "basic_cleaners",
    "transliteration_cleaners",
    "basic_german_cleaners",
    "basic_turkish_cleaners",
    "english_cleaners",
    "french_cleaners",
    "portuguese_cleaners",
    "multilingual_cleaners",
    "phoneme_cleaners",
    "multilingual_phoneme_cleaners",
    "no_cleaners",
)

_AND = {"en": " and ", "fr": " et ", "it": " e ", "pt": " e ", "ca": " i "}
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound sterling", "pounds sterling", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
}
"""One and several of each unit and of its hundredth."""
_TIME = re.compile(r"\b(1[0-9]|2[0-3]|0?[0-9]):([0-5][0-9])(?:\s*(am|pm)\b|\b)", re.IGNORECASE)

_FRENCH = [
    (re.compile(rf"\b{short}\.", re.IGNORECASE), word)
    for short, word in (
        ("M", "monsieur"),
        ("Mlle", "mademoiselle"),
        ("Mlles", "mesdemoiselles"),
        ("Mme", "Madame"),
        ("Mmes", "Mesdames"),
        ("N.B", "nota bene"),
        ("p.c.q", "parce que"),
        ("Pr", "professeur"),
        ("qqch", "quelque chose"),
        ("rdv", "rendez-vous"),
        ("max", "maximum"),
        ("min", "minimum"),
        ("no", "numéro"),
        ("adr", "adresse"),
        ("dr", "docteur"),
        ("st", "saint"),
        ("co", "companie"),
        ("jr", "junior"),
        ("sgt", "sergent"),
        ("capt", "capitain"),
        ("col", "colonel"),
        ("av", "avenue"),
        ("apr. J.-C", "après Jésus-Christ"),
        ("art", "article"),
        ("boul", "boulevard"),
        ("c.-à-d", "c’est-à-dire"),
        ("etc", "et cetera"),
        ("ex", "exemple"),
        ("excl", "exclusivement"),
    )
] + [(re.compile(r"\bMlle"), "mademoiselle"), (re.compile(r"\bMme"), "Madame")]
"""Its abbreviations in their order; those that an earlier one always takes are left out."""


def clean(text: str, cleaner: str, language: str | None, *, numbers: bool = True) -> str:
    """The text as a cleaner leaves it.

    Args:
        text: a sentence.
        cleaner: one of CLEANERS, or "" for none.
        language: a code such as "en", which decides what some of them do.
        numbers: whether those cleaners that put numbers into English words do so.

    """
    if cleaner in ("", "no_cleaners"):
        return text.replace("\n", "") if cleaner else text
    text = unicodedata.normalize("NFC", text)
    if cleaner == "basic_turkish_cleaners":
        text = text.replace("I", "ı")
    if cleaner == "french_cleaners":
        text = _without_abbreviations(text, language)
    if cleaner not in ("phoneme_cleaners", "multilingual_phoneme_cleaners"):
        text = text.lower()
    if cleaner == "english_cleaners":
        text = _TIME.sub(_time, text) if numbers else text
    if cleaner in ("english_cleaners", "phoneme_cleaners"):
        text = _without_abbreviations(_without_numbers(text) if numbers else text, language)
    if not cleaner.startswith(("basic", "transliteration")):
        text = _without_symbols(text, language)
    return re.sub(r"\s+", " ", text).strip()


def _without_symbols(text: str, language: str | None) -> str:
    if language != "el":
        text = text.replace(";", ",")
    text = text.replace("-", "" if language == "ca" else " ").replace(":", ",")
    text = text.replace("&", _AND.get(language or "", "&"))
    if language == "ca":
        text = text.replace("'", "")
    return re.sub(r"[<>()\[\]\"]+", "", text)


def _without_abbreviations(text: str, language: str | None) -> str:
    if language == "en":
        return expand_abbreviations(text)
    for pattern, word in _FRENCH if language == "fr" else ():
        text = pattern.sub(word, text)
    return text


def _without_numbers(text: str) -> str:
    """The text with its numbers in English words."""
    text = re.sub(r"[0-9][0-9,]+[0-9]", lambda match: match[0].replace(",", ""), text)
    text = re.sub(r"([£$¥])([0-9,.]*[0-9]+)", _money, text)
    text = re.sub(r"[0-9]+\.[0-9]+", lambda match: match[0].replace(".", " point "), text)
    text = re.sub(r"([0-9]+)(?:st|nd|rd|th)", lambda match: ordinal(match[1]), text)
    return re.sub(r"(-?)([0-9]+)", _number, text)


def _number(match: re.Match[str]) -> str:
    sign, digits = match.groups()
    if not sign or not digits.strip("0"):
        return number_in_words(digits)
    return f"minus {cardinal(digits)}"


def _money(match: re.Match[str]) -> str:
    one, several, one_part, several_parts = _CURRENCIES[match[1]]
    whole, *parts = match[2].replace(",", "").split(".")
    if len(parts) > 1:
        return f"{match[2]} {several}"
    amounts = ((int(whole or 0), one, several), (int(parts[0] or 0) if parts else 0, one_part, several_parts))
    spoken = [f"{amount} {single if amount == 1 else many}" for amount, single, many in amounts if amount]
    return " ".join(spoken) or f"zero {several}"


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    words = [cardinal(str((hour - 1) % 12 + 1))]
    if minute:
        words += ["oh"] * (minute < 10) + [cardinal(str(minute))]
    half = match[3] or ("pm" if hour >= 12 or hour == 0 else "am")
    return " ".join([*words, *half])
