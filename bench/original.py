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
from vits.formats import open_model
from vits.network import Network

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
        """Return the speaker, which the generator takes as it is."""
        return g

    def __call__(self, z: Tensor, window: Window, g: Tensor | None) -> Tensor:
        """Return samples, float32 [T * hop]."""
        samples: Tensor = self.generator(z, g)[0, 0]
        return samples


class WholeUtteranceVoice(Voice):
    """A voice that computes every utterance in one go."""

    def __init__(self, config: Config, network: Network) -> None:
        """Take over the network."""
        untouched = copy.deepcopy(network)
        super().__init__(config, network, "float32")
        # The base class has rearranged the weights for windows and matrix products; the network comes back as it was.
        self._decoder = WholeDecoder(untouched.dec)  # type: ignore[assignment]
        del untouched.dec
        self._network = untouched


def load_voice(checkpoint: Path, config: Path | None = None, precision: str = "float32") -> Voice:
    """Return the voice of a checkpoint; there is but one precision."""
    return WholeUtteranceVoice(*open_model(checkpoint, config))


def create_app_from_environment() -> Starlette:
    """The service with such voices."""
    import server

    return server.create_app_from_environment(load_voice)
