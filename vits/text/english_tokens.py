"""English tokens that are no plain words: abbreviations, acronyms, Roman numerals, interjections, glued words.

Each function takes and gives English text. Which full form an abbreviation has is told by what stands beside it.
"""

from __future__ import annotations

import re

from vits.text.english import ABBREVIATIONS, pronunciations
from vits.text.english_numbers import cardinal, ordinal
from vits.text.rules import apply_rules, compile_rules, fold

# A mark between letters ends a word: "Hello,world", "no...way", "print(x)", "Q:What?".
_GLUED = compile_rules(
    [
        (r"(?<=[A-Za-z])(\.{2,}|…+)(?=[A-Za-z])", r"\1 "),
        (r"(?<=[A-Za-z])([,;:!?]+)(?=[A-Za-z])", r"\1 "),
        (r"(?<=[A-Za-z\d])([,;!?]+)(?=[A-Za-z])", r"\1 "),
        (r"(?<=[A-Za-z])([,;!?]+)(?=\d)", r"\1 "),
        (r"(?<=[a-z]{2})\.(?=[A-Z][a-z]|[AI]\s)", ". "),
        (r"[(\[{]\s*[)\]}]", " "),
        (r"(?<=\w)[(\[{]|[)\]}](?=\w)", " "),
        (r"(?<=\w)[)\]}]", ""),
        (r"(?<=[A-Za-z])[\"“”](?=[A-Za-z])", " "),
    ]
)

