"""A voice, which turns text into symbol ids, ids into latents, and latents into windows of samples."""

import math
import operator
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vits.config import Config
from vits.decoder import Window, WindowedDecoder
from vits.encoding import RowDurations, RowEncoder, RowStochasticDurations
from vits.errors import BadRequest, BrokenCheckpoint, BrokenSound, RunawayLength, UnknownSpeaker
from vits.flow import BlockedFlow
from vits.formats import open_model
from vits.limits import DEFAULTS, MAX_SEED, PRECISIONS, RANGES
from vits.network import Network, StochasticDurationPredictor
from vits.text import MAX_SECONDS, NO_DICTIONARY, Dictionary, Prepared
from vits.text.front_end import CleanerFrontEnd

LEAST_BFLOAT16_SNR_DB = 30.0
"""The signal-to-noise ratio of bfloat16 against float32 below which "auto" stays with float32."""

LEAST_FLOW_SNR_DB = 38.0
"""That of decoder and flow in bfloat16, below which the flow stays in float32: its rounding moves phases, and texts can
have 7 dB less than the trial."""

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
        """Take over the network, whose parts are rebuilt and cannot run by themselves afterwards."""
        super().__init__(config, 1 if network.emb_g is None else network.emb_g.num_embeddings)
        self._speaker_table = None if network.emb_g is None else network.emb_g.weight
        self._encoder = RowEncoder(network.enc_p)
        self._durations: RowStochasticDurations | RowDurations
        if isinstance(network.dp, StochasticDurationPredictor):
            self._durations = RowStochasticDurations(network.dp)
        else:
            self._durations = RowDurations(network.dp)
        self._decoder = WindowedDecoder(network.dec)
        self._flow = BlockedFlow(network.flow, self._decoder.window_sizes[0] + self._decoder.context_frames)
        for _ in self.settle(precision):
            pass

    @property
    def profile(self) -> Profile:
        """What stays known of the voice when its weights are let go."""
        return Profile(self._config, self._n_speakers)

    def settle(self, precision: str) -> Iterator[None]:
        """Let a voice in float32 compute in a precision from now on; each step takes no longer than a short window.

        The steps run the network unless the precision is "float32": those of a voice that is loaded beside others
        belong where these are computed.
        """
        if precision == "bfloat16" or (precision == "auto" and has_bfloat16()):
            decoder, flow = self._decoder.to(torch.bfloat16), self._flow.to(torch.bfloat16)
            yield
            yield from self._settle_by_sound(decoder, flow, required=precision == "bfloat16")

    def warm_up(self) -> None:
        """Compile what not every utterance needs."""
        self._encoder.warm_up()
        self._flow.warm_up()

    @property
    def precision(self) -> str:
        """What the decoder, and the flow where that sounds the same, compute in: "float32" or "bfloat16"."""
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
        table = [] if self._speaker_table is None else [self._speaker_table]
        parts = (self._encoder, self._durations, self._flow, self._decoder)
        return [*table, *(tensor for part in parts for tensor in part.parameters())]

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
        latents, g = self._latents(synthesis)
        bias = self._decoder.bias(g)
        for window in self._decoder.windows(latents.n_frames):
            yield self._decoded(self._latents_for(window, latents), window, bias)

    @torch.inference_mode()
    def _decoded(self, z: Tensor, window: Window, bias: Tensor) -> Samples:
        samples: Samples = self._decoder(z, window, bias).numpy()
        if not np.isfinite(samples).all():
            raise BrokenSound("the voice computed something that is no number; its weights may be damaged")
        return samples

    @torch.inference_mode()
    def _latents(self, synthesis: "_Synthesis") -> tuple["_Latents", Tensor | None]:
        """Return the latents of an utterance, none computed yet, and its speaker's embedding [G]."""
        source = _noise_source(synthesis.seed)
        encoded = self._encoded(synthesis, source)
        symbols = torch.arange(len(encoded.durations)).repeat_interleave(encoded.durations)
        noise = torch.randn((1, encoded.mean.shape[1], len(symbols)), generator=source)[0].t()
        deviation = torch.exp(encoded.log_deviation) * synthesis.noise_scale
        z = torch.empty(noise.shape)
        latents = _Latents(encoded.mean, deviation, symbols, noise, self._flow.spoken_by(encoded.g), z)
        return latents, encoded.g

    @torch.inference_mode()
    def _latents_for(self, window: Window, latents: "_Latents") -> Tensor:
        """Return the latents [T, C] of an utterance, computed as far as the window and its context reach."""
        wanted = min(latents.n_frames, window.start + window.frames + self._decoder.context_frames)
        while latents.computed < wanted:
            latents.compute_block()
        return latents.z

    @torch.inference_mode()
    def _encoded(self, synthesis: "_Synthesis", source: torch.Generator) -> "_Encoded":
        """Return what the text encoder and the duration predictor make of the ids."""
        g = None if self._speaker_table is None else self._speaker_table[synthesis.speaker]
        prior = self._encoder(torch.tensor(synthesis.ids))
        noise = None
        if self._config.shape.use_sdp:
            noise = torch.randn((1, 2, len(synthesis.ids)), generator=source)[0] * synthesis.noise_scale_w
        log_durations = self._durations(prior.hidden, noise, g)
        frames = torch.ceil(torch.exp(log_durations) * synthesis.length_scale)
        return _Encoded(prior.mean, prior.log_deviation, _bounded(frames, synthesis.length_scale), g)

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

    def _settle_by_sound(self, decoder: WindowedDecoder, flow: BlockedFlow, required: bool) -> Iterator[None]:
        """Take over a decoder, and then a flow, in bfloat16, as long as three windows stay close to float32's.

        The decoder is taken over in any case where it is required.
        """
        ids = tuple(number % len(self._config.symbols) for number in range(48))
        exact = self._decoder
        if required:
            self._decoder = decoder
        try:
            latents, g = self._latents(_Synthesis(ids, 0, DEFAULTS["noise_scale"], 0.0, 1.0, seed=0))
        except RunawayLength:  # These ids are not speech; a voice may refuse them and still be sound.
            return
        expected = yield from self._trial(exact, latents, g)
        if _snr_db(expected, (yield from self._trial(decoder, latents, g))) < LEAST_BFLOAT16_SNR_DB:
            return
        self._decoder = decoder
        rough = replace(latents, flow=flow.spoken_by(g), z=torch.empty(latents.z.shape), computed=0)
        if _snr_db(expected, (yield from self._trial(decoder, rough, g))) >= LEAST_FLOW_SNR_DB:
            self._flow = flow

    def _trial(self, decoder: WindowedDecoder, latents: "_Latents", g: Tensor | None) -> Generator[None, None, Tensor]:
        """Return the samples of the first three windows of latents by that decoder, one step each."""
        bias, made = decoder.bias(g), []
        for window in islice(decoder.windows(latents.n_frames), 3):
            yield
            z = self._latents_for(window, latents)
            with torch.inference_mode():
                made.append(decoder(z, window, bias))
        return torch.cat(made)


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

    mean: Tensor
    """float32 [S, C]: the prior's for each id."""
    log_deviation: Tensor
    durations: Tensor
    """int64 [S], the frames of each id."""
    g: Tensor | None
    """[G], the speaker's embedding."""


