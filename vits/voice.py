"""A voice, which turns text into symbol ids, ids into latents, and latents into windows of samples."""

import math
import operator
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vits.config import Config
from vits.decoder import Window, WindowedDecoder
from vits.errors import BadRequest, BrokenCheckpoint, BrokenSound, RunawayLength, UnknownSpeaker
from vits.formats import open_model
from vits.limits import DEFAULTS, MAX_SEED, PRECISIONS, RANGES
from vits.network import Network, StochasticDurationPredictor, use_products
from vits.text import MAX_SECONDS, NO_DICTIONARY, Dictionary, Prepared
from vits.text.front_end import CleanerFrontEnd

LEAST_BFLOAT16_SNR_DB = 30.0
"""The signal-to-noise ratio of bfloat16 against float32 below which "auto" stays with float32."""

FLOW_FRAMES = 256
"""Frames of latents that are computed at once after the first window's. More at a time means less context that is
computed twice, and a longer wait for the others."""

MAX_IDS = 2048
"""Longest sequence of ids, blanks included: about 80 seconds of speech. Attention's memory grows with its square."""

MAX_FRAMES = 16384
"""Most frames of a sentence: 190 seconds at 22 050 Hz and 256 samples a frame."""

FRAMES_PER_ID = 40
SPARE_FRAMES = 200
"""At length_scale 1, a sentence may have SPARE_FRAMES, plus FRAMES_PER_ID for each id: ten times what is usual."""

Samples = NDArray[np.float32]


def load_voice(checkpoint: str | Path, config: str | Path | None = None, precision: str = "auto") -> "Voice":
    """Return the voice of a checkpoint and its config.

    Args:
        checkpoint: a G_*.pth of VITS or VITS-fast-fine-tuning, or any other file or folder that vits/formats reads.
        config: the JSON file that belongs to it; None: what the format's own programs would take, or else the only
            one beside the checkpoint.
        precision: what the decoder computes in, "float32" or "bfloat16"; "auto" takes bfloat16 where the CPU
            has it and the voice's signal-to-noise ratio against float32 is at least LEAST_BFLOAT16_SNR_DB.

    Raises:
        BrokenCheckpoint: one of the files cannot be used; the message names file and key or tensor.
        ValueError: precision is none of the three.

    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
    return Voice(*open_model(Path(checkpoint), None if config is None else Path(config)), precision)


class Profile:
    """What is known of a voice without its weights: who speaks, in which languages, and what a text becomes."""

    def __init__(self, config: Config, n_speakers: int) -> None:
        """Take over the config; `n_speakers` is what the checkpoint says."""
        self._config = config
        self._n_speakers = n_speakers
        self.speakers = _speakers(config, n_speakers)
        languages = config.speaker_languages
        self._languages_of = {config.speakers[name]: spoken for name, spoken in languages.items()}

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second."""
        return self._config.sample_rate_hz

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self._config.hop_length

    @property
    def cleaner(self) -> str:
        """Name of the front end that the voice was trained with."""
        return self._config.front_end.name

    @property
    def family(self) -> str:
        """The program whose format the voice's files have: VITS, Piper and so on."""
        return self._config.family

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the voice's sound depends on."""
        return self._config.files

    @property
    def defaults(self) -> Mapping[str, float]:
        """The noise_scale, noise_scale_w and length_scale that the voice's files give, or else VITS's own."""
        return self._config.defaults

    @property
    def license(self) -> str:
        """The voice's licence as its files name it, or ""."""
        return self._config.license

    @property
    def source(self) -> str:
        """Where the voice or its recordings come from, as its files say, or ""."""
        return self._config.source

    @property
    def missing_packages(self) -> tuple[str, ...]:
        """The Python packages that must be installed before the voice can speak any text, as pip takes them."""
        return self._config.front_end.missing_packages

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is doubtful about the voice's files, a line each."""
        return self._config.warnings

    @property
    def languages(self) -> tuple[str, ...]:
        """The voice's languages by its config; where that says nothing, those of the front end."""
        return self._config.languages or self._config.front_end.languages

    def languages_of(self, speaker: int) -> tuple[str, ...]:
        """Return one speaker's languages by the config; where that says nothing, the voice's."""
        return self._languages_of.get(speaker, self.languages)

    @property
    def default_speaker(self) -> int:
        """The speaker that the voice's files name for requests that name none, or else the first."""
        named, known = self._config.default_speaker, self.speakers.values()
        return named if named is not None and named in known else min(known, default=0)

    def ids(self, text: str, lang: str = "auto") -> list[int]:
        """Return the symbol ids of a text as one sentence, blanks interspersed as the config says.

        Raises:
            TextError: the text or the language cannot be spoken.

        """
        sentences = self.prepare(text, lang).sentences
        if not isinstance(self._config.front_end, CleanerFrontEnd) or not self._config.front_end.add_blank:
            return [id for sentence in sentences for id in sentence.ids]
        # The blank that ends a sentence is the one that begins the next.
        return [0, *(id for sentence in sentences for id in sentence.ids[1:])]

    def prepare(
        self,
        text: str,
        lang: str = "auto",
        normalize: bool = True,
        speaker: int = 0,
        check: Callable[[], None] | None = None,
        timeout_s: float = MAX_SECONDS,
        dictionary: Dictionary = NO_DICTIONARY,
    ) -> Prepared:
        """Return a text's sentences with their ids, and the characters that cannot be spoken.

        Args:
            text: anything.
            lang: the language of all of it, or "auto".
            normalize: whether numbers, units and signs are put into words that the cleaner would otherwise drop or
                misread.
            speaker: whose languages decide where the script does not.
            check: called before each sentence; what it raises ends the preparation.
            timeout_s: how long the preparation may take.
            dictionary: written forms of the user's own and how they are spoken.

        Raises:
            PreparationTooLong: it took longer than that.
            TextError: the text or the language cannot be spoken.

        """
        declared = self.languages_of(speaker) if self._config.languages else ()
        return self._config.front_end.prepare(text, lang, declared, normalize, check, timeout_s, dictionary)


