"""The ranges, choices and defaults of a synthesis, which the library and the service share."""

import re
from collections.abc import Mapping

LONE_SURROGATES = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can hold and text cannot."""

LANGUAGES = ("auto", "zh", "ja", "en", "ko", "sa")
"""The languages of a text; "auto" tells them by script."""

_LANGUAGE_CODES = {
    "zho": "zh",
    "chi": "zh",
    "cmn": "zh",
    "jpn": "ja",
    "eng": "en",
    "kor": "ko",
    "san": "sa",
}


def language_of(tag: str) -> str | None:
    """The language of a tag of BCP 47 in any case: en for en-US, EN and eng, auto for auto; None where it is no tag.

    It need not be one of LANGUAGES: what a voice speaks is the voice's to say.
    """
    if tag.lower() == "auto":
        return "auto"
    primary, *_ = subtags = re.split("[-_]", tag.lower())
    if not re.fullmatch("[a-z]{2,3}", primary) or not all(re.fullmatch("[a-z0-9]{1,8}", part) for part in subtags):
        return None
    return _LANGUAGE_CODES.get(primary, primary)


def as_language(name: str) -> str:
    """The language of a tag of BCP 47, or the name itself where it is no tag."""
    return language_of(name) or name


PRECISIONS = ("auto", "float32", "bfloat16")
"""What the decoder computes in; "auto" is bfloat16 where the CPU has it and the voice sounds the same, else float32."""

RANGES: Mapping[str, tuple[float, float]] = {
    "noise_scale": (0.0, 2.0),
    "noise_scale_w": (0.0, 2.0),
    "length_scale": (0.25, 4.0),
    "speed": (0.25, 4.0),
}
"""The lowest and the highest value of each number; speed is the inverse of length_scale."""

DEFAULTS: Mapping[str, float] = {"noise_scale": 0.667, "noise_scale_w": 0.8, "length_scale": 1.0}
"""The values that VITS's own inference uses."""

MAX_SEED = 2**32 - 1
"""The highest seed. PyTorch's CPU generator uses the lowest 32 bits only, so higher seeds would repeat lower ones."""
