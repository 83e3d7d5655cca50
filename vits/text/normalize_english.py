"""English numbers, dates, units, symbols and unknown words, in words that the cleaners can speak."""

from __future__ import annotations

import re
from functools import lru_cache

from vits.text import english_heteronyms, english_tokens
from vits.text.english import ABBREVIATIONS, pronunciations, to_ascii
from vits.text.english_numbers import cardinal, expand_numbers, ordinal
from vits.text.english_tokens import spell as _spelled
from vits.text.numbers import is_fraction
from vits.text.phonemes import CLOSE, OPEN
from vits.text.rules import fold

_NUMBER = r"\d++(?:,\d{3})*+(?:\.\d++)?"
_DASH = r"\s?[-–—−~]\s?"
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
    "≤": " less than or equal to ",
    "≥": " greater than or equal to ",
    "≈": " approximately equals ",
    "≠": " does not equal ",
    "−": " minus ",
    "√": " square root of ",
    "∞": " infinity ",
    "π": " pi ",
}
_PHRASES = {"e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus"}
_PHRASE = re.compile(r"(?<![\w.])(?:e\.g\.|i\.e\.|etc\.|vs\.)(?!\w)", re.IGNORECASE)
_WIDE_MARKS = str.maketrans(
    {"，": ", ", "。": ". ", "、": ", ", "；": "; ", "：": ": ", "！": "! ", "？": "? ", "（": " (", "）": ") "}
)
_PARTS = {"2": ("half", "halves"), "4": ("quarter", "quarters")}
_SLASH = re.compile(r"(?<![\d/.A-Za-z])(?:(\d{1,6})(?: |-)(?=\d{1,2}/\d))?(\d{1,3})/(\d{1,4})(?![\d/]|\.\d|[A-Za-z])")
_RATES = {"kg": "kilogram", "lb": "pound", "hr": "hour", "mo": "month", "yr": "year", "wk": "week"}
_RATE = re.compile(
    r"(?<=[\dA-Za-z])\s?/\s?(hour|day|week|month|year|person|night|minute|second|unit|user|seat|head|gallon|page|mile|kg|"
    r"lb|hr|mo|yr|wk)\b"
)
_DOLLARS = {
    "US": "US",
    "A": "Australian",
    "AU": "Australian",
    "C": "Canadian",
    "CA": "Canadian",
    "HK": "Hong Kong",
    "NZ": "New Zealand",
    "S": "Singapore",
    "NT": "Taiwan",
}
_SCALE = r"(?:\s?(thousand|million|billion|trillion|(?:[kKmMBT]|bn|mn|tn)(?![A-Za-z/])))?"
_SCALES = {
    **{"k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million"},
    **{"B": "billion", "bn": "billion", "T": "trillion", "tn": "trillion"},
}
_FOREIGN_DOLLARS = re.compile(rf"(?<![A-Za-z])(US|AU?|CA?|HK|NZ|S|NT)\$\s?({_NUMBER}){_SCALE}")
_CLOCK = r"\d{1,2}(?::[0-5]\d)?\s?(?:[ap]\.?m\b\.?)"
# Two alike on both sides of a hyphen: times, amounts of money, percentages, temperatures, decades, ordinals.
_TO = re.compile(
    rf"(?<=[ap]m){_DASH}(?=\d)|(?<=[ap]\.m\.){_DASH}(?=\d)|(?<=\d){_DASH}(?={_CLOCK})"
    rf"|(?<=:\d\d){_DASH}(?=\d{{1,2}}:\d\d)|(?<=\d){_DASH}(?=[$€£¥₩₹]\s?\d)|(?<=\d[kKMB]){_DASH}(?=[$€£]?\d)"
    rf"|(?<=\d[%°]){_DASH}(?=\d)|(?<=\d°[CF]){_DASH}(?=\d)|(?<=\d0s){_DASH}(?='?\d)"
    rf"|(?<=\d(?:st|nd|rd|th)){_DASH}(?=\d+(?:st|nd|rd|th))",
    re.IGNORECASE,
)
_MEASURED = r"(?:km|cm|mm|kg|mg|lbs?|oz|ft|ml|GHz|MHz|kHz|GB|MB|TB|KB|mph|kWh|kW|hrs?|mins?|ms|m|g|L|W|V)"
_UNITS_TO = re.compile(rf"(?<=\d)(\s?{_MEASURED})\s?[-–—]\s?(?={_NUMBER}\s?{_MEASURED}\b)")
_SHORT_YEARS = re.compile(r"(?<![\d-])((?:1[5-9]|20)(\d\d))[-–](\d\d)(?![\d-])")
_LETTERS_TO = re.compile(r"(?<![\w-])([A-Z])[-–]([A-Z])(?![\w-]|\s(?:test|plot|roll|side))")
_EQUATION = re.compile(rf"(?<![\w.,+×÷*/^−-]){_NUMBER}(?:\s?[-−+×÷*/^]\s?{_NUMBER})+\s?=")
_PHONE = re.compile(
    r"(?<![\d.+-])(?:\+?\d{1,3}[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-.]\d{4}(?![\d-])"
    r"|(?<![\d-])\d{3}-\d{4}(?![\d-])"
    r"|(?<![\d+])\+\d{1,3}(?:[- ]\d{2,5}){2,5}(?![\d-])"
)
_CALLED = re.compile(
    r"(?<![A-Za-z])(?<=call |dial |ring |rang |text )(?:911|999|112|111|000|[2-8]11|988)(?![\d.,:-]*\d)"
    r"|(?:(?<=called )|(?<=dialed )|(?<=phone ))(?:911|999|112|111|000|[2-8]11|988)(?![\d.,:-]*\d)"
    r"|(?:(?<=calling )|(?<=dialing ))(?:911|999|112|111|000|[2-8]11|988)(?![\d.,:-]*\d)"
    r"|(?<![\d.,$-])911(?=\s(?:call|calls|operators?|dispatch|dispatcher|emergency)\b)",
    re.IGNORECASE,
)
_UNIT = re.compile(
    rf"(?<![\d.])({_NUMBER})\s?({'|'.join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))})"
    r"(?![A-Za-z\d/])"
)
_APPROXIMATE = re.compile(r"(?:(?<=(about|round) )|(?<!\d )(?<![\w)%°]))[~∼≈]\s?(?=[$€£¥]?\d)", re.IGNORECASE)
_HEIGHT = re.compile(r"(?<![\d.'′])([3-8])['′]\s?(1[01]|\d)(?:[\"″]|['′]{2})")
_GROUPS = re.compile(r"\d{1,3}(?:,\d{3})+")
_COUNTED_BY_SCALE = re.compile(
    rf"(?<![\w.,$€£¥-])({_NUMBER})([kKMB])(?=\+?\s(?:people|users|views|viewers|followers|subscribers|downloads|stars|requests|"
    r"customers|members|fans|copies|jobs|lines|tokens|parameters|words|dollars|euros|pounds|votes|visits|visitors|"
    r"employees|students|likes|plays|streams|residents|households|messages|orders|sales|records|rows)\b)"
)
_CURRENCY = re.compile(rf"([$€£¥￥₩₹])\s?({_NUMBER}){_SCALE}")
_ISO_DATE = re.compile(r"(?<![\d/.-])(\d{4})([-/.])(1[0-2]|0?[1-9])\2(3[01]|[12]\d|0?[1-9])(?![\d/.-]*\d)")
_DATE = re.compile(r"(?<![\d/.-])(\d{1,2})/(\d{1,2})/(\d{4})(?![\d/.-]*\d)")
_TIME = re.compile(
    r"(?<![\d:.])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?:\s?([ap])\.?m\b\.?)?(?![\d:])", re.IGNORECASE
)
_HOUR = re.compile(r"(?<![\d:.])(1[0-2]|0?[1-9])\s?([ap])\.?m\b\.?(?![A-Za-z])", re.IGNORECASE)
_HETERONYM = re.compile(f"({OPEN}[^{CLOSE}]*{CLOSE})")
_HAS_NUMBER = re.compile(r"[\d#²³^*]|(?<![\w-])[A-Z][-–][A-Z](?![\w-])")
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
    groups = re.findall(r"\d+", match[0])
    return ", ".join(" ".join(cardinal(digit) for digit in group) for group in groups)


