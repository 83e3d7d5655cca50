"""The stochastic duration predictor in training: the likelihood of durations under the flow that later draws them.

Follows section 2.2.2 of "Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech"
(Kim et al., 2021) and, in the order of operations and the names in the state dict, models.py and modules.py of
github.com/jaywalnut310/vits. The layers are those of vits/network.py, which runs them from noise to durations; here
they run from durations to noise, with the logarithms of their determinants.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vits.network import (
    SPLINE_BINS,
    SPLINE_BOUND,
    SPLINE_MIN,
    ConvFlow,
    DDSConv,
    ElementwiseAffine,
    Flip,
    StochasticDurationPredictor,
    knots,
)

N_POST_FLOWS = 4
LEAST_FRAMES = 1e-5
"""The smallest dequantised duration, so that its logarithm is bounded."""


def spline(x: Tensor, widths: Tensor, heights: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Return y and log dy/dx of the monotonic rational-quadratic spline that `vits.network.inverse_spline` inverts.

    Follows "Neural Spline Flows" (Durkan et al., 2019), equations 4 and 5; the arguments are those of the inverse.
    """
    slopes = SPLINE_MIN + F.softplus(F.pad(slopes, (1, 1), value=math.log(math.expm1(1 - SPLINE_MIN))))
    knots_x, knots_y = knots(widths), knots(heights)
    inside = (x >= -SPLINE_BOUND) & (x <= SPLINE_BOUND)
    x_inside = x.clamp(-SPLINE_BOUND, SPLINE_BOUND)
    index = (x_inside[..., None] >= knots_x[..., 1:-1]).sum(-1, keepdim=True).clamp(max=SPLINE_BINS - 1)

    def pick(values: Tensor) -> Tensor:
        return values.gather(-1, index)[..., 0]

    width, height = pick(knots_x.diff(dim=-1)), pick(knots_y.diff(dim=-1))
    slope_left, slope_right = pick(slopes), pick(slopes[..., 1:])
    mean_slope = height / width
    t = (x_inside - pick(knots_x)) / width
    across = t * (1 - t)
    below = mean_slope + (slope_left + slope_right - 2 * mean_slope) * across
    y = pick(knots_y) + height * (mean_slope * t.square() + slope_left * across) / below
    rise = slope_right * t.square() + 2 * mean_slope * across + slope_left * (1 - t).square()
    log_slope = 2 * mean_slope.log() + rise.log() - 2 * below.log()
    return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)


def forwards(flow: nn.Module, z: Tensor, mask: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output [B, 2, T] of one flow for z [B, 2, T], and the log of its determinant [B]."""
    if isinstance(flow, ElementwiseAffine):
        return (flow.m + z * flow.logs.exp()) * mask, (flow.logs * mask).sum((1, 2))
    if isinstance(flow, ConvFlow):
        z0, z1 = z.chunk(2, dim=1)
        h = flow.proj(flow.convs(flow.pre(z0) + condition, mask)).transpose(1, 2)[:, None]  # [B, 1, T, 3 K - 1]
        scale = flow.pre.out_channels**-0.5
        widths, heights, slopes = h.split([SPLINE_BINS, SPLINE_BINS, SPLINE_BINS - 1], dim=-1)
        z1, log_slope = spline(z1, widths * scale, heights * scale, slopes)
        return torch.cat([z0, z1], dim=1) * mask, (log_slope * mask).sum((1, 2))
    assert isinstance(flow, Flip)
    return z.flip(1), z.new_zeros(len(z))


class TrainedDurationPredictor(StochasticDurationPredictor):
    """The stochastic duration predictor with the flow over real durations that only its training needs."""

    def __init__(self, channels: int, kernel_size: int, gin_channels: int) -> None:
        super().__init__(channels, kernel_size, gin_channels)
        self.post_pre = nn.Conv1d(1, channels, 1)
        self.post_proj = nn.Conv1d(channels, channels, 1)
        self.post_convs = DDSConv(channels, kernel_size)
        self.post_flows = nn.ModuleList([ElementwiseAffine(2)])
        for _ in range(N_POST_FLOWS):
            self.post_flows.extend([ConvFlow(channels, kernel_size), Flip()])
        for flow in [*self.flows, *self.post_flows]:
            if isinstance(flow, ConvFlow):  # as in the original, the spline starts from zeros
                nn.init.zeros_(flow.proj.weight)
                assert flow.proj.bias is not None
                nn.init.zeros_(flow.proj.bias)

    def loss(self, x: Tensor, mask: Tensor, durations: Tensor, g: Tensor | None = None) -> Tensor:
        """Return the mean bound on the negative log likelihood of a symbol's duration, in nats.

        Whole durations d are made continuous as d - u with u in (0, 1), drawn from a flow that is trained too
        (variational dequantisation). Synthesis rounds up, and d - u rounds up to d for every such u: unlike with the
        deterministic predictor, speech is as fast as the teacher's without any correction.

        Args:
            x: hidden states [B, C, T].
            mask: [B, 1, T].
            durations: frames int64 [B, T].
            g: speaker [B, C, 1].
        """
        x = self.pre(x)
        if g is not None:
            x = x + self.cond(g)
        condition = self.proj(self.convs(x, mask)) * mask
        frames = durations[:, None].to(x.dtype) * mask
        z_0, z_1, log_q = self._dequantised(frames, mask, condition)
        log_z0 = z_0.clamp(min=LEAST_FRAMES).log() * mask
        z, log_p = torch.cat([log_z0, z_1], dim=1), -log_z0.sum((1, 2))
        for flow in self.flows:
            z, determinant = forwards(flow, z, mask, condition)
            log_p = log_p + determinant
        log_p = log_p + _normal(z, mask)
        return (log_q - log_p).sum() / mask.sum()

    def _dequantised(self, frames: Tensor, mask: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return d - u and the second channel, both [B, 1, T], drawn for durations d, and their log density [B]."""
        heard = self.post_proj(self.post_convs(self.post_pre(frames), mask)) * mask
        noise = torch.randn(len(frames), 2, frames.shape[2]) * mask
        z, log_q = noise, _normal(noise, mask)
        for flow in self.post_flows:
            z, determinant = forwards(flow, z, mask, condition + heard)
            log_q = log_q - determinant
        z_u, z_1 = z.chunk(2, dim=1)
        log_q = log_q - ((F.logsigmoid(z_u) + F.logsigmoid(-z_u)) * mask).sum((1, 2))
        return (frames - torch.sigmoid(z_u)) * mask, z_1, log_q


def _normal(z: Tensor, mask: Tensor) -> Tensor:
    """Return the log density [B] of z [B, C, T] under a standard normal distribution, inside the mask."""
    return (-0.5 * (math.log(2 * math.pi) + z.square()) * mask).sum((1, 2))
