"""Models as people have them: what a file or folder is, and the config and network in it.

G_*.pth and its config          VITS, VITS-fast-fine-tuning     vits/config.py, vits/checkpoint.py
*.onnx, *.ckpt                  Piper                           piper.py
"""

from pathlib import Path

from vits.checkpoint import load_network
from vits.config import Config, read_config
from vits.errors import BrokenCheckpoint
from vits.formats import piper
from vits.network import Network


def open_model(checkpoint: Path, config: Path | None = None) -> tuple[Config, Network]:
    """Return the config and the network of a model in any of the formats.

    Raises:
        BrokenCheckpoint: one of the files cannot be used, or there is none.

    """
    if checkpoint.suffix in (".onnx", ".ckpt"):
        return piper.open_model(checkpoint, config)
    if config is None:
        raise BrokenCheckpoint(f"{checkpoint}: expected its config too, the JSON file that belongs to it")
    settings = read_config(config)
    return settings, load_network(checkpoint, settings)