# Full forms by place: before a name or number, after a name, or anywhere.
_BEFORE_NAME = {
    "dr": "Doctor",
    "st": "Saint",
    "mt": "Mount",
    "ft": "Fort",
    "prof": "Professor",
    "gov": "Governor",
    "sen": "Senator",
    "rep": "Representative",
    "gen": "General",
    "pres": "President",
    "col": "Colonel",
    "sgt": "Sergeant",
    "capt": "Captain",
    "lt": "Lieutenant",
    "rev": "Reverend",
    "hon": "Honorable",
    "maj": "Major",
    "cmdr": "Commander",
    "adm": "Admiral",
    "messrs": "Messrs",
    "ms": "Miz",
    "mr": "Mister",
    "mrs": "Missus",
}
_AFTER_NAME = {
    "dr": "Drive",
    "st": "Street",
    "ave": "Avenue",
    "rd": "Road",
    "blvd": "Boulevard",
    "ln": "Lane",
    "ct": "Court",
    "pl": "Place",
    "sq": "Square",
    "hwy": "Highway",
    "pkwy": "Parkway",
    "mt": "Mountain",
    "jr": "Junior",
    "sr": "Senior",
    "inc": "Incorporated",
    "corp": "Corporation",
    "ltd": "Limited",
    "co": "Company",
    "bros": "Brothers",
    "univ": "University",
}
_BEFORE_NUMBER = {
    "no": "number",
    "nos": "numbers",
    "vol": "volume",
    "fig": "figure",
    "figs": "figures",
    "eq": "equation",
    "ch": "chapter",
    "chap": "chapter",
    "sec": "section",
    "art": "article",
    "p": "page",
    "pp": "pages",
    "ed": "edition",
    "ext": "extension",
    "apt": "apartment",
    "rm": "room",
    "tel": "telephone",
    "ver": "version",
    "v": "version",
    "ep": "episode",
    "pt": "part",
    "c": "circa",
    "ca": "circa",
}
_AFTER_NUMBER = {
    "min": "minutes",
    "mins": "minutes",
    "sec": "seconds",
    "secs": "seconds",
    "hr": "hours",
    "hrs": "hours",
    "yr": "years",
    "yrs": "years",
    "mo": "months",
    "wk": "weeks",
    "in": "inches",
    "ft": "feet",
    "yd": "yards",
    "mi": "miles",
    "lb": "pounds",
    "lbs": "pounds",
    "oz": "ounces",
    "gal": "gallons",
    "pt": "pints",
    "tbsp": "tablespoons",
    "tsp": "teaspoons",
    "ed": "edition",
    "dept": "department",
}
_ANYWHERE = {
    "approx": "approximately",
    "est": "established",
    "dept": "department",
    "govt": "government",
    "misc": "miscellaneous",
    "max": "maximum",
    "min": "minimum",
    "avg": "average",
    "temp": "temperature",
    "incl": "including",
    "excl": "excluding",
    "esp": "especially",
    "assn": "association",
    "assoc": "association",
    "intl": "international",
    "natl": "national",
    "asst": "assistant",
    "mgr": "manager",
    "bldg": "building",
    "cont": "continued",
    "resp": "respectively",
    "viz": "namely",
    "cf": "compare",
    "vs": "versus",
    "etc": "et cetera",
    "jan": "January",
    "feb": "February",
    "aug": "August",
    "sept": "September",
    "oct": "October",
    "nov": "November",
    "dec": "December",
    "tues": "Tuesday",
    "thurs": "Thursday",
}
_MONTHS_AND_DAYS = {
    "Mar": "March",
    "Apr": "April",
    "Jun": "June",
    "Jul": "July",
    "Sep": "September",
    "Mon": "Monday",
    "Tue": "Tuesday",
    "Wed": "Wednesday",
    "Thu": "Thursday",
    "Thur": "Thursday",
    "Fri": "Friday",
    "Sat": "Saturday",
    "Sun": "Sunday",
    "Jan": "January",
    "Feb": "February",
    "Aug": "August",
    "Sept": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
    "Tues": "Tuesday",
    "Thurs": "Thursday",
}
_DAY = "Mon|Tue|Tues|Wed|Thu|Thur|Thurs|Fri|Sat|Sun"
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
_DAY_NAME = rf"(?P<day>{_DAY})(?:day|sday|nesday|rsday|urday)?"
_MONTH_NAME = rf"(?P<month>{_MONTH})(?:uary|ruary|ch|il|e|y|ust|tember|ober|ember)?"
_SPAN_OF_DAYS = re.compile(
    rf"\b(?:{_DAY_NAME}|{_MONTH_NAME})\.?\s?[-–—]\s?(?:(?P<last>(?(day)(?:{_DAY})|(?:{_MONTH})))[a-z]*)\b\.?"
)
_NAMED_DAY = re.compile(
    rf"\b({_DAY}|{_MONTH})\.(?=\s)|\b({_MONTH})\b(?=\.?\s\d{{1,2}}(?!\d))|(?<=\d )({_MONTH})\b(?=\s\d{{4}})"
)
_SHORT = re.compile(r"(?<![\w.'’-])([A-Za-z]{1,6})\.(?=[\s,;:)!?]|$)")
_DOCTORATES = compile_rules(
    [
        (r"\bPh\.?\s?D\b\.?", "P H D"),
        (r"\bM\.D\.", "M D"),
        (r"\bB\.A\.", "B ay"),
        (r"\bM\.A\.", "M ay"),
        (r"\bB\.Sc\.", "B S C"),
        (r"\bM\.Sc\.", "M S C"),
        (r"\bw/o\b", "without"),
        (r"\bw/(?=\s|[a-z])", "with "),
        (r"\ba\.?k\.?a\b\.?", "also known as"),
        (r"\b(?:U\.S\.A)\b\.?", "U S ay"),
        (r"\bU\.S\.(?=\s+[A-Za-z])", "U S"),
        (r"\bU\.K\.(?=\s+[A-Za-z])", "U K"),
        (r"\bet al\.", "et al"),
        (r"\bB\.C\.(?=\s+[a-z])", "B C"),
        (r"\bA\.D\.(?=\s+[a-z\d])", "ay D"),
    ]
)

