"""English numbers, dates, units, symbols and unknown words, in words that the cleaners can speak."""

from __future__ import annotations

import re
from functools import lru_cache

from vits.text.english import ABBREVIATIONS, pronunciations, to_ascii
from vits.text.english_numbers import cardinal, expand_numbers, ordinal
from vits.text.rules import fold

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_CURRENCIES = {
    "$": ("dollar", "cent"),
    "€": ("euro", "cent"),
    "£": ("pound", "penny"),
    "¥": ("yen", ""),
    "￥": ("yen", ""),
    "₩": ("won", ""),
    "₹": ("rupee", ""),
}
_PLURALS = {"penny": "pence", "yen": "yen", "won": "won"}
_UNITS = {
    "km/h": "kilometers per hour",
    "m/s": "meters per second",
    "mph": "miles per hour",
    "km²": "square kilometers",
    "m²": "square meters",
    "m³": "cubic meters",
    "km": "kilometers",
    "cm": "centimeters",
    "mm": "millimeters",
    "nm": "nano meters",
    "m": "meters",
    "kg": "kilograms",
    "mg": "milligrams",
    "g": "grams",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "ft": "feet",
    "ml": "milliliters",
    "mL": "milliliters",
    "L": "liters",
    "GHz": "giga hertz",
    "MHz": "megahertz",
    "kHz": "kilo hertz",
    "Hz": "hertz",
    "TB": "terabytes",
    "GB": "gigabytes",
    "MB": "megabytes",
    "KB": "kilobytes",
    "kB": "kilobytes",
    "kWh": "kilowatt hours",
    "kW": "kilowatts",
    "MW": "megawatts",
    "W": "watts",
    "V": "volts",
    "dB": "decibels",
    "°C": "degrees Celsius",
    "℃": "degrees Celsius",
    "℉": "degrees Fahrenheit",
    "°F": "degrees Fahrenheit",
    "°": "degrees",
    "ms": "milliseconds",
    "min": "minutes",
    "h": "hours",
    "hr": "hours",
    "hrs": "hours",
}
_SIGNS = {
    "%": " percent ",
    "‰": " per mille ",
    "&": " and ",
    "@": " at ",
    "+": " plus ",
    "=": " equals ",
    "×": " times ",
    "÷": " divided by ",
    "±": " plus or minus ",
    "<": " less than ",
    ">": " greater than ",
    "°": " degrees ",
    "№": "number ",
}
_PHRASES = {"e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus"}
_PHRASE = re.compile(r"(?<![\w.])(?:e\.g\.|i\.e\.|etc\.|vs\.)(?!\w)", re.IGNORECASE)
_WIDE_MARKS = str.maketrans(
    {"，": ", ", "。": ". ", "、": ", ", "；": "; ", "：": ": ", "！": "! ", "？": "? ", "（": " (", "）": ") "}
)
_HALVES = {"1/2": "one half", "1/3": "one third", "2/3": "two thirds", "1/4": "one quarter", "3/4": "three quarters"}
_UNIT = re.compile(
    rf"({_NUMBER})\s?({'|'.join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))})(?![A-Za-z\d/])"
)
_SCALE = r"(?:\s?(thousand|million|billion|trillion|[kKMB](?![A-Za-z])))?"
_SCALES = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}
_CURRENCY = re.compile(rf"([$€£¥￥₩₹])\s?({_NUMBER}){_SCALE}")
_ISO_DATE = re.compile(r"(?<![\d/.-])(\d{4})([-/.])(1[0-2]|0?[1-9])\2(3[01]|[12]\d|0?[1-9])(?![\d/.-]*\d)")
_DATE = re.compile(r"(?<![\d/.-])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/.-]*\d)")
_TIME = re.compile(
    r"(?<![\d:.])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:\s?([ap])\.?m\b\.?)?(?![\d:])", re.IGNORECASE
)
_HOUR = re.compile(r"(?<![\d:.])(1[0-2]|0?[1-9])\s?([ap])\.?m\b\.?(?![A-Za-z])", re.IGNORECASE)
_LETTER_RUN = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _in_words(number: str) -> str:
    """A number of ASCII digits with commas and a decimal point as a quantity, never as a year."""
    whole, point, decimals = number.replace(",", "").partition(".")
    words = cardinal(whole)
    return f"{words} point {' '.join(cardinal(digit) for digit in decimals)}" if point else words


