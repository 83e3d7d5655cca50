"""Laughter as Japanese writes it at the end of what is said: left out, for a listener hears "w w w" as letters.

A run of w right after kana, Chinese characters or their marks is silent; so are 笑, 泣, 汗 and the like in brackets. 草
and 笑 as words of the sentence are read.
"""

from __future__ import annotations

import re

_LAUGHS = re.compile(
    r"(?<=[\u3041-\u30ff\u3400-\u9fff。、！？!?…])[wWｗＷ]++(?![A-Za-zＡ-Ｚａ-ｚ0-9.\-'’&/])"
    r"|[(（](?:笑|爆笑|苦笑|泣|涙|汗|怒|照|爆|謎|驚|悲|嬉|喜|草|[wｗ]{1,10}){1,2}[)）]|(?<=[\u3041-\u3096])笑{2,}+(?![\u3041-\u9fff])"
)


def without(text: str) -> str:
    """The text without written laughter and other stage directions of feeling."""
    return _LAUGHS.sub("", text)