_ROMAN = r"(?=[IVXLC])(?:X{0,3}(?:IX|IV|V?I{0,3})|X?L(?:IX|IV|V?I{0,3})|XC(?:IX|IV|V?I{0,3})|C{1,3})"
_NUMBERED_BY_ROMAN = (
    "Chapter|Part|Volume|Section|Act|Scene|Book|Article|Appendix|Phase|Type|Class|Grade|Level|Stage|Episode|Figure|"
    "Table|Unit|Title|War|Bowl|Fantasy|Quest|Division|Lesson|Module|Step|Round|Season|Mark|Rocky|Olympiad|Canto|"
    "Category|Group|Schedule|Annex|Amendment|Symphony|Opus|Factor|Dynasty|Corps|Theft Auto|Souls|Wars|"
    "Vol\\.|Ch\\.|Fig\\.|Sec\\.|"
    "Civilization|Diablo|Tier|Item|Topic|Exhibit|Plate|Sonata|Psalm|Apollo|Mission|Cranial Nerve|Vatican|Council"
)
_RULERS = (
    "Henry|Louis|Elizabeth|Charles|George|William|Edward|Richard|James|Philip|Paul|Benedict|Pius|Napoleon|Frederick|"
    "Alexander|Nicholas|Peter|Catherine|Ivan|Mary|Leo|Francis|Innocent|Gregory|Clement|Ramses|Ramesses|Otto|Wilhelm|"
    "Constantine|Leopold|Albert|Ferdinand|Christian|Gustav|Urban|Boniface|Julius|Sixtus|Thutmose|Ptolemy|Cleopatra|"
    "Darius|Xerxes|Mehmed|Selim|Murad|Robert|David|Malcolm|Charlemagne|Joseph|Karl|Carl|Harald|Olaf|Haakon|Margrethe|"
    "Victor Emmanuel|Umberto|Pedro|Alfonso|Juan Carlos|Felipe|Sancho|John|Stephen|Basil|Justinian|Theodosius|Rama"
)
_ROMAN_AFTER_WORD = re.compile(rf"\b({_NUMBERED_BY_ROMAN})(\s)({_ROMAN})\b(?!['’.]?[A-Za-z])", re.IGNORECASE)
_ROMAN_AFTER_RULER = re.compile(rf"\b({_RULERS})(\s)({_ROMAN})\b(?!['’]?[a-z])")
_ROMAN_CENTURY = re.compile(rf"\b(?=[IVX]{{2,}})({_ROMAN})(?=\s(?:century|centuries|Century)\b)")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}

_INTERJECTIONS = compile_rules(
    [
        (r"\bh+m+\b", "hmm"),
        (r"\bm{2,}-?h+m+\b", "um hum"),
        (r"\bm{2,}\b", "um"),
        (r"\bs+h{2,}\b|\bsh\b(?!\s*-)", "shush"),
        (r"\bb+r{2,}\b", "burr"),
        (r"\bg+r{2,}\b", "gur"),
        (r"\bps+t+\b", "pist"),
        (r"\bpf{2,}t*\b|\bpft\b", "pift"),
        (r"\bt+s+k\b", "tisk"),
        (r"\bz{3,}\b", "zuzz"),
        (r"\bhrm+ph\b|\bhmph\b", "humph"),
        (r"\bph+ew+\b", "few"),
        (r"\bugh+\b", "ugh"),
        (r"\ba+h{2,}\b|\ba{2,}h+\b", "ah"),
        (r"\bo+h{2,}\b|\bo{2,}h+\b", "oh"),
        (r"\bu+h{2,}\b", "uh"),
        (r"\be+w{2,}\b|\beww\b", "you"),
        (r"\bxox+o*\b", "hugs and kisses"),
        (r"\bnvm\b", "never mind"),
        (r"\bbtw\b", "by the way"),
        (r"\bpls\b|\bplz\b", "please"),
        (r"\bthx\b", "thanks"),
    ],
    re.IGNORECASE,
)
# Capitals that spell, although in small letters they are words.
_SPELT_ALWAYS = re.compile(r"(?<![\w'’-])(US|UN|ID|TV|PC|IP|OS|AR|AI|UI|IO|EU|UK)(?![\w'’])")
_IT = re.compile(
    r"\bIT(?=\s(?:department|team|support|industry|staff|manager|professional|specialist|security|service|"
    r"services|guy|sector|infrastructure|company|job|consultant|desk|admin|systems?)\b)"
)
_PLURAL_ACRONYM = re.compile(r"(?<![\w'’-])([A-Z]{1,5})(?:['’])?s(?![\w'’])")
_LONG_RUN = re.compile(r"([A-Za-z])\1{2,}")
_LETTERS = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)*")


def part(text: str) -> str:
    """The text with blanks where a mark glues words together."""
    return apply_rules(_GLUED, text)


def _is_name(text: str) -> bool:
    return bool(re.match(r"\s+(?:[A-Z][\w'’.-]*)", text))


