"""The trained modules: the network of vits/, its posterior encoder, and the discriminators."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.alignment import monotonic_alignment
from training.durations import TrainedDurationPredictor
from training.losses import advance_loss, fundamental, log_mel, magnitudes, phase_loss
from training.recipes import Recipe
from vits.decoder import Generator
from vits.network import (
    DURATION_FILTER_CHANNELS,
    DURATION_KERNEL_SIZE,
    DurationPredictor,
    ResidualCouplingBlock,
    TextEncoder,
    WaveNet,
)

FLOW_REACH = 32
"""Frames on each side that the flow's output depends on: 4 couplings of 4 layers with kernel 5."""

MEL_BANDS = 80
"""Bands of the spectrogram that latents are read as."""

BEGINNINGS, ENDS = 0.15, 0.1
"""The shares of segments that begin with their utterance, and that end with it. By chance it would be one in a hundred.
The decoder would then so seldom see a first frame with nothing before it that it would answer with a click, as it may
where a segment begins within speech, and would let a last vowel die away slowly."""


class Batch(NamedTuple):
    """A padded batch: B utterances of at most S symbols and T frames."""

    ids: Tensor
    """The symbol ids, int64 [B, S]."""
    symbols: Tensor
    """int64 [B], the length of each text."""
    durations: Tensor | None
    """The frames of each symbol, int64 [B, S]; with None, the alignment search finds them."""
    samples: Tensor
    """The recordings, float32 [B, T * hop]."""
    frames: Tensor
    """int64 [B], the length of each utterance."""
    speakers: Tensor
    """int64 [B], the speakers; without effect in a voice with one speaker."""


class Window(NamedTuple):
    """A segment to decode from each of B utterances, and the frames on either side that the flow reaches: T frames."""

    starts: Tensor
    """int64 [B], the first frame; negative where it lies before the utterance."""
    samples: Tensor
    """float32 [B, T * hop], zeros outside the utterance."""
    mask: Tensor
    """float32 [B, 1, T], 1 within the utterance."""
    speakers: Tensor
    """int64 [B], the speakers."""
    g: Tensor | None
    """float32 [B, gin_channels, 1], the same as an embedding."""


class Latents(NamedTuple):
    """The latents drawn for a window, and how well they fit."""

    heard: Tensor
    """float32 [B, C, T], drawn from the recording."""
    from_text: Tensor
    """float32 [B, C, T], drawn from the text alone, through the flow backwards, as in synthesis."""
    losses: dict[str, Tensor]
    """`kl` between them in nats a frame, `duration`, and how far a linear reading of either is from the log mel
    spectrogram, in nepers: `heard_mel`, `text_mel`; where phases are taught, how far another reading is from the phase
    of the fundamental, `heard_phase`, and from its advance, `text_advance`."""


class Segments(NamedTuple):
    """The decoder's output for a window's segments."""

    spoken: Tensor
    """float32 [B, n], the decoder's output."""
    recorded: Tensor
    """float32 [B, n], the same stretch of the corpus."""
    n_heard: int
    """How many of the B were made from latents of the recording; the others were made from the text alone."""


class ChannelsLastConv1d(nn.Conv1d):
    """A Conv1d run as a 2-D convolution over channels-last memory, twice as fast on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of x [B, C, T], in channels-last memory."""
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        weight = self.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        pad = (0, int(self.padding[0]))
        return F.conv2d(image, weight, self.bias, 1, pad, (1, self.dilation[0]), self.groups).squeeze(2)


class ChannelsLastConvTranspose1d(nn.ConvTranspose1d):
    """A ConvTranspose1d run as a 2-D transposed convolution over channels-last memory."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the transposed convolution of x [B, C, T], in channels-last memory."""
        image = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        weight = self.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        stride, pad = (1, self.stride[0]), (0, int(self.padding[0]))
        return F.conv_transpose2d(image, weight, self.bias, stride, pad).squeeze(2)


def use_channels_last(module: nn.Module) -> None:
    """Let the 1-D convolutions of a module run in channels-last memory; their parameters stay as they are."""
    for part in module.modules():
        if type(part) is nn.Conv1d:
            part.__class__ = ChannelsLastConv1d
        elif type(part) is nn.ConvTranspose1d:
            part.__class__ = ChannelsLastConvTranspose1d


