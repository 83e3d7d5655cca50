"""The ranges, choices and defaults of a synthesis, which the library and the service share."""

from collections.abc import Mapping

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


def language_of(tag: str) -> str:
    """One of LANGUAGES for a tag of BCP 47 in any case, such as en-US, zh-Hans-CN or EN; else the tag as it is."""
    primary = tag.strip().lower().replace("_", "-").partition("-")[0]
    language = _LANGUAGE_CODES.get(primary, primary)
    return language if language in LANGUAGES and (language != "auto" or tag.strip().lower() == "auto") else tag


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