def _short(match: re.Match[str]) -> str:
    """The full form of an abbreviation, by what stands before and after it; other words stay."""
    text, word = match.string, fold(match[1])
    before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() : match.end() + 20]
    ends = "." if not after.strip() or re.match(r"\s+[A-Z]", after) else ""
    after_number = re.search(r"\d\s*$", before)
    after_name = re.search(r"(?:[A-Z][\w'’]*|\d(?:st|nd|rd|th))\s+$", before)
    if word in _BEFORE_NUMBER and re.match(r"\s*[#\d]", after) and not after_number:
        return _BEFORE_NUMBER[word]
    if word in _AFTER_NUMBER and after_number:
        return _AFTER_NUMBER[word] + ends
    is_title = word in _BEFORE_NAME and match[1][0].isupper() and _is_name(after)
    if word in _AFTER_NAME and after_name and not (is_title and not _is_in_an_address(before)):
        return _AFTER_NAME[word] + (ends if word not in ("jr", "sr") or not after.strip() else "")
    if is_title:
        return match[0] if word in ABBREVIATIONS else _BEFORE_NAME[word]
    if word in _ANYWHERE:
        return _ANYWHERE[word]
    return match[0]


def _is_in_an_address(before: str) -> bool:
    """Whether a number opens what stands before an abbreviation: "123 Oak", "5th"."""
    return bool(re.search(r"\d+(?:st|nd|rd|th)?\s+(?:[A-Z][\w'’]*\s+){0,3}$", before))


def _days(match: re.Match[str]) -> str:
    first = (match["day"] or match["month"]) or ""
    return f"{_MONTHS_AND_DAYS.get(first, first)} to {_MONTHS_AND_DAYS.get(match['last'], match['last'])}"


def _roman(numeral: str) -> str:
    total = 0
    for digit, following in zip(numeral, [*numeral[1:], ""], strict=True):
        value = _ROMAN_VALUES[digit]
        total += -value if following and _ROMAN_VALUES[following] > value else value
    return str(total)


def _after_word(match: re.Match[str]) -> str:
    if not match[3].isupper() or (match[3] == "I" and re.match(r"\s+[a-z]", match.string[match.end() :][:8])):
        return match[0]
    return f"{match[1]}{match[2]}{cardinal(_roman(match[3]))}"


def _after_ruler(match: re.Match[str]) -> str:
    if match[3] in ("I", "C", "L") and re.match(r"\s*[A-Za-z'’]", match.string[match.end() :][:8]):
        return match[0]
    return f"{match[1]}{match[2]}the {ordinal(_roman(match[3]))}"


def expand(text: str) -> str:
    """The text with abbreviations and Roman numerals in full."""
    text = apply_rules(_DOCTORATES, text)
    text = _SPAN_OF_DAYS.sub(_days, text)
    text = _ROMAN_AFTER_WORD.sub(_after_word, text)
    text = _ROMAN_AFTER_RULER.sub(_after_ruler, text)
    text = _ROMAN_CENTURY.sub(lambda match: ordinal(_roman(match[1])), text)
    text = _NAMED_DAY.sub(lambda m: _MONTHS_AND_DAYS.get(m[1] or m[2] or m[3], m[0]), text)
    return _SHORT.sub(_short, text)


def spell(letters: str) -> str:
    """Letters one by one; the dictionary's "a" is the article, its "ay" the letter."""
    return " ".join("ay" if letter == "a" else letter for letter in fold(letters))


def _plural(match: re.Match[str]) -> str:
    letters = match[1]
    if len(letters) == 1 or pronunciations(fold(letters + "s")):
        return match[0]
    first, last = letters[:-1], fold(letters[-1])
    return f"{spell(first)} {last}'s"


def _shortened(match: re.Match[str]) -> str:
    """A word whose letters are drawn out, such as "sooo" and "yesss", as the dictionary has it."""
    word = match[0]
    if not _LONG_RUN.search(word):
        return word
    ends = bool(re.search(r"([^eE])\1{2,}$", word))
    for kept in (r"\1", r"\1\1") if ends else (r"\1\1", r"\1"):
        candidate = _LONG_RUN.sub(kept, word)
        if pronunciations(fold(candidate)):
            return candidate
    return _LONG_RUN.sub(r"\1\1", word)


def sound(text: str) -> str:
    """The text with interjections, acronyms and drawn-out words as words and letters that the dictionary has."""
    text = apply_rules(_INTERJECTIONS, text)
    text = _LETTERS.sub(_shortened, text)
    if re.search("[a-z]", text):
        text = _SPELT_ALWAYS.sub(lambda match: spell(match[1]).upper().replace("AY", "ay"), text)
        text = _IT.sub("I T", text)
    return _PLURAL_ACRONYM.sub(_plural, text)