@dataclass(slots=True)
class _Latents:
    """The latents of an utterance, which are computed block by block as the windows want them."""

    mean: Tensor
    """[S, C]: the prior's for each id."""
    deviation: Tensor
    """[S, C], the scale of the noise included."""
    symbols: Tensor
    """int64 [T], the id that each frame belongs to, by its place."""
    noise: Tensor
    """[T, C], drawn at once, so that it does not depend on the blocks."""
    flow: BlockedFlow
    """For the utterance's speaker."""
    z: Tensor
    """[T, C], of which the first `computed` frames are there."""
    computed: int = 0

    @property
    def n_frames(self) -> int:
        """The length of the utterance."""
        return len(self.symbols)

    def prior(self, start: int, stop: int) -> Tensor:
        """Return samples of the prior [stop - start, C] for some of the frames."""
        symbols = self.symbols[start:stop]
        return torch.addcmul(self.mean[symbols], self.noise[start:stop], self.deviation[symbols])

    def compute_block(self) -> None:
        """Compute the next block."""
        block = self.flow.next_block(self.computed, self.n_frames)
        start, stop = self.flow.span(block)
        first, last = max(start, 0), min(stop, self.n_frames)
        z_p = F.pad(self.prior(first, last), (0, 0, first - start, stop - last))
        end = min(block.start + block.frames, self.n_frames)
        self.z[block.start : end] = self.flow(z_p, block, self.n_frames)[: end - block.start]
        self.computed = end


def warm_up(voice: Voice, speaker: int) -> None:
    """Compile and page in what a first request would otherwise wait for: some blanks, long enough for every window."""
    voice.warm_up()
    with suppress(RunawayLength):  # Such a text is no speech; a voice may refuse it and still be sound.
        for _ in voice.stream([0] * 64, speaker=speaker, noise_scale_w=0.0, length_scale=4.0):
            pass


def has_bfloat16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in hardware; others convert back and forth and gain nothing."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _snr_db(expected: Tensor, samples: Tensor) -> float:
    """Return the signal-to-noise ratio of samples; infinite where nothing differs."""
    signal, noise = float(expected.square().sum()), float((samples - expected).square().sum())
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


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
