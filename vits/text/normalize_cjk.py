"""Chinese, Japanese and Korean numbers, dates, units and symbols in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NUMBER = r"\d+(?:\.\d+)?"
_CHINESE_DIGITS = "零一二三四五六七八九"
_JAPANESE_DIGITS = ("ゼロ", "イチ", "ニ", "サン", "ヨン", "ゴ", "ロク", "ナナ", "ハチ", "キュウ")
_KOREAN_DIGITS = "영일이삼사오육칠팔구"
_CURRENCY_SIGNS = ("US$", "HK$", "$", "€", "£", "¥", "￥", "₩", "₹", "₽", "฿")
_UNITS = [
    "km/h",
    "km²",
    "km2",
    "m²",
    "m2",
    "cm²",
    "m³",
    "m3",
    "m/s",
    "km",
    "cm",
    "mm",
    "nm",
    "μm",
    "m",
    "kg",
    "mg",
    "g",
    "ml",
    "mL",
    "L",
    "t",
    "GHz",
    "MHz",
    "kHz",
    "Hz",
    "GB",
    "MB",
    "KB",
    "TB",
    "kWh",
    "kW",
    "W",
    "V",
    "A",
    "Ω",
    "dB",
    "°C",
    "°F",
    "℉",
    "°",
    "℃",
    "h",
    "min",
    "s",
    "ms",
    "ft",
    "lb",
]


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of a language; {} stands for the number, {a} and {b} for two of them."""

    percent: str
    permille: str
    date: str
    hour: str
    minutes: str
    seconds: str
    fraction: str
    minus: str
    to: str
    point: str
    currencies: Mapping[str, str]
    units: Mapping[str, str]
    signs: Mapping[str, str]
    scales: str


def _units(names: str) -> dict[str, str]:
    return {unit: name.replace("_", " ") for unit, name in zip(_UNITS, names.split(), strict=True) if name != "-"}


def _currencies(names: str) -> dict[str, str]:
    return dict(zip(_CURRENCY_SIGNS, names.split(), strict=True))


