"""Models as people have them: what a file or folder is, and the config and network in it.

G_*.pth or *.safetensors, and its config    VITS, VITS-fast-fine-tuning     vits/config.py, vits/checkpoint.py
*.onnx, *.ckpt                              Piper                           piper.py
best_model.pth and its config               Coqui TTS                       coqui.py
a folder with config.json and vocab.json    Hugging Face's VitsModel, MMS   huggingface.py

A format's own module is imported for the first model that has it: together they take 2.5 MB.
"""

from dataclasses import replace
from pathlib import Path

from vits import config as vits_config
from vits.checkpoint import build_network, checked_tensors, read_tensors
from vits.config import Config, read_config
from vits.errors import BrokenCheckpoint
from vits.files import read_json, require_file
from vits.formats.folders import FoundModel, config_beside, files_of, find_models, hugging_face_folder
from vits.network import Network

__all__ = ["FoundModel", "find_models", "open_model", "speaker_names"]


def open_model(checkpoint: Path, config: Path | None = None) -> tuple[Config, Network]:
    """Return the config and the network of a model in any of the formats.

    Raises:
        BrokenCheckpoint: one of the files cannot be used, or there is none.

    """
    checkpoint, config = _files(checkpoint, config)
    if folder := hugging_face_folder(checkpoint):
        from vits.formats import huggingface

        return huggingface.open_model(folder, config)
    if checkpoint.suffix in (".onnx", ".ckpt"):
        from vits.formats import piper

        return piper.open_model(checkpoint, config)
    path = config or config_beside(checkpoint)
    if _is_coquis(read_json(path)):
        from vits.formats import coqui

        return coqui.open_model(checkpoint, path)
    settings = replace(read_config(path), files=(checkpoint, path))
    if checkpoint.suffix != ".safetensors":
        return settings, build_network(checkpoint, read_tensors(checkpoint), settings)
    from vits.formats.safetensors_file import read_safetensors

    return settings, build_network(checkpoint, checked_tensors(checkpoint, read_safetensors(checkpoint)), settings)


def speaker_names(checkpoint: Path, config: Path | None = None) -> tuple[str, ...]:
    """Return the names of a model's speakers, with no look at its weights.

    Raises:
        BrokenCheckpoint: the config cannot be read, or its speakers are not usable.

    """
    checkpoint, config = _files(checkpoint, config)
    if folder := hugging_face_folder(checkpoint):
        from vits.formats import huggingface

        return huggingface.speaker_names(config or folder / "config.json")
    if checkpoint.suffix in (".onnx", ".ckpt"):
        from vits.formats import piper

        return piper.speaker_names(checkpoint, config)
    path = config or config_beside(checkpoint)
    if _is_coquis(read_json(path)):
        from vits.formats import coqui

        return coqui.speaker_names(checkpoint, path)
    return vits_config.speaker_names(path)


def _is_coquis(values: object) -> bool:
    """Whether a config is one of Coqui's: "model" is a name there, where VITS has a table."""
    return isinstance(values, dict) and isinstance(values.get("model"), str)


def _files(checkpoint: Path, config: Path | None) -> tuple[Path, Path | None]:
    """Return the checkpoint and the config that a path stands for: a folder stands for the model in it."""
    require_file(checkpoint)
    if not checkpoint.is_dir():
        return checkpoint, config
    found = files_of(checkpoint)
    if found is None:
        raise BrokenCheckpoint(f"{checkpoint}: is a folder without a model: expected a checkpoint and its config in it")
    return found[0], config or found[1]