class Voice(Profile):
    """A loaded checkpoint; a synthesis changes nothing in it."""

    def __init__(self, config: Config, network: Network, precision: str = "auto") -> None:
        """Take over the network, whose decoder is rebuilt and cannot run by itself afterwards."""
        super().__init__(config, 1 if network.emb_g is None else network.emb_g.num_embeddings)
        self._network = network
        self._decoder = WindowedDecoder(network.dec)
        del network.dec
        use_products(network)
        for _ in self.settle(precision):
            pass

    @property
    def profile(self) -> Profile:
        """What stays known of the voice when its weights are let go."""
        return Profile(self._config, self._n_speakers)

    def settle(self, precision: str) -> Iterator[None]:
        """Let a decoder in float32 compute in a precision from now on; each step takes no longer than a short window.

        The steps run the network where the precision is "auto": those of a voice that is loaded beside others belong
        where these are computed.
        """
        if precision == "bfloat16" or (precision == "auto" and has_bfloat16()):
            rough = self._decoder.to(torch.bfloat16)
            yield
            if precision == "bfloat16" or (yield from self._sounds_the_same(rough)):
                self._decoder = rough

    @property
    def precision(self) -> str:
        """What the decoder computes in: "float32" or "bfloat16"."""
        return str(self._decoder.dtype).removeprefix("torch.")

    @property
    def parameter_bytes(self) -> int:
        """The memory that the weights take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._parameters())

    @property
    def parameter_count(self) -> int:
        """How many numbers the weights are."""
        return sum(tensor.numel() for tensor in self._parameters())

    def _parameters(self) -> list[Tensor]:
        return [*self._network.parameters(), *self._decoder.parameters()]

    def durations(
        self,
        ids: Sequence[int],
        speaker: int = 0,
        noise_scale_w: float = DEFAULTS["noise_scale_w"],
        length_scale: float = DEFAULTS["length_scale"],
        seed: int = 0,
    ) -> NDArray[np.int64]:
        """Return how many frames `stream` speaks each id for, int64 [len(ids)]; it raises what `stream` does."""
        synthesis = self._checked(ids, speaker, 0.0, noise_scale_w, length_scale, seed)
        frames: NDArray[np.int64] = self._encoded(synthesis, _noise_source(seed)).durations.numpy()
        return frames

    def stream(
        self,
        ids: Sequence[int],
        speaker: int = 0,
        noise_scale: float = DEFAULTS["noise_scale"],
        noise_scale_w: float = DEFAULTS["noise_scale_w"],
        length_scale: float = DEFAULTS["length_scale"],
        seed: int = 0,
    ) -> Iterator[Samples]:
        """Return an iterator over the samples, float32 [n] in [-1, 1], one window at a time.

        Arguments are checked at the call. The first step computes the latents and the first window, each later step one
        window. Equal arguments give equal samples, whatever else was or is being spoken.

        Args:
            ids: what `ids` or `prepare` returned; at most MAX_IDS.
            speaker: one of the values of `speakers`; 0 for a voice with a single one.
            noise_scale: how much the sound varies, within its range in RANGES.
            noise_scale_w: how much durations vary, within its range; without effect on voices with use_sdp false.
            length_scale: factor on all durations, within its range.
            seed: which of the possible recordings, from 0 to MAX_SEED.

        Raises:
            BadRequest: an argument is not usable.
            UnknownSpeaker: there is no such speaker.
            RunawayLength: (at the first step) more than SPARE_FRAMES + FRAMES_PER_ID * len(ids) frames were
                predicted, times length_scale where that is above 1, or more than MAX_FRAMES.
            BrokenSound: (at any step) the samples are no numbers.

        """
        return self._windows(self._checked(ids, speaker, noise_scale, noise_scale_w, length_scale, seed))

    def _windows(self, synthesis: "_Synthesis") -> Iterator[Samples]:
        # Inference mode belongs to a thread, so a generator must leave it before it yields.
        latents, bias = self._latents(synthesis)
        for window in self._decoder.windows(latents.n_frames):
            yield self._decoded(self._latents_for(window, latents), window, bias)

    @torch.inference_mode()
    def _decoded(self, z: Tensor, window: Window, bias: Tensor) -> Samples:
        samples: Samples = self._decoder(z, window, bias).numpy()
        if not np.isfinite(samples).all():
            raise BrokenSound("the voice computed something that is no number; its weights may be damaged")
        return samples

    @torch.inference_mode()
    def _latents(self, synthesis: "_Synthesis") -> tuple["_Latents", Tensor]:
        """Return the latents of an utterance, none computed yet, and the decoder's bias for its speaker."""
        source = _noise_source(synthesis.seed)
        encoded = self._encoded(synthesis, source)
        symbols = torch.arange(len(encoded.durations)).repeat_interleave(encoded.durations)
        noise = torch.randn((*encoded.m_p.shape[:2], len(symbols)), generator=source)
        latents = _Latents(encoded, symbols, noise, synthesis.noise_scale, torch.empty_like(noise))
        return latents, self._decoder.bias(encoded.g)

    @torch.inference_mode()
    def _latents_for(self, window: Window, latents: "_Latents") -> Tensor:
        """Return the latents [1, C, T] of an utterance, computed as far as the window and its context reach."""
        wanted = min(latents.n_frames, window.start + window.frames + self._decoder.context_frames)
        start, flow = latents.computed, self._network.flow
        if start < wanted:
            stop = min(latents.n_frames, max(wanted, start + FLOW_FRAMES)) if start else wanted
            before, after = min(flow.reach, start), min(flow.reach, latents.n_frames - stop)
            z_p = latents.prior(start - before, stop + after)
            latents.z[:, :, start:stop] = flow.part(z_p, before, after, latents.encoded.g)
            latents.computed = stop
        return latents.z

    @torch.inference_mode()
    def _encoded(self, synthesis: "_Synthesis", source: torch.Generator) -> "_Encoded":
        """Return what the text encoder and the duration predictor make of the ids."""
        network, n_ids = self._network, len(synthesis.ids)
        g = None if network.emb_g is None else network.emb_g(torch.tensor([synthesis.speaker]))[:, :, None]
        mask = torch.ones(1, 1, n_ids)
        x, m_p, logs_p = network.enc_p(torch.tensor([synthesis.ids]), mask)
        if isinstance(network.dp, StochasticDurationPredictor):
            noise = torch.randn((1, 2, n_ids), generator=source) * synthesis.noise_scale_w
            log_durations = network.dp(x, mask, noise, g)
        else:
            log_durations = network.dp(x, mask, g)
        frames = torch.ceil(torch.exp(log_durations) * synthesis.length_scale)[0, 0]
        return _Encoded(m_p, logs_p, _bounded(frames, synthesis.length_scale), g)

    def _checked(
        self,
        ids: Sequence[int],
        speaker: int,
        noise_scale: float,
        noise_scale_w: float,
        length_scale: float,
        seed: int,
    ) -> "_Synthesis":
        """Return the arguments of a synthesis, checked."""
        numbers = tuple(_whole("an id", number, len(self._config.symbols) - 1) for number in ids)
        if not 0 < len(numbers) <= MAX_IDS:
            raise BadRequest(f"there are {len(numbers)} ids, expected 1 to {MAX_IDS}")
        try:
            speaker = _whole("speaker", speaker, self._n_speakers - 1)
        except BadRequest as error:
            raise UnknownSpeaker(str(error)) from None
        return _Synthesis(
            numbers,
            speaker,
            _within_range("noise_scale", noise_scale),
            _within_range("noise_scale_w", noise_scale_w),
            _within_range("length_scale", length_scale),
            _whole("seed", seed, MAX_SEED),
        )

    def _sounds_the_same(self, rough: WindowedDecoder) -> Generator[None, None, bool]:
        """Whether the decoder in bfloat16 is close enough to itself in float32, on two short windows."""
        ids = tuple(number % len(self._config.symbols) for number in range(48))
        try:
            latents, bias = self._latents(_Synthesis(ids, 0, DEFAULTS["noise_scale"], 0.0, 1.0, seed=0))
        except RunawayLength:  # These ids are not speech; a voice may refuse them and still be sound.
            return False
        rough_bias = bias.to(torch.bfloat16)
        signal = noise = 0.0
        for window in islice(self._decoder.windows(latents.n_frames), 2):
            yield
            z = self._latents_for(window, latents)
            with torch.inference_mode():
                expected = self._decoder(z, window, bias)
                signal += float(expected.square().sum())
            yield
            with torch.inference_mode():
                noise += float((rough(z, window, rough_bias) - expected).square().sum())
        return noise == 0 or (signal > 0 and 10 * math.log10(signal / noise) >= LEAST_BFLOAT16_SNR_DB)


