"""English text as IPA, word by word from the CMU dictionary, for the multilingual cleaners.

Follows english.py of VITS-fast-fine-tuning and, for the dictionary and the placing of stress, eng_to_ipa 0.0.2 (MIT),
whose database is read where pip put it. The package itself is never imported: it reads the whole table at every call.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import cache, lru_cache

from vits.text.english_numbers import expand_numbers
from vits.text.libraries import data_file, load
from vits.text.rules import fold

ABBREVIATIONS = {
    "mrs": "misess",
    "mr": "mister",
    "dr": "doctor",
    "st": "saint",
    "co": "company",
    "jr": "junior",
    "maj": "major",
    "gen": "general",
    "drs": "doctors",
    "rev": "reverend",
    "lt": "lieutenant",
    "hon": "honorable",
    "sgt": "sergeant",
    "capt": "captain",
    "esq": "esquire",
    "ltd": "limited",
    "col": "colonel",
    "ft": "fort",
}
_ABBREVIATION = re.compile(rf"\b({'|'.join(ABBREVIATIONS)})\.", re.IGNORECASE)
_WORD_EDGES = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "

# ARPAbet as CMUdict writes it, in lower case; what is missing here is its own IPA letter.
_IPA = {
    "aa": "ɑ",
    "ae": "æ",
    "ah": "ə",
    "ao": "ɔ",
    "aw": "aʊ",
    "ay": "aɪ",
    "ch": "ʧ",
    "dh": "ð",
    "eh": "ɛ",
    "er": "ər",
    "ey": "eɪ",
    "hh": "h",
    "ih": "ɪ",
    "iy": "i",
    "jh": "ʤ",
    "ng": "ŋ",
    "ow": "oʊ",
    "oy": "ɔɪ",
    "sh": "ʃ",
    "th": "θ",
    "uh": "ʊ",
    "uw": "u",
    "y": "j",
    "zh": "ʒ",
}
_VOWELS = frozenset(["aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"])
_STOPS = frozenset(["b", "d", "g", "k", "p", "t"])
# Going back from a stressed vowel, the search for the start of its syllable ends at one of these.
_BOUNDARIES = _VOWELS | frozenset(["m", "n", "ng", "dh", "f", "s", "sh", "th", "v", "z", "zh", "w"])
_CLUSTERS = frozenset(["sp", "st", "sk", "fr", "fl"])
_HIATUS = frozenset([("er", "iy"), ("iy", "ow"), ("uw", "ow"), ("iy", "ah"), ("iy", "ey"), ("uw", "eh"), ("er", "eh")])
_STRESS = {"1": "ˈ", "2": "ˌ"}

_TO_LAZY = str.maketrans(
    {
        "r": "ɹ",
        "æ": "e",
        "ɑ": "a",
        "ɔ": "o",
        "ð": "z",
        "θ": "s",
        "ɛ": "e",
        "ɪ": "i",
        "ʊ": "u",
        "ʒ": "ʥ",
        "ʤ": "ʥ",
        "ˈ": "↓",
    }
)
_TO_IPA2 = str.maketrans({"r": "ɹ", "ʤ": "dʒ", "ʧ": "tʃ"})
_TO_CJKE = str.maketrans({"ɑ": "a", "ɔ": "o", "ɛ": "e", "ɪ": "i", "ʊ": "u"})


def expand_abbreviations(text: str) -> str:
    """The text with titles such as "Dr." in full."""
    return _ABBREVIATION.sub(lambda match: ABBREVIATIONS[fold(match[1])], text)


@cache
def _dictionary() -> sqlite3.Connection:
    address = f"{data_file('eng_to_ipa', 'resources/CMU_dict.db', 'English').as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(address, uri=True, check_same_thread=False)


@cache
def _row_count() -> int:
    (count,) = _dictionary().execute("SELECT max(id) FROM dictionary").fetchone()
    return int(count)


def _row(number: int) -> tuple[str, str]:
    word, phones = _dictionary().execute("SELECT word, phonemes FROM dictionary WHERE id = ?", (number,)).fetchone()
    return word, phones


def pronunciations(word: str) -> list[str]:
    """The word's entries in CMUdict, as ARPAbet in lower case; none if the dictionary lacks it.

    The table has no index over its words, but its row numbers follow their order in capital letters: a binary
    search takes 17 look-ups by row number, where a query by word reads all 133 779 rows.
    """
    wanted = word.upper()
    low, high = 1, _row_count() + 1
    while low < high:
        middle = (low + high) // 2
        if _row(middle)[0].upper() < wanted:
            low = middle + 1
        else:
            high = middle
    found = []
    while low <= _row_count() and (row := _row(low))[0].upper() == wanted:
        if row[0] == word:
            found.append(row[1])
        low += 1
    return found


def _syllables(phones: list[str]) -> int:
    count = 0
    previous = ""
    for phone in phones:
        if phone in _VOWELS and (previous not in _VOWELS or (previous, phone) in _HIATUS):
            count += 1
        previous = phone
    return count


def _place_stress(placed: list[str], bare: list[str], mark: str) -> bool:
    """Whether the stress mark still has to go to the coming vowel; otherwise it has been put into `placed`.

    `bare` are the same phones without marks. Where the onset is searched from the last phone, the original
    compares it with the word's first one, and this does too.
    """
    for back in range(len(placed) - 1, -1, -1):
        phone = bare[back]
        is_last = back == len(placed) - 1
        following = bare[0] if is_last else bare[back + 1]
        if not (phone in _BOUNDARIES or phone == "er" or (not is_last and following in _STOPS)):
            continue
        if phone + following in _CLUSTERS:
            placed[back] = mark + placed[back]
        elif following not in _VOWELS and not is_last:
            placed[back + 1] = mark + placed[back + 1]
        elif phone in _VOWELS:
            return True
        else:
            placed[back] = mark + placed[back]
        return False
    placed[0] = mark + placed[0]
    return False


def _stressed(entry: str) -> list[str]:
    """The phones of a dictionary entry, with marks before its stressed syllables."""
    phones = entry.split(" ")
    bare = [re.sub(r"\d", "", phone) for phone in phones]
    if _syllables(bare) < 2:
        return bare
    placed: list[str] = []
    for position, phone in enumerate(phones):
        mark = _STRESS.get(phone[-1], "")
        own = bool(mark) and (not placed or _place_stress(placed, bare[:position], mark))
        placed.append(mark + bare[position] if own else bare[position])
    return placed


def _phone_to_ipa(phone: str) -> str:
    if phone[0] in "ˈˌ":
        return phone[0] + _IPA.get(phone[1:], phone[1:])
    return _IPA.get(phone, phone)


def entry_to_ipa(entry: str) -> str:
    """The IPA of ARPAbet as the dictionary writes it: small letters, a digit for stress after each vowel."""
    ipa = "".join(_phone_to_ipa(phone) for phone in _stressed(entry))
    for wrong, right in (("ˈər", "əˈr"), ("ˈie", "iˈe")):
        if not ipa.startswith(wrong):
            ipa = ipa.replace(wrong, right)
    return ipa


@lru_cache(maxsize=4096)
def word_to_ipa(word: str) -> str:
    """The IPA of one lower-case word; a word that the dictionary lacks comes back with an asterisk."""
    entries = pronunciations(word)
    if entries:
        return max(entry_to_ipa(entry) for entry in entries)
    return word if not word or re.fullmatch(r"\d*", word) else f"{word}*"


def _token_to_ipa(token: str) -> str:
    before = re.match(r"([^A-Za-z0-9]+)[A-Za-z]", token)
    after = re.search(r"[A-Za-z]([^A-Za-z0-9]+)$", token)
    ipa = word_to_ipa(token.strip(_WORD_EDGES))
    return (before[1] if before else "") + ipa + (after[1] if after else "")


def to_ascii(text: str) -> str:
    """The text in ASCII letters, as Unidecode transliterates it."""
    ascii_text: str = load("unidecode", "English").unidecode(text)
    return ascii_text


def to_ipa(text: str) -> str:
    """English text as IPA with stress marks, one blank between words."""
    text = expand_numbers(expand_abbreviations(to_ascii(text).lower()))
    return re.sub(r"\s+", " ", " ".join(_token_to_ipa(token) for token in text.split()))


def to_lazy_ipa(text: str) -> str:
    """English text in the reduced IPA of cjks_cleaners."""
    return to_ipa(text).translate(_TO_LAZY)


def to_cjke_ipa(text: str) -> str:
    """English text in the IPA of cjke_cleaners."""
    return to_ipa2(text).translate(_TO_CJKE)


def to_ipa2(text: str) -> str:
    """English text in the IPA of cjke_cleaners2, with dark l."""
    text = re.sub(r"l([^aeiouæɑɔəɛɪʊ ]*(?: |$))", r"ɫ\1", to_ipa(text))
    return text.translate(_TO_IPA2).replace("...", "…")


_FINISHED: dict[str, Callable[[str], str]] = {
    "to_ipa2": lambda ipa: re.sub(r"l([^aeiouæɑɔəɛɪʊ ]*)$", r"ɫ\1", ipa).translate(_TO_IPA2),
    "to_cjke_ipa": lambda ipa: _FINISHED["to_ipa2"](ipa).translate(_TO_CJKE),
    "to_lazy_ipa": lambda ipa: ipa.translate(_TO_LAZY),
}


def arpabet_to(front_end: str, phones: str) -> str:
    """One word of ARPAbet in the symbols of the front end of that name; IPA for those without a dictionary."""
    ipa = entry_to_ipa(phones.lower())
    return _FINISHED[front_end](ipa) if front_end in _FINISHED else ipa