def _count(amount: str, noun: str) -> str:
    return f"{_in_words(amount)} {noun if amount == '1' else _PLURALS.get(noun, noun + 's')}"


def _money(match: re.Match[str]) -> str:
    unit, small_unit = _CURRENCIES[match[1]]
    amount, scale = match[2], match[3]
    if scale:
        return f"{_in_words(amount)} {_SCALES.get(scale, scale)} {_PLURALS.get(unit, unit + 's')}"
    whole, _, cents = amount.partition(".")
    if not cents or not small_unit or len(cents) > 2:
        return _count(amount, unit)
    cents = cents.ljust(2, "0").lstrip("0")
    parts = [_count(whole, unit)] if whole.strip("0") or not cents else []
    return ", ".join([*parts, _count(cents, small_unit)] if cents else parts)


def _date(year: str, month: str, day: str) -> str:
    return f"{_MONTHS[int(month) - 1]} {ordinal(day.lstrip('0'))}, {year}"


def _slashed_date(match: re.Match[str]) -> str:
    month, day = (match[1], match[2]) if int(match[1]) <= 12 else (match[2], match[1])
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match[0]
    return _date(match[3], month, day)


def _time(match: re.Match[str]) -> str:
    hours, minutes, seconds, half = match.groups()
    words = cardinal(hours)
    if minutes != "00":
        words += f" {'oh ' if minutes[0] == '0' else ''}{cardinal(minutes)}"
    elif not half:
        words += " o'clock" if 1 <= int(hours) <= 12 else " hundred hours"
    if seconds:
        words += f" and {cardinal(seconds)} seconds"
    return words + (f" {_spelled(half + 'm')}" if half else "")


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _range(match: re.Match[str]) -> str:
    first, sign, last = match.groups()
    is_code = sign == "-" and (_value(first) >= _value(last) or len(last) > 4)
    return match[0] if is_code else f"{first} to {last}"


def _unit(match: re.Match[str]) -> str:
    name = _UNITS[match[2]]
    if match[1] != "1":
        return f"{_in_words(match[1])} {name}"
    first, *others = name.split(" ")
    singular = {"feet": "foot", "hertz": "hertz", "square": "square", "cubic": "cubic"}.get(
        first, first.removesuffix("s")
    )
    return " ".join(["one", singular, *others])


def _decade(match: re.Match[str]) -> str:
    """The plural of a number without its s: 1990s are nineteen nineties."""
    words = expand_numbers(match[0])
    return words.removesuffix("y") + "ie" if words.endswith("y") else words


def _spelled_number(match: re.Match[str]) -> str:
    return " ".join(cardinal(digit) if digit.isdigit() else "," for digit in match[0])


def _quantities(text: str) -> str:
    text = re.sub(r"(?<![\d-])(?:\d{3}-)?\d{3}-\d{4}(?![\d-])", _spelled_number, text)
    text = _ISO_DATE.sub(lambda match: _date(match[1], match[3], match[4]), text)
    text = _DATE.sub(_slashed_date, text)
    text = _TIME.sub(_time, text)
    text = _HOUR.sub(lambda match: f"{cardinal(match[1])} {_spelled(match[2] + 'm')}", text)
    text = _CURRENCY.sub(_money, text)
    text = re.sub(rf"({_NUMBER})\s?([€£])", lambda match: _count(match[1], _CURRENCIES[match[2]][0]), text)
    text = re.sub(
        r"(?<![\d/.])\d{1,3}/\d{1,3}(?![\d/.]*\d)", lambda m: _HALVES.get(m[0], m[0].replace("/", " over ")), text
    )
    text = re.sub(rf"(?<=\d)%\s?[-–—~]\s?(?={_NUMBER})", " percent to ", text)
    text = re.sub(rf"(?<![\d.-])({_NUMBER})\s?([-–—~])\s?({_NUMBER})(?![\d-]|\.\d)", _range, text)
    text = re.sub(rf"(?<![\w)\]-])[-−](?={_NUMBER})", "minus ", text)
    text = _UNIT.sub(_unit, text)
    text = re.sub(r"(?<=\b[A-Za-z])#", " sharp", re.sub(r"#(?=\d)", "number ", text))
    text = re.sub(r"(?<![\d.,])(?:\d{2})?\d0(?=s\b)", _decade, text)
    text = re.sub(rf"({_NUMBER})\s?%", lambda match: f"{_in_words(match[1])} percent", text)
    text = re.sub(r"\d+(?:\.\d+){2,}", lambda match: " point ".join(map(cardinal, match[0].split("."))), text)
    return re.sub(r"\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+\.\d+", lambda match: _in_words(match[0]), text)