_WORDS = {
    "zh": _Words(
        percent="百分之{}",
        permille="千分之{}",
        date="{}年{}月{}日",
        hour="{}点",
        minutes="{}分",
        seconds="{}秒",
        fraction="{b}分之{a}",
        minus="负",
        to="到",
        point="点",
        currencies=_currencies("美元 港元 美元 欧元 英镑 元 元 韩元 卢比 卢布 泰铢"),
        units=_units(
            "公里每小时 平方公里 平方公里 平方米 平方米 平方厘米 立方米 立方米 米每秒 公里 厘米 毫米 纳米 微米 米 "
            "公斤 毫克 克 毫升 毫升 升 吨 吉赫兹 兆赫兹 千赫兹 赫兹 - - - - 千瓦时 千瓦 瓦 伏 安 欧姆 "
            "分贝 摄氏度 华氏度 华氏度 度 摄氏度 小时 分钟 秒 毫秒 英尺 磅"
        ),
        signs={
            "+": "加",
            "×": "乘",
            "÷": "除以",
            "=": "等于",
            "<": "小于",
            ">": "大于",
            "&": "和",
            "@": "艾特",
            "±": "正负",
        },
        scales="千万亿",
    ),
    "ja": _Words(
        percent="{}パーセント",
        permille="{}パーミル",
        date="{}年{}月{}日",
        hour="{}時",
        minutes="{}分",
        seconds="{}秒",
        fraction="{b}分の{a}",
        minus="マイナス",
        to="から",
        point="点",
        currencies=_currencies("ドル 香港ドル ドル ユーロ ポンド 円 円 ウォン ルピー ルーブル バーツ"),
        units=_units(
            "キロメートル毎時 平方キロメートル 平方キロメートル 平方メートル 平方メートル 平方センチメートル "
            "立方メートル 立方メートル メートル毎秒 キロメートル センチメートル ミリメートル ナノメートル "
            "マイクロメートル メートル キログラム ミリグラム グラム ミリリットル ミリリットル リットル トン "
            "ギガヘルツ メガヘルツ キロヘルツ ヘルツ ギガバイト メガバイト キロバイト テラバイト キロワット時 "
            "キロワット ワット ボルト アンペア オーム デシベル 度 華氏度 華氏度 度 度 時間 分 秒 ミリ秒 フィート ポンド"
        ),
        signs={
            "+": "プラス",
            "×": "かける",
            "÷": "わる",
            "=": "イコール",
            "<": "小なり",
            ">": "大なり",
            "&": "アンド",
            "@": "アットマーク",
            "±": "プラスマイナス",
        },
        scales="千万億兆",
    ),
    "ko": _Words(
        percent="{} 퍼센트",
        permille="{} 퍼밀",
        date="{}년 {}월 {}일",
        hour="{}시",
        minutes=" {}분",
        seconds=" {}초",
        fraction="{b}분의 {a}",
        minus="마이너스 ",
        to="에서 ",
        point="점",
        currencies=_currencies("달러 홍콩달러 달러 유로 파운드 엔 엔 원 루피 루블 바트"),
        units=_units(
            "킬로미터매시 제곱킬로미터 제곱킬로미터 제곱미터 제곱미터 제곱센티미터 세제곱미터 세제곱미터 미터매초 "
            "킬로미터 센티미터 밀리미터 나노미터 마이크로미터 미터 킬로그램 밀리그램 그램 밀리리터 밀리리터 리터 톤 "
            "기가헤르츠 메가헤르츠 킬로헤르츠 헤르츠 기가바이트 메가바이트 킬로바이트 테라바이트 킬로와트시 킬로와트 "
            "와트 볼트 암페어 옴 데시벨 도 화씨_도 화씨_도 도 도 시간 분 초 밀리초 피트 파운드"
        ),
        signs={
            "+": " 더하기 ",
            "×": " 곱하기 ",
            "÷": " 나누기 ",
            "=": "는 ",
            "<": " 작다 ",
            ">": " 크다 ",
            "&": " 그리고 ",
            "@": " 골뱅이 ",
            "±": " 플러스마이너스 ",
        },
        scales="천만억조",
    ),
}
_UNIT = re.compile(
    rf"({_NUMBER})\s?({'|'.join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))})(?![A-Za-z\d/])"
)
_CURRENCY = re.compile(
    rf"({'|'.join(re.escape(sign) for sign in _CURRENCY_SIGNS)})\s?({_NUMBER})([千万亿億兆천만억조]*)"
)
_CURRENCY_AFTER = re.compile(rf"({_NUMBER})\s?([$€£₩₹₽฿])")
_DATE = re.compile(r"(?<![\d/.-])(\d{4})([-/.])(1[0-2]|0?[1-9])\2(3[01]|[12]\d|0?[1-9])(?![\d/.-]*\d)")
_TIME = re.compile(r"(?<![\d:.])([01]?\d|2[0-4])[:：]([0-5]\d)(?:[:：]([0-5]\d))?(?![\d:：])")
_FRACTION = re.compile(r"(?<![\d/.])(\d{1,3})/(\d{1,3})(?![\d/.]*\d)")
_RANGE = re.compile(rf"(?<![\d.-])({_NUMBER})\s?([-~～〜–—])\s?({_NUMBER})(?![\d-]|\.\d)")
_DOTTED = re.compile(r"\d+(?:\.\d+)+")


def _joined(text: str) -> str:
    """The text with one form for each part of a number, and without commas between thousands."""
    text = re.sub(r"(?<=\d)[．](?=\d)", ".", text.replace("％", "%").replace("−", "-").replace("－", "-"))
    return re.sub(r"(?<![\d.,，])\d{1,3}(?:[,，]\d{3})+(?![\d])", lambda match: re.sub("[,，]", "", match[0]), text)


def _time(words: _Words, match: re.Match[str], *, zero: str) -> str:
    def counted(form: str, digits: str) -> str:
        return form.format((zero if digits[0] == "0" and digits != "00" else "") + str(int(digits)))

    hours, minutes, seconds = match.groups()
    time = words.hour.format(int(hours))
    if minutes != "00" or seconds:
        time += counted(words.minutes, minutes)
    return time + (counted(words.seconds, seconds) if seconds else "")


def _range(words: _Words, match: re.Match[str]) -> str:
    first, sign, last = match.groups()
    if sign == "-" and (float(first) >= float(last) or len(first) > 4 or len(last) > 4):
        return match[0]
    return f"{first}{words.to}{last}"


def _unit(words: _Words, match: re.Match[str]) -> str:
    name = words.units.get(match[2])
    return match[1] + name if name else match[0]