class PosteriorEncoder(nn.Module):
    """Turns spectrograms into latents; used in training only."""

    def __init__(self, n_fft: int, channels: int, layers: int, gin_channels: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(n_fft // 2 + 1, channels, 1)
        self.enc = WaveNet(channels, 5, layers, gin_channels)
        self.proj = nn.Conv1d(channels, 2 * channels, 1)

    def forward(self, spectrogram: Tensor, mask: Tensor, g: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return a sample z [B, C, T], its mean and its log deviation, from magnitudes [B, F, T] and speaker g."""
        # The original feeds magnitudes; training learns sooner from their logarithm, brought near [-2, 2].
        x = self.pre((spectrogram.clamp(min=1e-5).log() + 3) / 4) * mask
        m_q, logs_q = (self.proj(self.enc(x, mask, g)).float() * mask).chunk(2, dim=1)
        return (m_q + torch.randn_like(m_q) * logs_q.exp()) * mask, m_q, logs_q


def within(lengths: Tensor, size: int) -> Tensor:
    """Return a mask float [B, 1, size] of the positions below lengths [B]."""
    return (torch.arange(size)[None, :] < lengths[:, None]).float()[:, None]


def cut(x: Tensor, starts: Tensor, size: int) -> Tensor:
    """Return [B, C, size], the stretch of x [B, C, T] from starts [B]; zeros where it leaves x."""
    index = starts[:, None] + torch.arange(size)
    inside = (index >= 0) & (index < x.shape[2])
    index = index.clamp(0, x.shape[2] - 1)[:, None].expand(-1, x.shape[1], -1)
    return x.gather(2, index) * inside[:, None]


class Trainee(nn.Module):
    """The VITS of a recipe with everything that its training needs."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        channels, gin_channels = recipe.hidden_channels, recipe.gin_channels if recipe.speakers else 0
        self.enc_p = TextEncoder(
            len(recipe.symbols), channels, channels, recipe.filter_channels, recipe.n_heads, recipe.n_layers,
            recipe.kernel_size,
        )  # fmt: skip
        self.dp: TrainedDurationPredictor | DurationPredictor
        if recipe.use_sdp:
            self.dp = TrainedDurationPredictor(channels, DURATION_KERNEL_SIZE, gin_channels)
        else:
            self.dp = DurationPredictor(channels, DURATION_FILTER_CHANNELS, DURATION_KERNEL_SIZE, gin_channels)
        self.flow = ResidualCouplingBlock(channels, channels, gin_channels)
        self.dec = Generator(channels, gin_channels=gin_channels, **recipe.decoder)
        self.enc_q = PosteriorEncoder(recipe.n_fft, channels, recipe.posterior_layers, gin_channels)
        self.emb_g = nn.Embedding(len(recipe.speakers), gin_channels) if recipe.speakers else None
        self.mel = nn.Conv1d(channels, MEL_BANDS, 1)
        self.phase = nn.Conv1d(channels, 2, 1) if recipe.fundamental_hz else None
        self.bands_hz = [recipe.fundamental_hz[name] for name in recipe.teachers] if recipe.fundamental_hz else []
        use_channels_last(self)

    def window(self, batch: Batch) -> Window:
        """Return a random window of each utterance of a batch."""
        size, hop = self.recipe.segment_frames, self.recipe.hop_length
        wide = size + 2 * FLOW_REACH
        last = batch.frames - size
        starts = (torch.rand(len(batch.ids)) * (last + 1)).long()
        edge = torch.rand(len(batch.ids))
        starts = torch.where(edge < BEGINNINGS, 0, torch.where(edge > 1 - ENDS, last, starts)) - FLOW_REACH
        samples = cut(batch.samples[:, None], starts * hop, wide * hop)[:, 0]
        mask = cut(within(batch.frames, batch.samples.shape[1] // hop), starts, wide)
        g = None if self.emb_g is None else self.emb_g(batch.speakers)[:, :, None]
        return Window(starts, samples, mask, batch.speakers, g)

    def heard(self, window: Window) -> tuple[Tensor, Tensor, Tensor]:
        """Return the recording's latents [B, C, T], their mean and their log deviation."""
        made: tuple[Tensor, Tensor, Tensor] = self.enc_q(self._seen(window.samples), window.mask, window.g)
        return made

    def latents(self, batch: Batch, window: Window, noise_scale: float, teach_heard: bool = True) -> Latents:
        """Return the latents of recording and text, and the losses between them.

        Args:
            batch: the utterances.
            window: what is looked at of them.
            noise_scale: deviation of the prior's noise on the way from text.
            teach_heard: whether the recording's latents are taught too, or only what text makes of them.
        """
        mask, g = window.mask, window.g
        mask_s = within(batch.symbols, batch.ids.shape[1])
        hidden, m_p, logs_p = (made.float() for made in self.enc_p(batch.ids, mask_s))
        durations = self._search(m_p, logs_p, batch, g) if batch.durations is None else batch.durations
        duration = self._duration_loss(hidden.detach(), mask_s, durations, None if g is None else g.detach())
        owner = _owners(durations, window.starts, mask.shape[2])[:, None].expand(-1, m_p.shape[1], -1)
        m_t, logs_t = m_p.gather(2, owner), logs_p.gather(2, owner)
        with torch.set_grad_enabled(teach_heard and torch.is_grad_enabled()):
            z, _, logs_q = self.heard(window)
        z_p = self.flow(z, mask, g, reverse=False)
        drawn = m_t + torch.randn_like(m_t) * logs_t.exp() * noise_scale
        z_t = self.flow(drawn * mask, mask, g, reverse=True)
        mel = self._mel_of(window)
        seen = slice(FLOW_REACH // 2, -FLOW_REACH // 2)  # the outermost frames lack their context

        def a_frame(loss: Tensor) -> Tensor:
            return (loss * mask)[:, :, seen].sum() / mask[:, :, seen].sum()

        losses = {
            "kl": a_frame(logs_t - logs_q - 0.5 + 0.5 * (z_p - m_t).square() * (-2 * logs_t).exp()),
            "duration": duration,
            "heard_mel": a_frame((self.mel(z) - mel).abs()) / MEL_BANDS,
            "text_mel": a_frame((self.mel(z_t) - mel).abs()) / MEL_BANDS,
        }
        return Latents(z, z_t, losses | self._phase_losses(window, z, z_t, seen))

    def autoencoded(self, window: Window) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the recording's latents [B, C, T] and what they lack without text: `unit`, `heard_mel`, `heard_phase`.

        `unit` is their divergence from a standard normal distribution in nats a frame, which keeps them of a size that
        text can come to tell.
        """
        z, m_q, logs_q = self.heard(window)
        frames = window.mask.sum()
        unit = (0.5 * (m_q.square() + (2 * logs_q).exp() - 1) - logs_q).sum() / frames
        mel = (self.mel(z) - self._mel_of(window)).abs() * window.mask
        losses = {"unit": unit, "heard_mel": mel.sum() / frames / MEL_BANDS}
        phases = self._phase_losses(window, z, z, slice(FLOW_REACH // 2, -FLOW_REACH // 2))
        phases.pop("text_advance", None)
        return z, losses | phases

    def _mel_of(self, window: Window) -> Tensor:
        """Return the log mel spectrogram [B, MEL_BANDS, T] of a window."""
        recipe = self.recipe
        return log_mel(window.samples, recipe.sample_rate_hz, recipe.n_fft, recipe.hop_length, MEL_BANDS)

    def _phase_losses(self, window: Window, heard: Tensor, from_text: Tensor, seen: slice) -> dict[str, Tensor]:
        """Return the losses of the phases read from latents [B, C, T] of recording and text, in the frames `seen`."""
        recipe = self.recipe
        if self.phase is None:
            return {}
        bands_hz = torch.tensor(self.bands_hz)[window.speakers]
        wanted, voiced = fundamental(window.samples, recipe.sample_rate_hz, recipe.hop_length, bands_hz)
        wanted, voiced = wanted[:, seen], (voiced & (window.mask[:, 0] > 0))[:, seen]
        told, from_text_told = (torch.complex(*self.phase(z)[:, :, seen].float().unbind(1)) for z in (heard, from_text))
        return {
            "heard_phase": phase_loss(told, wanted, voiced),
            "text_advance": advance_loss(from_text_told, wanted, voiced),
        }

    def _seen(self, samples: Tensor) -> Tensor:
        """Return the spectrogram [B, F, T] that the posterior encoder sees for samples [B, T * hop]."""
        recipe = self.recipe
        return magnitudes(samples, recipe.n_fft, recipe.hop_length, recipe.win_length)

    def decode(self, window: Window, latents: Tensor, n_heard: int) -> Segments:
        """Return the segments of latents [B, C, T], the first n_heard of which come from recordings."""
        segment = slice(FLOW_REACH, -FLOW_REACH)
        hop = self.recipe.hop_length
        recorded = window.samples[:, FLOW_REACH * hop : -FLOW_REACH * hop]
        return Segments(self.dec(latents[:, :, segment], window.g)[:, 0].float(), recorded, n_heard)

    def _duration_loss(self, hidden: Tensor, mask: Tensor, durations: Tensor, g: Tensor | None) -> Tensor:
        """Return the duration predictor's loss on durations int64 [B, S]."""
        with torch.autocast(hidden.device.type, enabled=False):
            if isinstance(self.dp, TrainedDurationPredictor):
                return self.dp.loss(hidden, mask, durations, g)
            # Synthesis rounds durations up: the middle of the last frame is the target without bias.
            wanted = (durations - 0.5).clamp(min=0.5).log()[:, None]
            loss: Tensor = ((self.dp(hidden, mask, g) - wanted).square() * mask).sum() / mask.sum()
            return loss

    @torch.no_grad()
    def _search(self, m_p: Tensor, logs_p: Tensor, batch: Batch, g: Tensor | None) -> Tensor:
        """Return durations int64 [B, S] of the likeliest alignment under the prior."""
        spectrogram = self._seen(batch.samples)
        mask = within(batch.frames, spectrogram.shape[2])
        z_p = self.flow(self.enc_q(spectrogram, mask, g)[0], mask, g, reverse=False)
        precision = (-2 * logs_p).exp()
        scores = (-logs_p - 0.5 * m_p.square() * precision).sum(1)[:, :, None]
        scores = scores + (m_p * precision).transpose(1, 2) @ z_p - 0.5 * precision.transpose(1, 2) @ z_p.square()
        return monotonic_alignment(scores, batch.symbols, batch.frames)


def _owners(durations: Tensor, starts: Tensor, size: int) -> Tensor:
    """Return int64 [B, size], the symbol of each frame from starts [B]; frames outside go to the nearest symbol."""
    ends = durations.cumsum(1)
    frames = starts[:, None] + torch.arange(size)
    return torch.searchsorted(ends, frames, right=True).clamp(max=durations.shape[1] - 1)


class PeriodDiscriminator(nn.Module):
    """A small judge of samples that are a period apart (HiFi-GAN)."""

    def __init__(self, period: int, channels: Sequence[int] = (1, 16, 64, 128, 256)) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, (5, 1), (3, 1), (2, 0)) for i, o in zip(channels, channels[1:], strict=False)
        )
        self.conv_post = nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of samples x [B, n]; the last are the verdict."""
        x = F.pad(x[:, None], (0, -x.shape[1] % self.period), "reflect")
        return _features(x.view(len(x), 1, -1, self.period), self.convs, self.conv_post)


class SpectrogramDiscriminator(nn.Module):
    """A small judge of a spectrogram at one resolution (UnivNet, Jang et al., 2021)."""

    def __init__(self, n_fft: int, channels: int = 16) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.convs = nn.ModuleList(
            nn.Conv2d(1 if i == 0 else channels, channels, (9, 3), (stride, 1), (4, 1))
            for i, stride in enumerate((1, 2, 2, 2))
        )
        self.conv_post = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of samples x [B, n]; the last are the verdict."""
        spectrogram = magnitudes(x, self.n_fft, self.n_fft // 4)
        return _features((spectrogram[:, None] + 1e-3).log(), self.convs, self.conv_post)


def _features(x: Tensor, convs: nn.ModuleList, conv_post: nn.Module) -> list[Tensor]:
    features = []
    for conv in convs:
        x = F.leaky_relu(conv(x), 0.1)
        features.append(x)
    return [*features, conv_post(x)]


class Discriminators(nn.Module):
    """All judges together."""

    def __init__(self) -> None:
        super().__init__()
        self.judges = nn.ModuleList(
            [PeriodDiscriminator(p) for p in (2, 3, 5, 7, 11)] + [SpectrogramDiscriminator(n) for n in (512, 1024)]
        )

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return each judge's features of samples x [B, n]."""
        return [judge(x) for judge in self.judges]
