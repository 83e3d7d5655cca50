"""Which frames belong to which symbol: from a teacher's own timings, or by monotonic alignment search."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

VOWELS = frozenset("ɑæəɔaʊɪeɛiou")
PAUSES = frozenset(",.!?-…~ ")
MARKS = frozenset("ˈˌ→↓↑*")
"""Stress, tone, accent and lost voice: written beside sounds, heard in them."""
ALIKE = tuple(map(frozenset, ("lɫ", "Nnmŋ", "ij", "uw", "hçx")))
"""Sounds that a teacher and our front end may name differently."""


def _cost(heard: str, written: str) -> float:
    """Return how unlike a teacher's sound is to a written symbol: 0 for the same, 1 for a stranger."""
    if heard == written or any({heard, written} <= group for group in ALIKE):
        return 0.0
    return 0.4 if heard in VOWELS and written in VOWELS else 1.0


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
    sounds: list[tuple[str, float]] = []
    for written, start, end in phones:
        sounds.extend((s, start + (end - start) * i / len(written)) for i, s in enumerate(written))
    letters = [s not in PAUSES | MARKS for s in symbols]
    n, m = len(sounds), len(symbols)
    table = np.full((n + 1, m + 1), np.inf)
    back = np.zeros((n + 1, m + 1), np.int8)
    table[0, 0] = 0
    for i in range(n + 1):
        for j in range(m + 1):
            steps = []
            if i and j:
                pause = sounds[i - 1][0] == " "
                if letters[j - 1]:
                    pair = 2.0 if pause else _cost(sounds[i - 1][0], symbols[j - 1])
                else:
                    pair = -0.1 * (symbols[j - 1] != " ") if pause and symbols[j - 1] in PAUSES else 2.0
                steps.append((table[i - 1, j - 1] + pair, 0))
            if i:
                steps.append((table[i - 1, j] + (0.3 if sounds[i - 1][0] == " " else 1.0), 1))
            if j:
                steps.append((table[i, j - 1] + (1.0 if letters[j - 1] else 0.0), 2))
            if steps:
                table[i, j], back[i, j] = min(steps)
    if table[n, m] > worst * n:
        return None
    starts = [0.0] * m
    i, j, following = n, m, phones[-1][2]
    while j:
        step = back[i, j]
        if step == 0:
            following = sounds[i - 1][1]
        if step != 1:
            starts[j - 1] = following
            j -= 1
        if step != 2:
            i -= 1
    return starts


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
