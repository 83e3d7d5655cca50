"""Measures of speech: the words heard in it, its distance from a teacher's, and its faults at joins and ends."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from training.losses import DECIBELS, comb, contrast, log_spectra, magnitudes, mel_filters, pitches

Samples = npt.NDArray[np.float32]

RATE_HZ = 16000
FRAME = 80
"""Samples of the frames in which cepstra and pitches are compared: 5 ms."""
CEPSTRUM_N_FFT, CEPSTRUM_BANDS, CEPSTRA = 1024, 80, 24
FLOOR_DB = -60.0
"""How far below an utterance's loudest band silence begins."""
PITCH_HZ = (60, 500)
"""The lowest and the highest pitch that is looked for."""
STEPS = ((1, 1), (1, 0), (0, 1))
"""The steps of a warping path, in one sequence and in the other."""


def words(text: str) -> list[str]:
    """Return the lower-case words of a text."""
    return re.findall(r"[a-z']+", text.lower())


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Return the fewest insertions, deletions and substitutions between two lists of words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


@functools.cache
def _cosines() -> npt.NDArray[np.float64]:
    bands = np.arange(CEPSTRUM_BANDS) + 0.5
    return np.cos(np.pi * np.arange(1, CEPSTRA + 1)[:, None] * bands / CEPSTRUM_BANDS) / CEPSTRUM_BANDS


def mel_cepstra(samples: Samples) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the first FRAME of samples at 16 kHz that is not silent, and the mel cepstra from it to the last.

    They are float [T, CEPSTRA], without the 0th.
    """
    spectrum = magnitudes(torch.from_numpy(samples)[None], CEPSTRUM_N_FFT, FRAME)[0]
    bands = (mel_filters(CEPSTRUM_N_FFT, RATE_HZ, CEPSTRUM_BANDS) @ spectrum).double().numpy().T
    floor = bands.max() * 10 ** (FLOOR_DB / 20)
    heard = np.flatnonzero((bands > floor).any(1))
    logs = np.log(np.maximum(bands[heard[0] : heard[-1] + 1], floor))
    return int(heard[0]), logs @ _cosines().T


def warping_path(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the path int64 [n, 2] of dynamic time warping along which a [S, C] and b [T, C] are nearest in sum.

    It is a list of pairs of places, from both beginnings to both ends; every step goes one on in a, in b or in both.
    """
    costs = np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))
    S, T = costs.shape
    # Cells of one antidiagonal depend on the two before it only; index i + 1 holds row i, and row -1 is never entered.
    total, came = np.full((3, S + 1), np.inf), np.zeros((S, T), np.int8)
    for diagonal in range(S + T - 1):
        i = np.arange(max(0, diagonal - T + 1), min(S, diagonal + 1))
        now, last, before = (total[(diagonal - n) % 3] for n in range(3))
        ways = np.stack([before[i], last[i], last[i + 1]])  # by STEPS
        came[i, diagonal - i] = ways.argmin(0)
        now[:] = np.inf
        now[i + 1] = costs[i, diagonal - i] + (ways.min(0) if diagonal else 0.0)
    path = [(S - 1, T - 1)]
    while path[-1] != (0, 0):
        (i, j), (in_a, in_b) = path[-1], STEPS[came[path[-1]]]
        path.append((i - in_a, j - in_b))
    return np.array(path[::-1])


def distance_along(path: npt.NDArray[np.int64], a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return the mean distance of a [S, C] and b [T, C] over the steps of a warping path."""
    return float(np.sqrt(((a[path[:, 0]] - b[path[:, 1]]) ** 2).sum(1)).mean())


class Warped(NamedTuple):
    """Two utterances with time warped so that their mel cepstra are nearest."""

    frames: npt.NDArray[np.int64]
    """[n, 2], the places of the FRAMEs that meet, in one utterance and in the other."""
    distortion_db: float
    """The mel-cepstral distortion (Kubichek, 1993)."""


def warped(a: Samples, b: Samples) -> Warped:
    """Return two utterances at 16 kHz, warped in time; silence before and after is left out."""
    (first_a, cepstra_a), (first_b, cepstra_b) = mel_cepstra(a), mel_cepstra(b)
    path = warping_path(cepstra_a, cepstra_b)
    # For cepstra of log amplitude whose cosine series has 2 c_n: 20 / ln 10 * sqrt(2 * sum d^2).
    decibels = 20 / np.log(10) * np.sqrt(2) * distance_along(path, cepstra_a, cepstra_b)
    return Warped(path + (first_a, first_b), float(decibels))


def pitch_hz(samples: Samples) -> npt.NDArray[np.float64]:
    """Return the pitch [T] of every FRAME of samples at 16 kHz, nan where there is none, by Praat (Boersma, 1993)."""
    import parselmouth

    sound = parselmouth.Sound(samples.astype(np.float64), RATE_HZ)
    frame_s = FRAME / RATE_HZ
    pitch = sound.to_pitch_ac(time_step=frame_s, pitch_floor=PITCH_HZ[0], pitch_ceiling=PITCH_HZ[1])
    return np.array([pitch.get_value_at_time((i + 0.5) * frame_s) for i in range(len(samples) // FRAME)])


def paired_semitones(a: Samples, b: Samples, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return [n, 2], the pitches in semitones of two utterances at 16 kHz, wherever both have one in Warped.frames."""
    pairs = np.stack([pitch_hz(a)[frames[:, 0]], pitch_hz(b)[frames[:, 1]]], axis=1)
    semitones: npt.NDArray[np.float64] = 12 * np.log2(pairs[np.isfinite(pairs).all(1)])
    return semitones


def level_db(samples: Samples) -> float:
    """Return the root mean square of samples in dB of full scale."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def steps_at_joins(windows: Sequence[Samples]) -> tuple[float, float]:
    """Return the largest step between neighbouring samples at the joins of windows, and elsewhere."""
    steps = np.abs(np.diff(np.concatenate(windows)))
    joins = np.cumsum([len(window) for window in windows])[:-1] - 1
    elsewhere = np.delete(steps, joins)
    return float(steps[joins].max(initial=0)), float(elsewhere.max())


def harmonic_contrast_db(samples: Samples, low_hz: float, high_hz: float) -> float:
    """Return how far harmonics stand above the valleys between them in a band, in dB; nan where nothing is voiced.

    Each frame's pitch is that of `training.losses.pitches`; frames without one are left out. A band without harmonics
    gives about 0.
    """
    logs = log_spectra(torch.from_numpy(samples)[None])
    pitch, voiced = pitches(logs, RATE_HZ)
    return float(contrast(logs, pitch, RATE_HZ, low_hz, high_hz)[voiced].mean()) * DECIBELS


def comb_db(samples: Samples, hop_length: int) -> float:
    """Return how far the frame rate's multiples stand above their surroundings, in dB."""
    return float(DECIBELS * comb(torch.from_numpy(samples)[None], hop_length).mean())
