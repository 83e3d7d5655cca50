"""The network: text encoder, duration predictors and flow, and all parts together with the decoder.

Follows "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech" (Kim et al., 2021)
and, in module names, the checkpoints of github.com/jaywalnut310/vits, so that a state dict loads without renaming.
Every module before the decoder takes a mask and is exact under padding: positions outside the mask never affect those
inside.

Axes: B batch, C channels, T symbols or frames, S heads. Masks are float [B, 1, T], 1 inside and 0 outside.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vits.config import Shape
from vits.decoder import Generator

DURATION_FILTER_CHANNELS = 256
"""Width of the deterministic duration predictor, which no config states."""

DURATION_KERNEL_SIZE = 3
"""Kernel size of both duration predictors, which no config states."""

RELATIVE_WINDOW = 4
"""Positions on each side that the text encoder's attention knows by distance."""

SPLINE_BINS = 10
SPLINE_BOUND = 5.0
SPLINE_MIN = 1e-3
"""Least width, height and slope of a spline bin (Durkan et al., 2019, and the original's transforms.py)."""


class LayerNorm(nn.Module):
    """Layer normalisation over the channels of [B, C, T]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.eps = 1e-5

    def forward(self, x: Tensor) -> Tensor:
        """Return x [B, C, T] normalised over C."""
        return F.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta, self.eps).transpose(1, 2)


class MultiHeadAttention(nn.Module):
    """Self-attention with relative positions (Shaw et al., 2018), whose embeddings the heads share."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        per_head = channels // heads
        shape = (1, 2 * RELATIVE_WINDOW + 1, per_head)
        self.emb_rel_k = nn.Parameter(nn.init.normal_(torch.empty(shape), std=per_head**-0.5))
        self.emb_rel_v = nn.Parameter(nn.init.normal_(torch.empty(shape), std=per_head**-0.5))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return attention over x [B, C, T]; positions outside the mask are never attended to."""
        B, C, T = x.shape
        q, k, v = (
            conv(x).view(B, self.heads, C // self.heads, T).transpose(2, 3)
            for conv in (self.conv_q, self.conv_k, self.conv_v)
        )  # [B, S, T, C / S]
        q = q * (C // self.heads) ** -0.5
        position = torch.arange(T, device=x.device)
        distance = position[None, :] - position[:, None] + RELATIVE_WINDOW  # [T, T]
        near = (distance >= 0) & (distance <= 2 * RELATIVE_WINDOW)
        distance = distance.clamp(0, 2 * RELATIVE_WINDOW).expand(B, self.heads, T, T)
        by_distance = (q @ self.emb_rel_k.transpose(1, 2)).gather(3, distance) * near
        scores = q @ k.transpose(2, 3) + by_distance
        scores = scores.masked_fill(mask[:, :, None, :] == 0, -1e4)
        weights = scores.softmax(dim=-1)  # [B, S, T, T]
        offsets = torch.arange(2 * RELATIVE_WINDOW + 1, device=x.device) - RELATIVE_WINDOW
        neighbour = position[:, None] + offsets[None, :]  # [T, 9]
        inside = (neighbour >= 0) & (neighbour < T)
        neighbour = neighbour.clamp(0, T - 1).expand(B, self.heads, T, -1)
        y = weights @ v + (weights.gather(3, neighbour) * inside) @ self.emb_rel_v
        out: Tensor = self.conv_o(y.transpose(2, 3).reshape(B, C, T))
        return out


class FeedForward(nn.Module):
    """Two convolutions with a ReLU between them, each over masked input."""

    def __init__(self, channels: int, filter_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.pad = ((kernel_size - 1) // 2, kernel_size // 2)
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel_size)
        self.conv_2 = nn.Conv1d(filter_channels, channels, kernel_size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [B, C, T] from x [B, C, T]."""
        x = torch.relu(self.conv_1(F.pad(x * mask, self.pad)))
        x = self.conv_2(F.pad(x * mask, self.pad))
        return x * mask