@dataclass(frozen=True, slots=True)
class _Synthesis:
    """The checked arguments of a synthesis."""

    ids: tuple[int, ...]
    speaker: int
    noise_scale: float
    noise_scale_w: float
    length_scale: float
    seed: int


@dataclass(frozen=True, slots=True)
class _Encoded:
    """An utterance after the text encoder and the duration predictor."""

    m_p: Tensor
    logs_p: Tensor
    durations: Tensor
    """int64 [T], the frames of each id."""
    g: Tensor | None


@dataclass(slots=True)
class _Latents:
    """The latents of an utterance, which are computed block by block as the windows want them."""

    encoded: _Encoded
    symbols: Tensor
    """int64 [T], the symbol that each frame belongs to."""
    noise: Tensor
    """[1, C, T], drawn at once, so that it does not depend on the blocks."""
    noise_scale: float
    z: Tensor
    """[1, C, T], of which the first `computed` frames are there."""
    computed: int = 0

    @property
    def n_frames(self) -> int:
        """The length of the utterance."""
        return len(self.symbols)

    def prior(self, start: int, stop: int) -> Tensor:
        """Return samples of the prior [1, C, stop - start] for some of the frames."""
        m_p, logs_p = (x[:, :, self.symbols[start:stop]] for x in (self.encoded.m_p, self.encoded.logs_p))
        noise: Tensor = self.noise[:, :, start:stop]
        return m_p + noise * torch.exp(logs_p) * self.noise_scale


