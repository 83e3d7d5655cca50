"""The losses of a voice in training: spectra of several resolutions, and the judges' verdicts."""

import functools
import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

RESOLUTIONS = (512, 1024, 2048)
"""FFT sizes of the multi-resolution spectral loss; hops are a quarter."""
MEL_RESOLUTIONS = ((256, 20), (512, 40), (1024, 80), (2048, 120))
"""FFT sizes and bands of the mel loss; hops are a quarter."""
DECIBELS = 20 / math.log(10)
"""Decibels of one neper."""
PITCHES_HZ = tuple(75 * 1.004**i for i in range(476))
"""The pitches that a voice can have: up to 500 Hz."""
NEAR_PITCHES = 25
"""How many of these pitches make a tenth."""
PITCHED_HZ = (70.0, 2000.0)
"""The band in which the pitch is looked for."""
NEARLY = 0.85
"""The share of the most salient pitch's contrast at which a lower pitch is preferred: in a low voice, three times the
pitch may stand out as far."""
WAVEFORM_N_FFT = 512
HARMONICS_N_FFT = 1024
HARMONIC_BANDS_HZ = (0, 1000, 2000, 3000, 4000, 5500, 8000)
"""The edges of the bands in which harmonics are compared."""
VOICED = 15 / DECIBELS
"""How far harmonics stand above the valleys between them in a frame that counts as voiced. In white noise, one frame in
two reaches 7 dB, one in 1 000 reaches 15."""


@functools.cache
def _window(n_fft: int) -> Tensor:
    return torch.hann_window(n_fft)


def magnitudes(samples: Tensor, n_fft: int, hop_length: int, win_length: int | None = None) -> Tensor:
    """Return the magnitude spectrogram [B, n_fft / 2 + 1, n / hop] of samples [B, n], framed as the original does.

    The window is win_length samples wide, by default n_fft.
    """
    edge = (n_fft - hop_length) // 2
    padded = F.pad(samples[:, None], (edge, edge), "reflect")[:, 0]
    spectrum = _stft(padded, n_fft, hop_length, win_length or n_fft)
    return (spectrum.real.square() + spectrum.imag.square() + 1e-6).sqrt()


def _stft(samples: Tensor, n_fft: int, hop_length: int, win_length: int) -> Tensor:
    window = _window(win_length)
    return torch.stft(samples, n_fft, hop_length, win_length, window, center=False, return_complex=True)


@functools.cache
def mel_filters(n_fft: int, sample_rate_hz: int, n_mels: int = 80) -> Tensor:
    """Return triangular filters [n_mels, n_fft / 2 + 1] of unit area, evenly spaced on Slaney's mel scale."""
    top = _mel(sample_rate_hz / 2)
    edges = torch.tensor([_hz(top * i / (n_mels + 1)) for i in range(n_mels + 2)])
    bins = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0) * (2 / (edges[2:] - edges[:-2]))[:, None]


def _mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)


def _hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp(math.log(6.4) * (mel - 15) / 27)


def log_mel(samples: Tensor, sample_rate_hz: int, n_fft: int = 1024, hop_length: int = 256, n_mels: int = 80) -> Tensor:
    """Return the log mel spectrogram [B, n_mels, n / hop] of samples [B, n]."""
    filters = mel_filters(n_fft, sample_rate_hz, n_mels)
    with torch.autocast(samples.device.type, enabled=False):
        return (filters @ magnitudes(samples, n_fft, hop_length)).clamp(min=1e-5).log()