class Encoder(nn.Module):
    """A stack of attention and feed-forward layers, normalised after each."""

    def __init__(self, channels: int, filter_channels: int, heads: int, layers: int, kernel_size: int) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList(MultiHeadAttention(channels, heads) for _ in range(layers))
        self.norm_layers_1 = nn.ModuleList(LayerNorm(channels) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(FeedForward(channels, filter_channels, kernel_size) for _ in range(layers))
        self.norm_layers_2 = nn.ModuleList(LayerNorm(channels) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [B, C, T] from x [B, C, T]."""
        x = x * mask
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True)
        for attention, norm_1, feed_forward, norm_2 in layers:
            x = norm_1(x + attention(x, mask))
            x = norm_2(x + feed_forward(x, mask))
        return x * mask


class TextEncoder(nn.Module):
    """Turns symbol ids into hidden states and the mean and log deviation of the prior."""

    def __init__(
        self,
        n_symbols: int,
        out_channels: int,
        hidden_channels: int,
        filter_channels: int,
        n_heads: int,
        n_layers: int,
        kernel_size: int,
    ) -> None:
        super().__init__()
        self.emb = nn.Embedding(n_symbols, hidden_channels)
        nn.init.normal_(self.emb.weight, 0.0, hidden_channels**-0.5)
        self.encoder = Encoder(hidden_channels, filter_channels, n_heads, n_layers, kernel_size)
        self.proj = nn.Conv1d(hidden_channels, 2 * out_channels, 1)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden states [B, C, T], prior mean m_p and log deviation logs_p from ids int64 [B, T]."""
        x = self.emb(ids).transpose(1, 2) * math.sqrt(self.emb.embedding_dim)
        x = self.encoder(x, mask)
        m_p, logs_p = (self.proj(x) * mask).chunk(2, dim=1)
        return x, m_p, logs_p


class DurationPredictor(nn.Module):
    """The deterministic duration predictor of configs with use_sdp false."""

    def __init__(self, channels: int, filter_channels: int, kernel_size: int, gin_channels: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, filter_channels, kernel_size, padding=kernel_size // 2)
        self.norm_1 = LayerNorm(filter_channels)
        self.conv_2 = nn.Conv1d(filter_channels, filter_channels, kernel_size, padding=kernel_size // 2)
        self.norm_2 = LayerNorm(filter_channels)
        self.proj = nn.Conv1d(filter_channels, 1, 1)
        if gin_channels:
            self.cond = nn.Conv1d(gin_channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """Return log durations in frames [B, 1, T] from hidden states x [B, C, T] and speaker g [B, C, 1]."""
        if g is not None:
            x = x + self.cond(g)
        x = self.norm_1(torch.relu(self.conv_1(x * mask)))
        x = self.norm_2(torch.relu(self.conv_2(x * mask)))
        out: Tensor = self.proj(x * mask) * mask
        return out


class DDSConv(nn.Module):
    """Dilated, depth-separable residual convolutions."""

    def __init__(self, channels: int, kernel_size: int, layers: int = 3) -> None:
        super().__init__()
        dilations = [kernel_size**i for i in range(layers)]
        self.convs_sep = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, groups=channels, dilation=d, padding=d * (kernel_size - 1) // 2)
            for d in dilations
        )
        self.convs_1x1 = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations)
        self.norms_1 = nn.ModuleList(LayerNorm(channels) for _ in dilations)
        self.norms_2 = nn.ModuleList(LayerNorm(channels) for _ in dilations)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [B, C, T] from x [B, C, T]."""
        for separable, norm_1, pointwise, norm_2 in zip(
            self.convs_sep, self.norms_1, self.convs_1x1, self.norms_2, strict=True
        ):
            y = F.gelu(norm_1(separable(x * mask)))
            x = x + F.gelu(norm_2(pointwise(y)))
        return x * mask


class ElementwiseAffine(nn.Module):
    """An affine flow with one scale and one shift a channel, run backwards."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(channels, 1))
        self.logs = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, z: Tensor, mask: Tensor, condition: Tensor) -> Tensor:
        """Return the flow's input [B, 2, T] for its output z [B, 2, T]."""
        return (z - self.m) * torch.exp(-self.logs) * mask


def inverse_spline(y: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor) -> Tensor:
    """Return x such that the monotonic rational-quadratic spline maps x to y; the identity beyond the bound.

    Follows "Neural Spline Flows" (Durkan et al., 2019), equations 6 to 8, with linear tails.

    Args:
        y: any shape.
        widths: unnormalised bin widths [..., K].
        heights: unnormalised bin heights [..., K].
        slopes: unnormalised slopes at the inner knots [..., K - 1].

    """
    # log(e^x - 1) is the inverse of softplus: the outer knots get the slope 1 of the tails.
    edge = math.log(math.expm1(1 - SPLINE_MIN))
    slopes = SPLINE_MIN + F.softplus(F.pad(slopes, (1, 1), value=edge))
    knots_x, knots_y = (knots(sizes) for sizes in (widths, heights))
    inside = (y >= -SPLINE_BOUND) & (y <= SPLINE_BOUND)
    y_inside = y.clamp(-SPLINE_BOUND, SPLINE_BOUND)
    index = ((y_inside[..., None] >= knots_y[..., 1:-1]).sum(-1, keepdim=True)).clamp(max=SPLINE_BINS - 1)

    def pick(values: Tensor) -> Tensor:
        return values.gather(-1, index)[..., 0]

    x_left, y_left = pick(knots_x), pick(knots_y)
    width, height = pick(knots_x.diff(dim=-1)), pick(knots_y.diff(dim=-1))
    slope_left, slope_right = pick(slopes), pick(slopes[..., 1:])
    mean_slope = height / width
    rise = y_inside - y_left
    bend = slope_left + slope_right - 2 * mean_slope
    a = rise * bend + height * (mean_slope - slope_left)
    b = height * slope_left - rise * bend
    c = -mean_slope * rise
    root = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp(min=0)))
    return torch.where(inside, root * width + x_left, y)


