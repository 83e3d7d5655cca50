"""Sentences of our own to be spoken: everyday templates, filled at random but the same at every run.

Texts that Debian's packages bring are about programs, or are proverbs and poems. These have what people ask a voice to
say: questions, numbers, times, names, short replies.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

HELD_OUT = Path(__file__).parent / "held_out"
"""Sentences that voices are judged by; none is taught."""
TEMPLATES = Path(__file__).parent / "templates"
"""A sentence a line, and then the words of each slot."""
_SLOT = re.compile(r"\{(\w+)\}")


def _template_file(language: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return a language's templates, and the words that each of their slots may have."""
    sentences, slots = (TEMPLATES / f"{language}.txt").read_text("utf-8").split("\n\n")
    words = dict(line.split(": ") for line in slots.splitlines())
    return sentences.splitlines(), {slot: choices.split("|") for slot, choices in words.items()}


def made_sentences(language: str, n: int, seed: int = 0) -> list[str]:
    """Return about n distinct sentences of a language, in the same order at every run."""
    templates, words = _template_file(language)
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    for _ in range(-(-n // len(templates)) * 2):
        for i in random.permutation(len(templates)):
            sentence = _SLOT.sub(lambda slot: str(random.choice(words[slot[1]])), templates[i])
            found[sentence[0].upper() + sentence[1:]] = None
        if len(found) >= n:
            break
    return list(found)[:n]


def interleaved(*lists: list[str]) -> Iterator[str]:
    """Yield the items of lists by turns; where one ends, the others go on."""
    longest = max(map(len, lists))
    yield from chain.from_iterable([rows[i] for rows in lists if i < len(rows)] for i in range(longest))
