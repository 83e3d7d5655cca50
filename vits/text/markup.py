"""What is in a text for eyes alone, left out or put into words: tags, entities, Markdown, addresses, pictures."""

from __future__ import annotations

import html
import re

# Left out whole, with what they enclose.
_THOUGHTS = re.compile(r"<(think|thinking|thought|reasoning|scratchpad)\b[^<>]{0,100}>", re.IGNORECASE)
_COMMENT_START, _COMMENT_END = "<!--", "-->"
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*$", re.MULTILINE)
_HIDDEN = ("script", "style")

_TAG_NAMES = (
    "a|abbr|article|aside|audio|b|bdi|bdo|big|blockquote|body|br|button|canvas|caption|center|cite|code|col|colgroup|data|dd|del|"
    "details|dfn|dialog|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|"
    "ins|kbd|label|legend|li|link|main|map|mark|math|meta|meter|nav|noscript|object|ol|optgroup|option|output|p|param|picture|pre|"
    "progress|q|rb|rp|rt|rtc|ruby|s|samp|script|section|select|small|source|span|strike|strong|style|sub|summary|sup|svg|table|tbody|"
    "td|template|textarea|tfoot|th|thead|time|title|tr|track|tt|u|ul|var|video|wbr|"
    "speak|voice|prosody|break|emphasis|say-as|phoneme|lexicon|mstts:[a-z-]+|amazon:[a-z-]+|audio|sentence|paragraph|"
    "xml|item|note|message|user|assistant|system|answer|response|result|output|input|text|tool|function|context|document|"
    "instruction|instructions|example|name|id|value|key|root|data|entry|row|list|path|line|content|body|thought|think|thinking"
)
_TAG = re.compile(
    rf"<(?P<slash>/?)(?P<name>{_TAG_NAMES})(?:\s[^<>]{{0,2000}})?/?>|</[A-Za-z][\w:.-]{{0,60}}\s*>|<[A-Za-z][\w:.-]{{0,60}}\s*/>"
    r"|<[A-Za-z][\w:.-]{0,60}(?:\s+[\w:.-]{1,60}\s*=\s*(?:\"[^\"<>]{0,500}\"|'[^'<>]{0,500}'))+\s*/?>|<[?!][A-Za-z][^<>]{0,2000}>",
    re.IGNORECASE,
)
_BLOCK = re.compile(
    "article|aside|blockquote|body|br|d[dlt]|div|fieldset|fig(?:caption|ure)|footer|form|h[1-6r]|head(?:er)?|html|li|main|nav|ol|p|"
    "pre|section|table|t[dhr]|title|ul|paragraph|sentence"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")

_IMAGE_OR_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,500})\]\((?:[^()\s\n]|\([^()\n]{0,200}\)){0,1000}(?:\s+[\"'][^\"'\n]{0,200}[\"'])?\)"
)
_REFERENCE_LINK = re.compile(r"(?<=\])\[[^\[\]\n]{1,60}\](?!\()")
_LINK_TARGET = re.compile(r"^[ \t]{0,3}\[[^\[\]\n]{1,60}\]:[ \t]*\S+[^\n]{0,200}$", re.MULTILINE)
_FOOTNOTE = re.compile(
    r"\[\^[^\[\]\s]{1,30}\]:?|(?<=[^\s\[])\[\d{1,3}(?:[,–-] ?\d{1,3}){0,5}\](?![(A-Za-z\d])"
    r"|(?<=[a-z,.;] )\[\d{1,3}(?:[,–-] ?\d{1,3}){0,5}\](?=[\s.,;:)]|$)"
    r"|\[(?:citation needed|来源请求|來源請求|要出典|注\s?\d+|註\s?\d+|note \d+|edit|编辑)\]"
    r"|[†‡※]|(?<=[A-Za-z\u3400-\u9fff,.。，])[\u00b9\u2070\u2074-\u2079]+(?![\d/])"
)
_AUTOLINK = re.compile(r"<((?:https?://|mailto:|www\.)[^<>\s]{1,2000})>", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9@])(?:(?:https?|ftp|file|ws|wss)://|(?=www\.))(?:[^\s/@<>]{1,100}@)?"
    r"([A-Za-z0-9\u3400-\u9fff](?:[A-Za-z0-9\u3400-\u9fff.-]{0,250}[A-Za-z0-9\u3400-\u9fff])?)(?::\d{1,5})?"
    r"(?:[/?#][A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{0,2000})?",
    re.IGNORECASE,
)
_MARKS_AFTER_ADDRESS = re.compile(r"[.,;:!?)\]'\"]+$")
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+", re.MULTILINE)
_CLOSING_HASHES = re.compile(r"[ \t]#+[ \t]*$", re.MULTILINE)
_QUOTE = re.compile(r"^[ \t]{0,3}(?:>[ \t]?){1,10}", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]{0,40}[-*+•◦▪‣·●○■□◆◇►▶→]{1,2}[ \t]+(?:\[[ xX]\][ \t]+)?", re.MULTILINE)
_TABLE_RULE = re.compile(r"^[ \t]*+\|?+(?:[ \t]*+:?-{2,}+:?[ \t]*+\|)+(?:[ \t]*+:?-{2,}+:?)?[ \t]*+$", re.MULTILINE)
_PIPE = re.compile(r"(?<![ \t])[ \t]*+\|+[ \t]*")
_RULE = re.compile(
    r"([-=_*~#+^—–─━═◆◇★☆●○■□▲△▼▽※•·.])\1{3,}|(?:[-*_] ){3,}|^[ \t]*([-=_*~])\2{2,}[ \t]*$", re.MULTILINE
)
_EMPHASIS = re.compile(r"(?<![\\*])(\*{1,3})(?=[^\s*])([^*\n]{1,500}?)(?<=[^\s*])\1(?!\*)")
_UNDERLINE = re.compile(r"(?<![\w\\])(_{1,3}|~~)(?=[^\s_~])([^_~\n]{1,500}?)(?<=[^\s_~])\1(?!\w)")
_STARS = re.compile(r"\*{2,}|`+|~~+|__+|(?<![\w\d])\*(?=\s|$)|^\*", re.MULTILINE)
_REPEATED = re.compile(r"([!?！？。，、,;；:：~～…])\1+")
_MIXED = re.compile(r"[!！]*[?？][!?！？]*")
_STAGE = re.compile(r"(?<!\w)\*[a-z][a-z ]{1,40}\*(?!\w)")

_KAOMOJI = re.compile(
    r"[(（][^()（）\n\w]{0,8}[\^＾;；:：·・•°ω´｀`\-_=><≧≦￣┬╥ಠ◕◡▽∀дДεзノ╯ヮ﹏﹃｡T*oOxXuvn0@♥❤づっツシ]{1,6}[^()（）\n]{0,8}[)）](?:[ノ゛ﾉ♪♡~〜!！]|ﾉ){0,3}"
)
_FACE = frozenset("˘ᴗᵕ◠‿╹◔^＾;；·・•°ω´｀`=><≧≦￣┬╥ಠ◕◡▽∀дДεзヮ﹏﹃｡*@♥❤づツシ╯_~～")
_SHRUG = re.compile(r"¯\\?_\(ツ\)_/¯|[(（]╯°□°[)）]╯︵\s?┻━┻|m\(_ ?_\)m")
_SMILEY = re.compile(
    r"(?<![\w:;=])(?:(?:[:;=]|(?<![(\[])[8xX](?=[D)(P]))[-'^o]?[)(\]\[DPpOo3|/\\*$@}{]+|(?<!\b[A-Za-z]\x20)(?<!\d\x20)<3+|</3|\^[_.\-]?\^;{0,2}|>[_.]<|-[_]+-;{0,2}|[oO0][_.][oO0]|T[_.]T|[QＱ][_.]?[QＱ]|"
    r"orz|OTZ|[uU]w[uU]|;_+;|\\o/|D:)(?![\w/])"
)
# Pictures, their parts and modifiers; keycaps keep their digit.
_EMOJI = re.compile("[\u200d\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
PICTURES = re.compile("[\u2300-\u23ff\u25a0-\u27bf\u2900-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]")
"""Emoji and pictographs, which cleaners have no symbols for and espeak-ng calls by long names."""
_ARROW = re.compile(r"(?<![ \t])[ \t]*+(?:(?:-{1,3}|={1,3})>|[→⇒➔➜➡⟶])\ufe0f?[ \t]*")
_INVISIBLE = re.compile(
    "[\u00ad\u200b\u200c\u2060-\u2064\ufeff\u202a-\u202e\u2066-\u2069\u200e\u200f\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


def _without(text: str, start: str, end: str) -> str:
    """The text without what stands between the two, to its end where the second is missing."""
    kept = []
    position = 0
    while (found := text.find(start, position)) >= 0:
        kept.append(text[position:found])
        closing = text.find(end, found + len(start))
        if closing < 0:
            return "".join(kept)
        position = closing + len(end)
    return "".join(kept) + text[position:]


def _without_thoughts(text: str) -> str:
    """The text without a model's thinking aloud; one that is closed but not opened began before the text."""
    kept: list[str] = []
    position = 0
    closings: dict[str, int] = {}
    while match := _THOUGHTS.search(text, position):
        name = match[1].lower()
        kept.append(text[position : match.start()])
        closing = (
            re.compile(rf"</{name}\s*>", re.IGNORECASE).search(text, match.end()) if closings.get(name) != -1 else None
        )
        if closing is None:
            closings[name] = -1
            return "".join(kept)
        position = closing.end()
    rest = "".join(kept) + text[position:]
    unopened = re.search(r"</(?:think|thinking|reasoning)\s*>", rest, re.IGNORECASE)
    return rest[unopened.end() :] if unopened else rest


def _without_fences(text: str) -> str:
    """The text without code between fences; a fence that is not closed is left out alone."""
    kept: list[str] = []
    position = 0
    opened: re.Match[str] | None = None
    for match in _FENCE.finditer(text):
        if opened is None:
            opened = match
            kept.append(text[position : match.start()])
            position = match.start()
        elif match[1][0] == opened[1][0] and len(match[1]) >= len(opened[1]):
            position, opened = match.end(), None
    if opened is not None:
        position = opened.end()
    return "".join(kept) + text[position:]


def _tag(match: re.Match[str]) -> str:
    name = (match["name"] or "").lower()
    if name in ("rt", "rp"):
        return match[0]
    return "\n" if _BLOCK.fullmatch(name) else ""


def _without_tags(text: str) -> str:
    for name in _HIDDEN:
        if f"<{name}" in text.lower():
            text = re.sub(rf"<{name}\b[^<>]{{0,500}}>", "<!--", text, flags=re.IGNORECASE)
            text = re.sub(rf"</{name}\s*>", "-->", text, flags=re.IGNORECASE)
    text = _without(text, _COMMENT_START, _COMMENT_END)
    text = re.sub(r"<rp>[^<>]{0,20}</rp>|<rt>[^<>]{0,100}</rt>", "", text, flags=re.IGNORECASE)
    return re.sub(r"</?r[tp]\s*>", "", _TAG.sub(_tag, text), flags=re.IGNORECASE)


def _entity(match: re.Match[str]) -> str:
    plain = html.unescape(match[0])
    if plain == match[0]:
        return match[0]
    return {"<": "<", ">": ">", "\u00a0": " "}.get(plain, plain)


def _spoken_address(match: re.Match[str]) -> str:
    """The host's words, and the marks after the address that belong to the sentence."""
    marks = _MARKS_AFTER_ADDRESS.search(match[0])
    host = re.sub(r"^www\.", "", match[1], flags=re.IGNORECASE)
    return host.rstrip(".-") + (marks[0] if marks and "/" not in marks[0] else "")


def _kaomoji(match: re.Match[str]) -> str:
    inner = match[0]
    return "" if sum(character in _FACE for character in inner) >= 2 or inner in ("(笑)", "（笑）") else match[0]


def _markdown(text: str) -> str:
    text = _LINK_TARGET.sub("", text)
    for _ in range(2):  # an image may stand in a link
        text = _IMAGE_OR_LINK.sub(r"\1", text)
    text = _REFERENCE_LINK.sub("", text)
    text = _FOOTNOTE.sub("", text)
    text = _TABLE_RULE.sub("", text)
    if "|" in text:
        text = re.sub(r"^[ \t]*\||\|[ \t]*$", "", text, flags=re.MULTILINE)
        text = _PIPE.sub(", ", text)
    text = _CLOSING_HASHES.sub("", _HEADING.sub("", text))
    text = _BULLET.sub("", _QUOTE.sub("", text))
    text = _RULE.sub(lambda m: "…" if m[1] == "." else ("—" if m[1] in ("—", "–") else " "), text)
    for _ in range(2):
        text = _UNDERLINE.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    return _STARS.sub("", text)


def plain(text: str) -> str:
    """The text as it is to be read aloud: without markup, addresses as their hosts, marks once."""
    text = _INVISIBLE.sub("", text)
    if "<" in text:
        text = _without_tags(_without_thoughts(_AUTOLINK.sub(r"\1", text)))
    if "&" in text:
        text = _ENTITY.sub(_entity, text)
    if "`" in text or "~~~" in text:
        text = _without_fences(text)
    text = _SMILEY.sub("", _KAOMOJI.sub(_kaomoji, _SHRUG.sub("", text)))
    text = _ADDRESS.sub(_spoken_address, _markdown(text))
    text = _ARROW.sub(lambda match: ", " if text[match.start() - 1 : match.start()].strip() else "", text)
    text = _REPEATED.sub(r"\1", text)
    text = (
        _MIXED.sub(lambda m: "？" if "？" in m[0] or "！" in m[0] else "?", text) if re.search("[?？]", text) else text
    )
    return _EMOJI.sub("", text)