def _fraction(above: str, below: str) -> str:
    one, many = _PARTS.get(below, (ordinal(below), ordinal(below) + "s"))
    return f"{cardinal(above)} {one if above == '1' else many}"


def _slash(match: re.Match[str]) -> str:
    """A fraction, after a whole number or by itself; other slashes between numbers are silent."""
    whole, above, below = match.groups()
    if whole and 0 < int(above) < int(below) <= 100:
        part = _fraction(above, below)
        return f"{_in_words(whole)} and {'a' + part.removeprefix('one') if above == '1' else part}"
    before = f"{whole} " if whole else ""
    return before + (_fraction(above, below) if is_fraction(above, below) else f"{above} {below}")


def _foreign_dollars(match: re.Match[str]) -> str:
    scale = match[3] or ""
    number = f"{_in_words(match[2].removesuffix('.00'))} {_SCALES.get(scale, scale)}".strip()
    return f"{number} {_DOLLARS[match[1]]} dollar{'' if match[2] == '1' and not scale else 's'}"


def _ranges(text: str) -> str:
    """The text with "to" for the hyphens between two alike, and with "minus" for those of a sum."""
    text = _EQUATION.sub(lambda m: re.sub(r"(?<=\d)\s?[-−]\s?(?=\d)", " minus ", m[0]), text)
    text = _SHORT_YEARS.sub(lambda m: f"{m[1]} to {m[3]}" if m[2] < m[3] else m[0], text)
    text = _UNITS_TO.sub(r"\1 to ", _TO.sub(" to ", text))
    return _LETTERS_TO.sub(lambda m: f"{_spelled(m[1])} to {_spelled(m[2])}" if m[1] < m[2] else m[0], text)


