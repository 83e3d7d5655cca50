"""What numbers mean in any language: which marks join digits, which slashes are fractions, which numbers are names.

These rules see a whole text before it is cut by language, because what stands before a number may be in another one:
the code after 航班 or "iPhone". They leave numbers in digits; the languages put them into words.
"""

from __future__ import annotations

import re
from math import gcd

_SLASHED = re.compile(r"(?<![\d/.,A-Za-z])(\d{1,3})/(\d{1,4})(?![\d/]|[.,]\d|[A-Za-z])")
_TENTHS = frozenset([10, 12, 16, 20, 32, 50, 64, 100, 1000])

# Narrow blanks and apostrophes have no other meaning between digits; a plain blank may stand between two numbers, so
# the first group then has one or two digits.
_GROUPED = re.compile(
    r"(?<![\d.,'’])\d{1,3}(?:(?:[\u00a0\u2007\u2009\u202f]\d{3})+|(?:['’]\d{3})+)(?![\d'’])"
    r"|(?<![\d.,:/-])(?<!\d )\d{1,2}(?: \d{3})+(?![\d,:/-]| \d)"
    # Full stops join three groups alone: four may be an address of the Internet, two a decimal.
    r"|(?<![\dA-Za-z.,:/-])\d{1,3}(?:\.\d{3}){2}(?![\dA-Za-z:/-]|\.\d)"
)
_VULGAR_AFTER_DIGIT = re.compile("(?<=\\d)(?=[\u00bc-\u00be\u2150-\u215e])")

_CODE_WORDS = (
    "验证码|校验码|激活码|取件码|提取码|邀请码|兑换码|密码|口令|房间|房号|房|航班|车次|编号|学号|工号|邮编|邮政编码|代码|卡号|账号|帐号|尾号|"
    "订单号?|单号|门牌|群号|QQ|身份证|车牌|股票|驗證碼|密碼|房間|航班|編號|帳號|訂單|"
    "認証コード|確認コード|暗証番号|パスワード|コード|番号|便名|便|部屋|号室|郵便番号|口座|"
    "verification code|access code|zip code|zip|postcode|area code|pin code|passcode|password|code|pin|room|flight|"
    "suite|apartment|apt|extension|bus|po box|(?:account|order|ticket|invoice|tracking|serial|badge) (?:number|no)"
)
_CODE = re.compile(
    rf"(?:(?<![A-Za-z])|(?<=[A-Za-z])(?=[^A-Za-z]))(?:{_CODE_WORDS})"
    r"((?:号码|号|號碼|號|numbers?|no\.?)?(?:\s?(?:是|为|為|は|が|is|was|number|of)(?![A-Za-z]))?[\s:：#＃.]{0,3})"
    r"([A-Za-z]{0,3}[- ]?)(\d{3,24})(?![\d%％‰]|[.,:/]\d|\s?[-~–]\s?\d)(?=(?P<after>\s?.{0,8}))",
    re.IGNORECASE,
)
_CODE_BEFORE = re.compile(
    r"(?<![\d.,:/\-A-Za-z])([A-Za-z]{0,2}-?)(\d{3,5})"
    r"(?=(?:号|號)?(?:房间|房間|房(?![屋子地产])|室(?![内外温])|病房|教室|次列车|次航班|次高铁|航班|便(?![利])))"
)
# What makes the digits after a code word a quantity: "订单 300 个", "room 200 people" and the like.
_QUANTITY = re.compile(
    r"\s?(?:[个位次天只条张件种块元円人名万千亿年月日多余倍家间米kK$€£]|个|people|dollars|times|percent|%|per|years|orders)"
)
_MODEL = re.compile(r"(?<![A-Za-z])([A-Za-z]{2,}[ -]?\d{1,2})(?:s|S)(?![A-Za-z\d])(?! *店)")


def is_fraction(numerator: str, denominator: str) -> bool:
    """Whether a slash between two numbers divides them: 1/2 and 3/4 do, but not 24/7, 9/11, 50/50 or 8/10."""
    above, below = int(numerator), int(denominator)
    if not 0 < above < below or gcd(above, below) != 1 or numerator[0] == "0" or denominator[0] == "0":
        return False
    return below < 10 or (below in _TENTHS and (above == 1 or below > 10))


def _spaced(digits: str) -> str:
    return " ".join(digits)


def _code(match: re.Match[str]) -> str:
    if _QUANTITY.match(match["after"]):
        return match[0]
    start, end = match.start(3) - match.start(), match.end(3) - match.start()
    return match[0][:start] + _spaced(match[3]) + match[0][end:]


def join_groups(text: str) -> str:
    """The text with commas for blanks and apostrophes between thousands, and a blank before the half of 3½."""
    text = _VULGAR_AFTER_DIGIT.sub(" ", text)
    return _GROUPED.sub(lambda match: re.sub(r"\D", ",", match[0]), text)


def name_numbers(text: str) -> str:
    """The text with the digits of codes apart, as in "room 3 0 1", so that each is read by itself."""
    text = _CODE.sub(_code, text)
    text = _CODE_BEFORE.sub(lambda match: match[1] + _spaced(match[2]), text)
    return _MODEL.sub(r"\1 S", text)
