"""What a synthesis can be asked for: the ranges, choices and defaults that the library and the service share."""

from collections.abc import Mapping
from types import MappingProxyType

LANGUAGES = ("auto", "zh", "ja", "en", "ko", "sa")
"""What a text can be said to be in; "auto" tells by script."""

PRECISIONS = ("auto", "float32", "bfloat16")
"""What the decoder can be asked to compute in; "auto" takes bfloat16 where the CPU has it and it sounds the same."""

RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "noise_scale": (0.0, 2.0),
        "noise_scale_w": (0.0, 2.0),
        "length_scale": (0.25, 4.0),
        "speed": (0.25, 4.0),
    }
)
"""The lowest and the highest value of each number; speed is the inverse of length_scale."""

DEFAULTS: Mapping[str, float] = MappingProxyType({"noise_scale": 0.667, "noise_scale_w": 0.8, "length_scale": 1.0})
"""The values of VITS's own inference."""

MAX_SEED = 2**32 - 1
"""The highest seed. PyTorch's generator on a CPU looks at the lowest 32 bits only, so higher seeds would repeat."""