def warm_up(voice: Voice, speaker: int) -> None:
    """Compile and page in what a first request would otherwise wait for: some blanks, long enough for every window."""
    with suppress(RunawayLength):  # Such a text is no speech; a voice may refuse it and still be sound.
        for _ in voice.stream([0] * 64, speaker=speaker, noise_scale_w=0.0, length_scale=4.0):
            pass


def has_bfloat16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in hardware; others convert back and forth and gain nothing."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _bounded(frames: Tensor, length_scale: float) -> Tensor:
    """Return durations as int64 [T], at least one frame in all."""
    limit = min(MAX_FRAMES, round((SPARE_FRAMES + FRAMES_PER_ID * len(frames)) * max(1.0, length_scale)))
    total = float(frames.double().sum())
    if not total <= limit:  # so that nan is refused too
        raise RunawayLength(
            f"the voice would speak {len(frames)} symbols for {total:.0f} frames, expected at most {limit}: "
            "try another seed, or a smaller noise_scale_w or length_scale"
        )
    durations = frames.to(torch.int64)
    if not total:
        durations[0] = 1
    return durations


def _noise_source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _whole(name: str, value: object, most: int) -> int:
    """Return a whole number from 0 to most."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # other types raise TypeError
    except TypeError:
        raise BadRequest(f"{name} is {value!r}, expected a whole number") from None
    if not 0 <= number <= most:
        raise BadRequest(f"{name} is {number}, expected 0 to {most}")
    return number


def _within_range(name: str, value: float) -> float:
    """Return a number within the range of its name; nan is in no range."""
    least, most = RANGES[name]
    if not isinstance(value, int | float) or not least <= value <= most:
        raise BadRequest(f"{name} is {value!r}, expected {least:g} to {most:g}")
    return float(value)


def _speakers(config: Config, n_speakers: int) -> dict[str, int]:
    """Return the speakers' ids by name: none where there is one speaker, numbers as names where the config has none."""
    for name, number in config.speakers.items():
        if number >= n_speakers:
            raise BrokenCheckpoint(
                f"{config.path}: speakers: {name} = {number}: expected less than {n_speakers}, "
                "the number of voices in the checkpoint"
            )
    if n_speakers == 1:
        return {}
    return dict(config.speakers) or {str(number): number for number in range(n_speakers)}