def _joined(text: str) -> str:
    """The text with a blank after commas between digits that are no groups of three."""
    return re.sub(r"\d+(?:,\d+)+", lambda m: m[0] if _GROUPS.fullmatch(m[0]) else m[0].replace(",", ", "), text)


def _dates_and_money(text: str) -> str:
    text = _PHONE.sub(_spelled_number, text)
    text = _CALLED.sub(_spelled_number, text)
    text = _ISO_DATE.sub(lambda match: _date(match[1], match[3], match[4]), text)
    text = _DATE.sub(_slashed_date, text)
    text = _ranges(text)
    text = _TIME.sub(_time, text)
    text = _HOUR.sub(lambda match: f"{cardinal(match[1])} {_spelled(match[2] + 'm')}", text)
    text = _FOREIGN_DOLLARS.sub(_foreign_dollars, text)
    text = _CURRENCY.sub(_money, text)
    return re.sub(rf"(?<![\d.])({_NUMBER})\s?([€£])", lambda m: _count(m[1], _CURRENCIES[m[2]][0]), text)


def _quantities(text: str) -> str:
    """The text with dates, times, money, fractions, ranges, units and powers in words."""
    text = _APPROXIMATE.sub(lambda match: "" if match[1] else "about ", text)
    text = _HEIGHT.sub(r"\1 foot \2", text)
    text = _COUNTED_BY_SCALE.sub(lambda match: f"{_in_words(match[1])} {_SCALES[match[2]]}", text)
    text = _dates_and_money(_joined(text))
    text = _RATE.sub(lambda match: f" per {_RATES.get(match[1], match[1])}", text)
    text = _SLASH.sub(_slash, text)
    text = re.sub(rf"(?<![\d.-])({_NUMBER})\s?([-–—~])\s?({_NUMBER})(?![\d-]|\.\d)", _range, text)
    text = re.sub(rf"(?<![\w)\]-])[-−](?={_NUMBER})", "minus ", text)
    text = _UNIT.sub(_unit, text)
    text = _arithmetic(text)
    text = re.sub(r"(?<=\b[A-Za-z])#", " sharp", re.sub(r"#(?=\d)", "number ", text))
    text = re.sub(r"(?<![\d.,])(?:\d{2})?\d0(?=s\b)", _decade, text)
    text = re.sub(rf"(?<![\d.])({_NUMBER})\s?%", lambda match: f"{_in_words(match[1])} percent", text)
    text = re.sub(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=(?!(?:st|nd|rd|th|s)\b)[A-Za-z])", " ", text)
    text = re.sub(r"(?<![\d.])\d+(?:\.\d+){2,}", lambda m: " point ".join(map(cardinal, m[0].split("."))), text)
    text = re.sub(r"(?<=[\da-z]):(?=\d)", " ", text)
    return re.sub(r"(?<![\d,.])\d+(?:(?:,\d{3})+(?:\.\d+)?(?!\d)|\.\d+)", lambda match: _in_words(match[0]), text)


_POWERS = {"²": " squared", "³": " cubed", "^2": " squared", "^3": " cubed"}


def _arithmetic(text: str) -> str:
    """The text with the signs between numbers that have no other meaning there in words."""
    text = re.sub(r"(?<=[\dA-Za-z)])(?:[²³]|\^[23](?![\d.]))", lambda match: _POWERS[match[0]], text)
    text = re.sub(r"(?<=[\dA-Za-z)])\^\s?(?=minus |-?\d|[A-Za-z]\b)", " to the power of ", text)
    text = re.sub(r"(?<=\d)[xX](?=\d)", " by ", text)
    text = re.sub(r"(?<=\d)\s?[*·xX]\s?(?=\d)", " times ", text)
    return re.sub(r"(?<=\d)\s?/\s?(?=\d)", " ", text)


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
    text = re.sub(r"(?<![^\s(])\.(?=[A-Za-z]{2,5}\b)", "dot ", english_tokens.part(text))
    text = re.sub(r"(?<=[a-z0-9])\.(?=[a-z]{2,})", " dot ", re.sub(r"\s*(?:[—–]|--+)\s*(?=[^\d\s])", ", ", text))
    text = _PHRASE.sub(lambda match: _PHRASES[fold(match[0])], text)
    text = _quantities(english_tokens.expand(text)) if _HAS_NUMBER.search(text) else english_tokens.expand(text)
    for sign, words in _SIGNS.items():
        text = text.replace(sign, words)
    text = re.sub(r"(?<=\w)/(?=\w)", " ", text)
    if respell:
        text = english_tokens.sound(to_ascii(text))
        text = english_heteronyms.disambiguate(expand_numbers(text))
        text = "".join(part if part[:1] == OPEN else _respell(part) for part in _HETERONYM.split(text))
    return re.sub(r"[^\S\n]+(?=[,.!?;:])|(?<=\s)[^\S\n]+", "", text)
