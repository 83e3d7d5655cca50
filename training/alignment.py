"""The frames that belong to each symbol, from a teacher's own timings or by monotonic alignment search."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VOWELS = frozenset("ɑæəɔaʊɪeɛiou")
PAUSES = frozenset(",.!?-…~ ")
MARKS = frozenset("ˈˌ→↓↑*")
"""Signs of stress, tone, accent and lost voice, which are heard in the sounds beside them."""
ALIKE = tuple(map(frozenset, ("lɫ", "Nnmŋ", "ij", "uw", "hçx")))
"""Sounds that a teacher and our front end may name differently."""


PAIR, SKIP_SOUND, SKIP_SYMBOL = range(3)
"""The steps of an alignment."""


def symbol_starts(
    symbols: Sequence[str], phones: Sequence[tuple[str, float, float]], worst: float = 0.12
) -> list[float] | None:
    """Return the start in seconds of every symbol, or None where text and teacher differ too much.

    Sounds and symbols are aligned by edit distance; a diphthong's or an affricate's time is shared equally by its
    symbols. Pauses meet punctuation and spaces; MARKS begin with the sound that follows them.

    Args:
        symbols: the cleaned text, a character each.
        phones: the teacher's sounds as (symbols, start, end) in seconds, pauses as a space.
        worst: mean cost per sound above which the pair is refused.
    """
    sounds = [
        (sound, start + (end - start) * i / len(written))
        for written, start, end in phones
        for i, sound in enumerate(written)
    ]
    cost, steps = _cheapest_steps([sound for sound, _ in sounds], symbols)
    if cost > worst * len(sounds):
        return None
    starts = [0.0] * len(symbols)
    i, j, following = len(sounds), len(symbols), phones[-1][2]
    while j:
        step = steps[i, j]
        if step == PAIR:
            following = sounds[i - 1][1]
        if step != SKIP_SOUND:
            j -= 1
            starts[j] = following
        if step != SKIP_SYMBOL:
            i -= 1
    return starts


def _cheapest_steps(sounds: Sequence[str], symbols: Sequence[str]) -> tuple[float, NDArray[np.int8]]:
    """Return the cost of the cheapest alignment, and its last step for every number of sounds and of symbols."""
    costs = np.full((len(sounds) + 1, len(symbols) + 1), np.inf)
    steps = np.zeros(costs.shape, np.int8)
    costs[0, 0] = 0
    for i, j in product(range(len(sounds) + 1), range(len(symbols) + 1)):
        choices = []
        if i and j:
            choices.append((costs[i - 1, j - 1] + _cost_of_pair(sounds[i - 1], symbols[j - 1]), PAIR))
        if i:
            choices.append((costs[i - 1, j] + (0.3 if sounds[i - 1] == " " else 1.0), SKIP_SOUND))
        if j:
            choices.append((costs[i, j - 1] + (1.0 if _is_letter(symbols[j - 1]) else 0.0), SKIP_SYMBOL))
        if choices:
            costs[i, j], steps[i, j] = min(choices)
    return float(costs[-1, -1]), steps


def _cost_of_pair(sound: str, symbol: str) -> float:
    """Return how badly a teacher's sound fits a symbol of the text: 0 for the same sound, 1 or more for another."""
    if (sound == " ") != (symbol in PAUSES) or symbol in MARKS:
        return 2.0
    if sound == " ":
        return 0.0 if symbol == " " else -0.1
    if sound == symbol or any({sound, symbol} <= group for group in ALIKE):
        return 0.0
    return 0.4 if sound in VOWELS and symbol in VOWELS else 1.0


def _is_letter(symbol: str) -> bool:
    return symbol not in PAUSES and symbol not in MARKS


def frames_per_symbol(starts: Sequence[float], n_frames: int, frame_s: float) -> list[int] | None:
    """Return the frames of every symbol, at least one each, that add up to n_frames; None where there is no room."""
    edges = [0] + [round(s / frame_s) for s in starts[1:]] + [n_frames]
    for i in range(1, len(edges)):
        edges[i] = max(edges[i], edges[i - 1] + 1)
    edges[-1] = n_frames
    for i in range(len(edges) - 2, 0, -1):
        edges[i] = min(edges[i], edges[i + 1] - 1)
    if edges[1] < 1:
        return None
    return [after - before for before, after in zip(edges, edges[1:], strict=False)]


def monotonic_alignment(log_likelihood: Tensor, symbols: Tensor, frames: Tensor) -> Tensor:
    """Return durations int64 [B, T_symbols] of the likeliest monotonic alignment (Glow-TTS, Kim et al., 2020).

    Args:
        log_likelihood: float [B, T_symbols, T_frames].
        symbols: int64 [B], the length of each text; at most its frames.
        frames: int64 [B], the length of each utterance.
    """
    durations = torch.zeros(log_likelihood.shape[:2], dtype=torch.int64)
    for b, scores in enumerate(log_likelihood.detach().cpu().double().numpy()):
        S, T = int(symbols[b]), int(frames[b])
        best = np.full((T, S), -np.inf)
        best[0, 0] = scores[0, 0]
        for t in range(1, T):
            came = best[t - 1].copy()
            came[1:] = np.maximum(came[1:], best[t - 1, :-1])
            best[t] = came + scores[:S, t]
        s = S - 1
        for t in range(T - 1, -1, -1):
            durations[b, s] += 1
            if s and t and (s == t or best[t - 1, s - 1] > best[t - 1, s]):
                s -= 1
    return durations