def _spelled(letters: str) -> str:
    """Letters one by one; the dictionary's "a" is the article, its "ay" the letter."""
    return " ".join("ay" if letter == "a" else letter for letter in fold(letters))


def _is_known(word: str) -> bool:
    return bool(pronunciations(fold(word)))


def _compound(word: str) -> str | None:
    """The two words that an unknown one is made of, as alike in length as can be."""
    cuts = sorted(range(3, len(word) - 2), key=lambda cut: abs(len(word) - 2 * cut))
    return next((f"{word[:cut]} {word[cut:]}" for cut in cuts if _is_known(word[:cut]) and _is_known(word[cut:])), None)


def _sounded(word: str) -> str:
    """An unknown word in letters that stand for their own sounds, as the cleaners read them."""
    word = re.sub(r"(?<=[^aeiou])y$", "i", fold(word))
    word = re.sub(r"(?<=[^aeiou])e$", "", word) if len(word) > 3 else word
    for spelling, sound in (
        (r"ph", "f"),
        (r"ck|qu?e?$", "k"),
        (r"qu", "kw"),
        (r"q", "k"),
        (r"^x", "z"),
        (r"x", "ks"),
        (r"c(?=[eiy])", "s"),
        (r"c", "k"),
        (r"ee|ea", "i"),
        (r"oo|ou", "u"),
        (r"([b-df-hj-np-tv-z])\1", r"\1"),
    ):
        word = re.sub(spelling, sound, word)
    return word


@lru_cache(maxsize=4096)
def _respelled(word: str) -> str:
    """A word as the dictionary knows it, or else by its parts, its letters or its sounds."""
    if _is_known(word.replace("’", "'")):
        return word
    base, apostrophe, ending = word.replace("’", "'").rpartition("'")
    if apostrophe and len(ending) <= 2:
        return f"{_respelled(base)} {ending}" if len(ending) > 1 else _respelled(base) + ("s" if ending == "s" else "")
    if word.isupper() and len(word) <= 5 or not re.search("[aeiouy]", fold(word)):
        return _spelled(word)
    parts = _CAMEL.findall(word)
    if len(parts) > 1:
        return " ".join(_respelled(part) for part in parts)
    return _compound(word) or _sounded(word)


def _respell(text: str) -> str:
    def hyphenated(match: re.Match[str]) -> str:
        return match[0] if _is_known(match[0]) else match[0].replace("-", " ")

    def word(match: re.Match[str]) -> str:
        is_abbreviation = text[match.end() : match.end() + 1] == "." and fold(match[0]) in ABBREVIATIONS
        return match[0] if is_abbreviation else _respelled(match[0])

    text = re.sub(r"(?<=[A-Za-z] )A\b(?!['-]|\s+[a-z])|^\s*A\s*$", "ay", text)
    text = re.sub(r"(?<![^\s(\"'])[A-Za-z]+(?:-[A-Za-z]+)+", hyphenated, text)
    text = re.sub(r"\b([A-Za-z])\.(?=[A-Za-z]\b)", r"\1 ", text)
    return _LETTER_RUN.sub(word, text)


def normalize(text: str, *, respell: bool) -> str:
    """An English text with numbers and symbols in words.

    `respell`: words that the dictionary lacks are written by parts, letters or sounds, for cleaners that only have
    the dictionary and would read them letter by letter, leaving out c and q.
    """
    text = re.sub(r"https?://(?:www\.)?", "", text.translate(_WIDE_MARKS))
    text = re.sub(r"(?<=[a-z0-9])\.(?=[a-z]{2,})", " dot ", re.sub(r"\s*(?:[—–]|--)\s*(?=[^\d\s])", ", ", text))
    text = _quantities(text)
    text = _PHRASE.sub(lambda match: _PHRASES[fold(match[0])], text)
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    text = re.sub(r"(?<=\w)/(?=\w)", " ", text)
    if respell:
        text = re.sub(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=(?!(?:st|nd|rd|th|s)\b)[A-Za-z])", " ", to_ascii(text))
        text = _respell(expand_numbers(text))
    return re.sub(r"[^\S\n]+(?=[,.!?;:])|(?<=\s)[^\S\n]+", "", text)