def knots(sizes: Tensor) -> Tensor:
    """Return knot positions [..., K + 1] from -bound to bound for unnormalised bin sizes [..., K]."""
    bins = SPLINE_MIN + (1 - SPLINE_MIN * SPLINE_BINS) * sizes.softmax(dim=-1)
    inner = 2 * SPLINE_BOUND * bins.cumsum(dim=-1)[..., :-1] - SPLINE_BOUND
    return F.pad(F.pad(inner, (1, 0), value=-SPLINE_BOUND), (0, 1), value=SPLINE_BOUND)


class ConvFlow(nn.Module):
    """A spline coupling flow over the two duration channels, run backwards."""

    def __init__(self, filter_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(1, filter_channels, 1)
        self.convs = DDSConv(filter_channels, kernel_size)
        self.proj = nn.Conv1d(filter_channels, 3 * SPLINE_BINS - 1, 1)

    def forward(self, z: Tensor, mask: Tensor, condition: Tensor) -> Tensor:
        """Return the flow's input [B, 2, T] for its output z [B, 2, T], given condition [B, C, T]."""
        z0, z1 = z.chunk(2, dim=1)
        h = self.proj(self.convs(self.pre(z0) + condition, mask)) * mask
        h = h.transpose(1, 2)[:, None]  # [B, 1, T, 3 K - 1]
        scale = self.pre.out_channels**-0.5
        widths, heights, slopes = h.split([SPLINE_BINS, SPLINE_BINS, SPLINE_BINS - 1], dim=-1)
        z1 = inverse_spline(z1, widths * scale, heights * scale, slopes)
        return torch.cat([z0, z1], dim=1) * mask


class Flip(nn.Module):
    """The reversal of the channels, which takes a number among the checkpoint's flows."""

    def forward(self, z: Tensor, mask: Tensor, condition: Tensor) -> Tensor:
        """Return z [B, C, T] with its channels in reverse order."""
        return z.flip(1)


class StochasticDurationPredictor(nn.Module):
    """The flow-based duration predictor of configs with use_sdp true, run from noise to durations."""

    def __init__(self, channels: int, kernel_size: int, gin_channels: int, n_flows: int = 4) -> None:
        super().__init__()
        self.flows = nn.ModuleList([ElementwiseAffine(2)])
        for _ in range(n_flows):
            self.flows.extend([ConvFlow(channels, kernel_size), Flip()])
        self.pre = nn.Conv1d(channels, channels, 1)
        self.proj = nn.Conv1d(channels, channels, 1)
        self.convs = DDSConv(channels, kernel_size)
        if gin_channels:
            self.cond = nn.Conv1d(gin_channels, channels, 1)

    def forward(self, x: Tensor, mask: Tensor, noise: Tensor, g: Tensor | None = None) -> Tensor:
        """Return log durations in frames [B, 1, T] from hidden states x [B, C, T], noise [B, 2, T] and speaker g."""
        x = self.pre(x)
        if g is not None:
            x = x + self.cond(g)
        condition = self.proj(self.convs(x, mask)) * mask
        # As in the original, inference skips the spline flow next to the affine one.
        z = noise
        for flow in [*reversed(self.flows[2:]), self.flows[0]]:
            z = flow(z, mask, condition)
        return z[:, :1]


class WaveNet(nn.Module):
    """Gated convolutions with skip connections (the original's WN)."""

    def __init__(self, channels: int, kernel_size: int, layers: int, gin_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.in_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, kernel_size, padding=kernel_size // 2) for _ in range(layers)
        )
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels if i < layers - 1 else channels, 1) for i in range(layers)
        )
        if gin_channels:
            self.cond_layer = nn.Conv1d(gin_channels, 2 * channels * layers, 1)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor | None = None) -> Tensor:
        """Return [B, C, T] from x [B, C, T], masked, and speaker g [B, C, 1]."""
        layers = len(self.in_layers)
        conditions = [None] * layers if g is None else self.cond_layer(g).chunk(layers, dim=1)
        output = torch.zeros_like(x)
        for in_layer, res_skip_layer, condition in zip(self.in_layers, self.res_skip_layers, conditions, strict=True):
            h = in_layer(x)
            if condition is not None:
                h = h + condition
            gate_tanh, gate_sigmoid = h.chunk(2, dim=1)
            h = res_skip_layer(torch.tanh(gate_tanh) * torch.sigmoid(gate_sigmoid))
            if h.shape[1] == self.channels:
                out: Tensor = (output + h) * mask
                return out
            residual, skip = h.chunk(2, dim=1)
            x = (x + residual) * mask
            output = output + skip
        raise AssertionError("a WaveNet has at least one layer, and its last one returns")


