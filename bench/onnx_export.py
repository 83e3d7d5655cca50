"""A voice's network as one ONNX graph, from symbol ids to samples, as Piper and sherpa-onnx run it.

Lengths are free, nothing is padded. The noise is an input, so that the graph can be held to give the same samples as
the others; durations are computed in it all the same, and the symbols stretched by them.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.utils import register_custom_op_symbolic

from vits.network import Network, StochasticDurationPredictor

INPUTS = ("ids", "speaker", "duration_noise", "noise", "noise_scale")
OPSET = 17


def durations(network: Network, ids: Tensor, noise: Tensor, g: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return frames of each id [T], and m_p and logs_p [1, C, T], from ids [1, T], noise [1, 2, T] and speaker g."""
    mask = ids.new_ones((1, 1, ids.shape[1]), dtype=torch.float32)
    x, m_p, logs_p = network.enc_p(ids, mask)
    sdp = isinstance(network.dp, StochasticDurationPredictor)
    log_durations = network.dp(x, mask, noise, g) if sdp else network.dp(x, mask, g)
    return torch.ceil(torch.exp(log_durations))[0, 0], m_p, logs_p


def samples_of(network: Network, z_p: Tensor, g: Tensor | None) -> Tensor:
    """Return samples [T * hop] from prior latents z_p [1, C, T]."""
    z = network.flow(z_p, z_p.new_ones((1, 1, z_p.shape[2])), g)
    samples: Tensor = network.dec(z, g)[0, 0]
    return samples


class Speech(nn.Module):
    """The whole way of an utterance, in operations that ONNX has."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, ids: Tensor, speaker: Tensor, duration_noise: Tensor, noise: Tensor, noise_scale: Tensor
    ) -> Tensor:
        """Return samples [T * hop].

        Args:
            ids: int64 [1, T_ids].
            speaker: int64 [1].
            duration_noise: float [1, 2, T_ids], scaled.
            noise: float [1, C, T], for just as many frames as the durations add up to.
            noise_scale: float [1].

        """
        g = None if self.network.emb_g is None else self.network.emb_g(speaker)[:, :, None]
        frames, m_p, logs_p = durations(self.network, ids, duration_noise, g)
        ends = frames.cumsum(0)
        frame = torch.arange(noise.shape[2])
        symbol = (frame[:, None] >= ends[None, :]).sum(1)
        m_p, logs_p = m_p[:, :, symbol], logs_p[:, :, symbol]
        return samples_of(self.network, m_p + noise * torch.exp(logs_p) * noise_scale, g)


def _difference(graph: Any, x: Any, n: Any, axis: Any, *_: Any) -> Any:
    """Return differences of neighbours, which the exporter lacks, along the last axis."""

    def part(start: int, end: int) -> Any:
        bounds = (graph.op("Constant", value_t=torch.tensor([number])) for number in (start, end, -1))
        return graph.op("Slice", x, *bounds)

    return graph.op("Sub", part(1, 2**62), part(0, -1))


def export(network: Network, path: Path) -> None:
    """Write the graph."""
    channels = network.enc_p.proj.out_channels // 2
    example = (
        torch.ones((1, 50), dtype=torch.int64),
        torch.zeros(1, dtype=torch.int64),
        torch.zeros((1, 2, 50)),
        torch.zeros((1, channels, 100)),
        torch.ones(1),
    )
    with torch.no_grad():
        # The graph has to have as many frames as the noise, else tracing would already fail.
        g = None if network.emb_g is None else network.emb_g(example[1])[:, :, None]
        n_frames = int(durations(network, example[0], example[2], g)[0].sum())
        example = (*example[:3], torch.zeros((1, channels, n_frames)), example[4])
        register_custom_op_symbolic("aten::diff", _difference, OPSET)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The exporter is an old one, and says so; what it writes is checked.
            torch.onnx.export(
                Speech(network).eval(),
                example,
                str(path),
                input_names=list(INPUTS),
                output_names=["samples"],
                dynamic_axes={"ids": {1: "T_ids"}, "duration_noise": {2: "T_ids"}, "noise": {2: "T"}},
                opset_version=OPSET,
                dynamo=False,
            )