def _quantities(text: str, words: _Words, *, zero: str) -> str:
    """The text with dates, times, money, percentages, fractions, ranges and units in words."""
    text = _DATE.sub(lambda m: words.date.format(m[1], int(m[3]), int(m[4])), text)
    text = _TIME.sub(lambda m: _time(words, m, zero=zero), text)
    text = _CURRENCY.sub(lambda m: f"{m[2].removesuffix('.00')}{m[3]}{words.currencies[m[1]]}", text)
    text = re.sub(r"([元円원엔])\1", r"\1", text)
    text = _CURRENCY_AFTER.sub(lambda m: f"{m[1]}{words.currencies[m[2]]}", text)
    text = re.sub(r"(?<=[%‰])\s?[-~～〜–—]\s?(?=\d)|(?<=[日月年号時点分일월년시])\s?[~～〜–—]\s?(?=\d)", words.to, text)
    text = re.sub(rf"(?<![0-9A-Za-z)%])-(?={_NUMBER})", words.minus, text)
    text = _RANGE.sub(lambda m: _range(words, m), text)
    text = re.sub(rf"({_NUMBER})\s?%", lambda m: words.percent.format(m[1]), text)
    text = re.sub(rf"({_NUMBER})\s?‰", lambda m: words.permille.format(m[1]), text)
    text = _UNIT.sub(lambda m: _unit(words, m), text)
    text = _FRACTION.sub(lambda m: words.fraction.format(a=m[1], b=m[2]), text)
    return re.sub(r"#(?=\d)", "", text)


def _signs(text: str, words: _Words) -> str:
    """The text with the signs of arithmetic, & and @ as words."""
    for sign, name in words.signs.items():
        text = text.replace(sign, name)
    return text.replace("%", words.percent.replace("{}", ""))


def _with_point(match: re.Match[str], point: str, digit: Callable[[int], str]) -> str:
    """A number whose decimals are read one by one; with several points, one number after the other."""
    whole, *others = match[0].split(".")
    if len(others) == 1:
        return whole + point + "".join(digit(int(character)) for character in others[0])
    return point.join([whole, *others])


def _chinese(text: str) -> str:
    def one_by_one(match: re.Match[str]) -> str:
        return "".join(_CHINESE_DIGITS[int(digit)] for digit in match[0])

    text = re.sub(r"\d+(?:\.\d+){2,}", lambda m: m[0].replace(".", "点"), text)
    text = re.sub(r"(?<![\d.])(?:1[1-9]\d\d|10(?!00)\d\d|20\d\d)(?=年)", one_by_one, text)
    text = re.sub(r"(?<![\d.])(?:0\d+|1[3-9]\d{9})(?![\d.])", one_by_one, text)
    text = re.sub(r"(?<![\d.第点到])2(?=[个位次天只条张件种块斤本倍座间台辆部])", "两", text)
    text = re.sub(r"(?<=\d)[:：](?=\d)", "比", text)
    text = text.replace("〇", "零").replace("...", "…")
    for narrow, wide in zip(",;:!?", "，；：！？", strict=True):
        text = text.replace(narrow, wide)
    return re.sub(r"\.(?!\d)", "。", text)


def _japanese(text: str) -> str:
    return _DOTTED.sub(lambda match: _with_point(match, "点", lambda digit: _JAPANESE_DIGITS[digit]), text)


def _korean(text: str) -> str:
    from vits.text.korean import hangul_number

    def number(match: re.Match[str]) -> str:
        whole, point, decimals = match[0].partition(".")
        if len(whole) > 16 or (len(whole) > 1 and whole[0] == "0"):
            return match[0]
        return hangul_number(whole, native=False) + (
            "점" + "".join(_KOREAN_DIGITS[int(digit)] for digit in decimals) if point else ""
        )

    text = re.sub(r"\d+(?:\.\d+){2,}", lambda m: m[0].replace(".", "점"), text)
    text = re.sub(r"[0-9]+\.[0-9]+", number, text)
    return re.sub(r"(?<![\d,])[0-9]+(?![\d,]*[\uac00-\ud7a3\d,])", number, text)


_OWN: Mapping[str, Callable[[str], str]] = {"zh": _chinese, "ja": _japanese, "ko": _korean}


def normalize(text: str, language: str) -> str:
    """A Chinese, Japanese or Korean text with its numbers and symbols in words that its cleaner can spell."""
    words = _WORDS[language]
    text = _quantities(_joined(text), words, zero="零" if language == "zh" else "")
    return _OWN[language](_signs(text, words))