class ResidualCouplingLayer(nn.Module):
    """A volume-preserving coupling: half of the channels is shifted by a function of the other half."""

    def __init__(self, channels: int, hidden_channels: int, kernel_size: int, layers: int, gin_channels: int) -> None:
        super().__init__()
        self.pre = nn.Conv1d(channels // 2, hidden_channels, 1)
        self.enc = WaveNet(hidden_channels, kernel_size, layers, gin_channels)
        self.post = nn.Conv1d(hidden_channels, channels // 2, 1)
        nn.init.zeros_(self.post.weight)
        nn.init.zeros_(self.post.bias)  # type: ignore[arg-type]  # this convolution has a bias

    def forward(self, z: Tensor, mask: Tensor, g: Tensor | None, reverse: bool) -> Tensor:
        """Return z [B, C, T] with its second half shifted; reverse undoes it."""
        z0, z1 = z.chunk(2, dim=1)
        shift = self.post(self.enc(self.pre(z0) * mask, mask, g)) * mask
        z1 = (z1 - shift) * mask if reverse else z1 * mask + shift
        return torch.cat([z0, z1], dim=1)


class ResidualCouplingBlock(nn.Module):
    """The normalising flow between the prior's space and the decoder's."""

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        gin_channels: int,
        kernel_size: int = 5,
        layers: int = 4,
        n_flows: int = 4,
    ) -> None:
        super().__init__()
        self.flows = nn.ModuleList()
        for _ in range(n_flows):
            self.flows.extend(
                [ResidualCouplingLayer(channels, hidden_channels, kernel_size, layers, gin_channels), Flip()]
            )

    def forward(self, z: Tensor, mask: Tensor, g: Tensor | None = None, reverse: bool = True) -> Tensor:
        """Return decoder latents [B, C, T] for prior samples z [B, C, T], or the other way with reverse false."""
        couplings = self.couplings()
        for coupling in reversed(couplings) if reverse else couplings:
            z = coupling(z.flip(1), mask, g, reverse) if reverse else coupling(z, mask, g, reverse).flip(1)
        return z

    def couplings(self) -> list[ResidualCouplingLayer]:
        """Return the couplings, without the reversals between them."""
        return [flow for flow in self.flows if isinstance(flow, ResidualCouplingLayer)]


class Network(nn.Module):
    """The parts of VITS that synthesis needs, named as in its checkpoints."""

    def __init__(self, shape: Shape, n_symbols: int, n_speakers: int) -> None:
        super().__init__()
        gin_channels = shape.gin_channels if n_speakers else 0
        self.enc_p = TextEncoder(
            n_symbols,
            shape.inter_channels,
            shape.hidden_channels,
            shape.filter_channels,
            shape.n_heads,
            shape.n_layers,
            shape.kernel_size,
        )
        self.dp: StochasticDurationPredictor | DurationPredictor
        if shape.use_sdp:
            self.dp = StochasticDurationPredictor(shape.hidden_channels, DURATION_KERNEL_SIZE, gin_channels)
        else:
            self.dp = DurationPredictor(
                shape.hidden_channels, DURATION_FILTER_CHANNELS, DURATION_KERNEL_SIZE, gin_channels
            )
        self.flow = ResidualCouplingBlock(shape.inter_channels, shape.hidden_channels, gin_channels)
        self.dec = Generator(
            shape.inter_channels,
            shape.resblock,
            shape.resblock_kernel_sizes,
            shape.resblock_dilation_sizes,
            shape.upsample_rates,
            shape.upsample_initial_channel,
            shape.upsample_kernel_sizes,
            gin_channels,
        )
        self.emb_g = nn.Embedding(n_speakers, gin_channels) if n_speakers else None
