"""The original's way of running the same network: the whole utterance at once, nothing padded, plain conv1d.

As a server: `uvicorn --factory bench.original:create_app_from_environment`, the service with no other change. Weight
norm is folded here too, so that only the way of running differs; the original leaves it unfolded, which is slower
still.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vits import Voice
from vits.config import Config
from vits.decoder import Generator, Window
from vits.encoding import Prior
from vits.flow import Block
from vits.formats import open_model
from vits.network import Network, ResidualCouplingBlock, StochasticDurationPredictor, TextEncoder

if TYPE_CHECKING:
    from starlette.applications import Starlette


class WholeDecoder:
    """The decoder over a whole utterance, with the face of the windowed one."""

    dtype = torch.float32
    context_frames = 0

    def __init__(self, generator: Generator) -> None:
        """With the weights that the windowed one would have taken."""
        self.generator = generator

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        yield from self.generator.parameters()

    def windows(self, n_frames: int) -> Iterator[Window]:
        """Yield one window, as long as the utterance."""
        yield Window(0, n_frames, n_frames)

    def bias(self, g: Tensor | None) -> Tensor | None:
        """Return the speaker's embedding [1, G, 1], which the generator takes as it is."""
        return _column(g)

    def __call__(self, z: Tensor, window: Window, g: Tensor | None) -> Tensor:
        """Return samples, float32 [T * hop]."""
        samples: Tensor = self.generator(z.t()[None], g)[0, 0]
        return samples


class WholeFlow:
    """The flow over a whole utterance, with the face of the one in blocks."""

    dtype = torch.float32

    def __init__(self, flow: ResidualCouplingBlock, g: Tensor | None = None) -> None:
        """With the weights that the other would have taken."""
        self.flow, self.g = flow, g

    def parameters(self) -> Iterator[Tensor]:
        """Yield every tensor of weights."""
        yield from self.flow.parameters()

    def spoken_by(self, g: Tensor | None) -> WholeFlow:
        """Return the flow for a speaker."""
        return WholeFlow(self.flow, _column(g))

    def next_block(self, start: int, n_frames: int) -> Block:
        """Return a block as long as the utterance."""
        return Block(0, n_frames)

    def warm_up(self) -> None:
        """There is nothing that every utterance needs."""

    def span(self, block: Block) -> tuple[int, int]:
        """Return the utterance."""
        return 0, block.frames

    def __call__(self, z_p: Tensor, block: Block, n_frames: int) -> Tensor:
        """Return latents [T, C]."""
        z: Tensor = self.flow(z_p.t()[None], z_p.new_ones(1, 1, n_frames), self.g)
        return z[0].t()


class WholeEncoder:
    """The text encoder over a whole utterance, with the face of the one on rows."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def warm_up(self) -> None:
        """There is nothing that every utterance needs."""

    def __call__(self, ids: Tensor) -> Prior:
        """Return the prior of ids int64 [T]."""
        return Prior(*(part[0].t() for part in self.encoder(ids[None], torch.ones(1, 1, len(ids)))))


class WholeUtteranceVoice(Voice):
    """A voice that computes every utterance in one go."""

    def __init__(self, config: Config, network: Network) -> None:
        """Take over the network."""
        untouched = copy.deepcopy(network)
        super().__init__(config, network, "float32")
        # The base class has rearranged the weights for windows and matrix products; the network comes back as it was.
        self._network = untouched
        self._decoder = WholeDecoder(untouched.dec)  # type: ignore[assignment]
        self._flow = WholeFlow(untouched.flow)  # type: ignore[assignment]
        self._encoder = WholeEncoder(untouched.enc_p)  # type: ignore[assignment]
        self._durations = self._durations_whole  # type: ignore[assignment]

    def _durations_whole(self, x: Tensor, noise: Tensor | None, g: Tensor | None) -> Tensor:
        predictor, mask = self._network.dp, torch.ones(1, 1, len(x))
        columns = x.t()[None]
        if isinstance(predictor, StochasticDurationPredictor):
            assert noise is not None
            durations: Tensor = predictor(columns, mask, noise[None], _column(g))
        else:
            durations = predictor(columns, mask, _column(g))
        return durations[0, 0]

    def _parameters(self) -> list[Tensor]:
        return list(self._network.parameters())


def _column(g: Tensor | None) -> Tensor | None:
    """Return a speaker's embedding [G] as the modules of a network take it, [1, G, 1]."""
    return None if g is None else g[None, :, None]


def load_voice(checkpoint: Path, config: Path | None = None, precision: str = "float32") -> Voice:
    """Return the voice of a checkpoint; there is but one precision."""
    return WholeUtteranceVoice(*open_model(checkpoint, config))


def create_app_from_environment() -> Starlette:
    """The service with such voices."""
    import server

    return server.create_app_from_environment(load_voice)
