"""Models as people have them: what a file or folder is, and the config and network in it.

G_*.pth or *.safetensors, and its config    VITS, VITS-fast-fine-tuning     vits/config.py, vits/checkpoint.py
*.onnx, *.ckpt                              Piper                           piper.py
a folder with config.json and vocab.json    Hugging Face's VitsModel, MMS   huggingface.py
"""

from dataclasses import replace
from pathlib import Path

from vits.checkpoint import build_network, checked_tensors, read_tensors
from vits.config import Config, read_config
from vits.errors import BrokenCheckpoint
from vits.formats import huggingface, piper
from vits.formats.safetensors_file import read_safetensors
from vits.network import Network


def open_model(checkpoint: Path, config: Path | None = None) -> tuple[Config, Network]:
    """Return the config and the network of a model in any of the formats.

    Raises:
        BrokenCheckpoint: one of the files cannot be used, or there is none.

    """
    if folder := huggingface.folder_of(checkpoint):
        return huggingface.open_model(folder, config)
    if checkpoint.suffix in (".onnx", ".ckpt"):
        return piper.open_model(checkpoint, config)
    if config is None:
        raise BrokenCheckpoint(f"{checkpoint}: expected its config too, the JSON file that belongs to it")
    settings = read_config(config)
    is_safetensors = checkpoint.suffix == ".safetensors"
    tensors = checked_tensors(checkpoint, read_safetensors(checkpoint)) if is_safetensors else read_tensors(checkpoint)
    return replace(settings, files=(checkpoint, config)), build_network(checkpoint, tensors, settings)
