"""The original's way of running the same network: the whole utterance at once, nothing padded, plain conv1d.

As a server: `uvicorn --factory bench.original:create_app_from_environment`, the service as it is but for that. Weight
norm is folded here too, so that only the way of running differs; the original leaves it unfolded, which is slower
still.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vits import Voice
from vits.checkpoint import Config, Network, load_network, read_config
from vits.network import StochasticDurationPredictor
from vits.voice import Samples

if TYPE_CHECKING:
    from starlette.applications import Starlette


def durations(
    network: Network, ids: Tensor, noise: Tensor, g: Tensor | None, length_scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return frames of each id [T], and m_p and logs_p [1, C, T], from ids [1, T], noise [1, 2, T] and speaker g."""
    mask = ids.new_ones((1, 1, ids.shape[1]), dtype=torch.float32)
    x, m_p, logs_p = network.enc_p(ids, mask)
    sdp = isinstance(network.dp, StochasticDurationPredictor)
    log_durations = network.dp(x, mask, noise, g) if sdp else network.dp(x, mask, g)
    return torch.ceil(torch.exp(log_durations) * length_scale)[0, 0], m_p, logs_p


def samples_of(network: Network, z_p: Tensor, g: Tensor | None) -> Tensor:
    """Return samples [T * hop] from prior latents z_p [1, C, T]."""
    z = network.flow(z_p, z_p.new_ones((1, 1, z_p.shape[2])), g)
    samples: Tensor = network.dec(z, g)[0, 0]
    return samples


class WholeUtteranceVoice(Voice):
    """A voice that computes every utterance in one go."""

    def __init__(self, config: Config, network: Network) -> None:
        """Take over the network."""
        untouched = copy.deepcopy(network)
        super().__init__(config, network, "float32")
        # The base class has rearranged the weights for windows and matrix products; the network comes back as it was.
        del self._decoder
        self._network = untouched

    @property
    def precision(self) -> str:
        """What it computes in."""
        return "float32"

    @property
    def parameter_bytes(self) -> int:
        """Memory of the weights."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._network.parameters())

    def stream(
        self,
        ids: Sequence[int],
        speaker: int = 0,
        noise_scale: float = 0.667,
        noise_scale_w: float = 0.8,
        length_scale: float = 1.0,
        seed: int = 0,
    ) -> Iterator[Samples]:
        """Return an iterator over the only piece of an utterance, with the noise that Voice has for the seed."""
        with torch.inference_mode():
            source, network = torch.Generator().manual_seed(seed), self._network
            g = None if network.emb_g is None else network.emb_g(torch.tensor([speaker]))[:, :, None]
            noise = torch.randn((1, 2, len(ids)), generator=source) * noise_scale_w
            frames, m_p, logs_p = durations(network, torch.tensor([ids]), noise, g, length_scale)
            m_p, logs_p = (x.repeat_interleave(frames.long(), dim=2) for x in (m_p, logs_p))
            noise = torch.randn(m_p.shape, generator=source)
            samples: Samples = samples_of(network, m_p + noise * torch.exp(logs_p) * noise_scale, g).numpy()
        yield samples


def load_voice(checkpoint: str | Path, config: str | Path, precision: str = "float32") -> Voice:
    """Return the voice of a checkpoint; there is but one precision."""
    settings = read_config(config)
    return WholeUtteranceVoice(settings, load_network(checkpoint, settings))


def create_app_from_environment() -> Starlette:
    """The service with such voices."""
    import server

    server.load_voice = load_voice  # type: ignore[attr-defined]
    return server.create_app_from_environment()
