"""English words for numbers, as inflect 7 writes them for the Tacotron cleaners.

This follows `normalize_numbers` of keithito's Tacotron, which VITS and its forks use. inflect itself is not used,
because importing it takes over a second and loads a type checker.
"""

from __future__ import annotations

import re

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = [
    "",
    "thousand",
    "million",
    "billion",
    "trillion",
    "quadrillion",
    "quintillion",
    "sextillion",
    "septillion",
    "octillion",
    "nonillion",
    "decillion",
]
_LONGEST = 3 * len(_SCALES)
_ORDINAL_ENDINGS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def _below_100(number: int) -> str:
    if number < 20:
        return _UNITS[number]
    tens, units = divmod(number, 10)
    return _TENS[tens] + (f"-{_UNITS[units]}" if units else "")


def _below_1000(number: int, joiner: str) -> str:
    hundreds, rest = divmod(number, 100)
    if not hundreds:
        return _below_100(rest)
    words = f"{_UNITS[hundreds]} hundred"
    return f"{words}{joiner}{_below_100(rest)}" if rest else words


def cardinal(digits: str, *, joiner: str = " ") -> str:
    """Words for a whole number written in ASCII digits; beyond decillions, digit by digit.

    `joiner` stands between the hundreds and what follows: " " or " and ".
    """
    digits = digits.lstrip("0") or "0"
    if len(digits) > _LONGEST:
        return " ".join(_UNITS[int(digit)] for digit in digits)
    number = int(digits)
    if number < 1000:
        return _below_1000(number, joiner)
    groups = []
    rest = number
    while rest:
        rest, group = divmod(rest, 1000)
        groups.append(group)
    words = [
        f"{_below_1000(group, joiner)} {scale}"
        for group, scale in zip(reversed(groups[1:]), reversed(_SCALES[1 : len(groups)]), strict=True)
        if group
    ]
    last = groups[0]
    if not last:
        return ", ".join(words)
    separator = joiner if last < 100 else ", "
    return f"{', '.join(words)}{separator}{_below_1000(last, joiner)}"


def ordinal(digits: str) -> str:
    """Words for an ordinal number given its digits: "21" is "twenty-first"."""
    words = cardinal(digits, joiner=" and ")
    for ending, replacement in _ORDINAL_ENDINGS.items():
        if words.endswith(ending):
            return words.removesuffix(ending) + replacement
    return words.removesuffix("y") + "ieth" if words.endswith("ty") else f"{words}th"


def number_in_words(digits: str) -> str:
    """Words for a whole number written in ASCII digits; from 1001 to 2999 as years are said."""
    if len(digits.lstrip("0")) != 4 or not 1000 < int(digits) < 3000:
        return cardinal(digits)
    century, rest = divmod(int(digits), 100)
    if century == 20 and rest < 10:
        return "two thousand" + (f" {_UNITS[rest]}" if rest else "")
    if not rest:
        return f"{_below_100(century)} hundred"
    return f"{_below_100(century)} {'oh ' if rest < 10 else ''}{_below_100(rest)}"


def _counted(digits: str, noun: str) -> str:
    return f"{digits} {noun}{'' if digits == '1' else 's'}"


def _plain(digits: str) -> str:
    return digits.replace(",", "").lstrip("0")


def _dollars(match: re.Match[str]) -> str:
    amount = match[1]
    dollars, _, cents = amount.partition(".")
    if "." in cents:
        return f"{amount} dollars"
    parts = [(_plain(dollars), "dollar"), (_plain(cents), "cent")]
    spoken = [_counted(digits, noun) for digits, noun in parts if digits]
    return ", ".join(spoken) or "zero dollars"


def expand_numbers(text: str) -> str:
    """The text with its numbers as words, years, dollars and ordinals in their own ways."""
    text = re.sub(r"[0-9][0-9,]+[0-9]", lambda match: match[0].replace(",", ""), text)
    text = re.sub(r"£([0-9,]*[0-9]+)", r"\1 pounds", text)
    text = re.sub(r"\$([0-9.,]*[0-9]+)", _dollars, text)
    text = re.sub(r"[0-9]+\.[0-9]+", lambda match: match[0].replace(".", " point "), text)
    text = re.sub(r"([0-9]+)(?:st|nd|rd|th)", lambda match: ordinal(match[1]), text)
    return re.sub(r"[0-9]+", lambda match: number_in_words(match[0]), text)