def mel_loss(spoken: Tensor, recorded: Tensor, sample_rate_hz: int, coarser: int = 1) -> Tensor:
    """Return how far the log mel spectrograms of [B, n] are from those of [B, n], in nepers, over several resolutions.

    Descript's codec (Kumar et al., 2023) compares several resolutions too. The coarser the resolution in frequency, the
    fewer the bands.
    """
    total = torch.zeros(())
    for n_fft, bands in MEL_RESOLUTIONS:
        a, b = (log_mel(x, sample_rate_hz, n_fft, n_fft // 4, bands // coarser) for x in (spoken, recorded))
        total = total + (a - b).abs().mean()
    return total / len(MEL_RESOLUTIONS)


def spectral_loss(spoken: Tensor, recorded: Tensor) -> Tensor:
    """Return the multi-resolution spectral loss (Parallel WaveGAN, Yamamoto et al., 2020) of [B, n] against [B, n]."""
    total = torch.zeros(())
    for n_fft in RESOLUTIONS:
        a, b = (magnitudes(x, n_fft, n_fft // 4) for x in (spoken, recorded))
        total = total + (b - a).norm() / b.norm().clamp(min=1e-3) + (b.log() - a.log()).abs().mean()
    return total / len(RESOLUTIONS)


def fundamental(samples: Tensor, sample_rate_hz: int, hop_length: int, bands_hz: Tensor) -> tuple[Tensor, Tensor]:
    """Return the phase that the fundamental has in the middle of each frame, and where it has one.

    Args:
        samples: [B, n].
        sample_rate_hz: the samples' rate.
        hop_length: samples per frame.
        bands_hz: [B, 2], the lowest and the highest frequency of each utterance's fundamental.

    Returns:
        The phase as a number of modulus 1, complex [B, T], and whether the frame is voiced, bool [B, T]: whether the
        band's level is no more than 20 dB below that of the loudest frame.
    """
    hz = torch.fft.fftfreq(samples.shape[1], 1 / sample_rate_hz)
    inside = (hz >= bands_hz[:, :1]) & (hz <= bands_hz[:, 1:])
    analytic = torch.fft.ifft(2 * torch.fft.fft(samples) * inside)[:, hop_length // 2 :: hop_length]
    level = analytic.abs()
    return analytic / level.clamp(min=1e-6), (level > level.amax(1, keepdim=True) / 10) & (level > 1e-3)


def phase_loss(told: Tensor, wanted: Tensor, voiced: Tensor) -> Tensor:
    """Return the mean square of the distance of complex [B, T] from the phases complex [B, T] of voiced frames."""
    return ((told - wanted).abs().square() * voiced).sum() / voiced.sum().clamp(min=1)


def advance_loss(told: Tensor, wanted: Tensor, voiced: Tensor) -> Tensor:
    """Return how differently the phases complex [B, T] advance from those wanted, over one frame and over two.

    Text does not tell a phase, so any first phase will do; from frame to frame it must advance as the pitch demands.
    0 is right, 2 is chance; the distance of the modulus from 1 is added.
    """
    size = told.abs()
    unit = told / size.clamp(min=1e-3)
    total = ((size - 1).square() * voiced).sum() / voiced.sum().clamp(min=1)
    for lag in (1, 2):
        both = voiced[:, lag:] & voiced[:, :-lag]
        turned = unit[:, lag:] * unit[:, :-lag].conj() * (wanted[:, lag:] * wanted[:, :-lag].conj()).conj()
        total = total + ((1 - turned.real) * both).sum() / both.sum().clamp(min=1)
    return total


def waveform_loss(spoken: Tensor, recorded: Tensor, sample_rate_hz: int, below_hz: float = 1500.0) -> Tensor:
    """Return how far complex spectra of [B, n] are from those of [B, n] below a frequency, relative to their size."""
    bins = round(below_hz / sample_rate_hz * WAVEFORM_N_FFT)
    a, b = (_stft(x, WAVEFORM_N_FFT, WAVEFORM_N_FFT // 4, WAVEFORM_N_FFT)[:, :bins] for x in (spoken, recorded))
    return (a - b).abs().sum() / b.abs().sum().clamp(min=1e-3)


def comb(samples: Tensor, hop_length: int, bands: int = 8) -> Tensor:
    """Return how far a frame rate's multiples stand above their surroundings in samples [B, n], in nepers: [bands].

    A decoder whose latents hardly change from frame to frame repeats itself every hop, which sounds like a buzz.
    """
    logs = magnitudes(samples, 8 * hop_length, 2 * hop_length).log()
    teeth = logs[:, 8:-8:8]
    valleys = (logs[:, 4:-12:8] + logs[:, 12:-4:8]) / 2
    contrast = (teeth - valleys).mean(dim=(0, 2))
    return torch.stack([band.mean() for band in contrast.tensor_split(bands)])


def comb_loss(spoken: Tensor, recorded: Tensor, hop_length: int) -> Tensor:
    """Return how much more or less of a comb at the frame rate the first [B, n] has than the second, over the batch."""
    return (comb(spoken, hop_length) - comb(recorded, hop_length)).abs().mean()


@functools.cache
def _harmonic_weights(sample_rate_hz: int, low_hz: float, high_hz: float) -> Tensor:
    """Return, for each of PITCHES_HZ, weights [pitches, F] of log_spectra that give its contrast in a band."""
    weights = torch.zeros(len(PITCHES_HZ), HARMONICS_N_FFT // 2 + 2)
    bins = HARMONICS_N_FFT / sample_rate_hz
    for row, pitch in zip(weights, PITCHES_HZ, strict=True):
        multiples = torch.arange(max(1, math.ceil(low_hz / pitch)), high_hz // pitch + 1) * pitch
        for place, sign in ((multiples * bins, 1), ((multiples - pitch / 2) * bins, -1)):
            below = place.long()
            share = sign / len(multiples)
            row.index_add_(0, below, (1 - place + below) * share)
            row.index_add_(0, below + 1, (place - below) * share)
    return weights[:, :-1]


def log_spectra(samples: Tensor) -> Tensor:
    """Return the logarithms [B, T, F] of magnitudes in which harmonics are looked for, of samples [B, n]."""
    return magnitudes(samples, HARMONICS_N_FFT, HARMONICS_N_FFT // 4).log().transpose(1, 2)


def contrast(logs: Tensor, pitch: Tensor, sample_rate_hz: int, low_hz: float, high_hz: float) -> Tensor:
    """Return how far harmonics stand out in a band of log_spectra [B, T, F], in nepers: [B, T].

    That is the mean at the multiples of a frame's pitch, given by its place in PITCHES_HZ int64 [B, T], minus the mean
    half-way below each.
    """
    return (logs * _harmonic_weights(sample_rate_hz, low_hz, high_hz)[pitch]).sum(2)


def _salience(logs: Tensor, sample_rate_hz: int) -> Tensor:
    """Return the contrast [B, T, pitches] of every pitch in PITCHED_HZ, in nepers."""
    return logs @ _harmonic_weights(sample_rate_hz, *PITCHED_HZ).T


def pitches(logs: Tensor, sample_rate_hz: int) -> tuple[Tensor, Tensor]:
    """Return the place of each frame's pitch in PITCHES_HZ, int64 [B, T], and whether it is voiced, bool [B, T].

    A frame's pitch is the lowest of those whose harmonics stand out most, or NEARLY so, in PITCHED_HZ of log_spectra
    [B, T, F]. A frame is voiced where they stand out by VOICED and it is at most 30 dB below the loudest frame.
    """
    salience = _salience(logs, sample_rate_hz)
    most = salience.amax(2)
    peaks = salience == F.max_pool1d(salience, 3, 1, 1)
    place = (peaks & (salience >= NEARLY * most[..., None])).int().argmax(2)
    loudest = logs.amax(2)
    return place, (most > VOICED) & (loudest > loudest.amax(1, keepdim=True) - 30 / DECIBELS)


def harmonics_loss(spoken: Tensor, recorded: Tensor, sample_rate_hz: int) -> Tensor:
    """Return how much more or less the harmonics of [B, n] stand out than those of [B, n], in nepers, band by band.

    Each is measured at its own pitch, which may be a tenth off the recorded pitch: spectra compared bin by bin punish a
    harmonic in the wrong place twice, and noise once.
    """
    logs_s, logs_r = log_spectra(spoken), log_spectra(recorded)
    with torch.no_grad():
        pitch_r, voiced = pitches(logs_r, sample_rate_hz)
        far = (torch.arange(len(PITCHES_HZ)) - pitch_r[..., None]).abs() > NEAR_PITCHES
        pitch_s = _salience(logs_s, sample_rate_hz).masked_fill(far, -math.inf).argmax(2)
    total = torch.zeros(())
    for band in itertools.pairwise(HARMONIC_BANDS_HZ):
        contrast_s = contrast(logs_s, pitch_s, sample_rate_hz, *band)
        contrast_r = contrast(logs_r, pitch_r, sample_rate_hz, *band)
        total = total + ((contrast_s - contrast_r).abs() * voiced).sum() / voiced.sum().clamp(min=1)
    return total / (len(HARMONIC_BANDS_HZ) - 1)


def level_loss(spoken: Tensor, recorded: Tensor, size: int = 128) -> Tensor:
    """Return how much louder or softer than [B, n] the pieces of [B, n] are on average, in nepers.

    Spectra cover stretches in which a click or a burst hides; pieces of 8 ms do not. Anything below -80 dB counts as
    silence.
    """

    def levels(x: Tensor) -> Tensor:
        return (x.unfold(1, size, size).square().mean(2) + 1e-8).log() / 2

    return (levels(spoken) - levels(recorded)).abs().mean()


def judge_loss(recorded: list[list[Tensor]], spoken: list[list[Tensor]]) -> Tensor:
    """Return the discriminators' least-squares loss from their features of both."""
    losses = [(1 - r[-1]).square().mean() + s[-1].square().mean() for r, s in zip(recorded, spoken, strict=True)]
    return torch.stack(losses).mean()


def fooling_loss(spoken: list[list[Tensor]]) -> Tensor:
    """Return the generator's least-squares loss from the judges' features of its output."""
    return torch.stack([(1 - s[-1]).square().mean() for s in spoken]).mean()


def feature_loss(recorded: list[list[Tensor]], spoken: list[list[Tensor]]) -> Tensor:
    """Return the mean distance of the judges' inner features, relative to their size."""
    losses = [
        (r.detach() - s).abs().mean() / r.detach().abs().mean().clamp(min=1e-4)
        for judge_r, judge_s in zip(recorded, spoken, strict=True)
        for r, s in zip(judge_r[:-1], judge_s[:-1], strict=True)
    ]
    return torch.stack(losses).mean()
