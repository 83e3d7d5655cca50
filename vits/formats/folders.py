"""Which files of a folder are a model: what a person drops there, without a word about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vits.errors import BrokenCheckpoint

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The names of a folder's weights; the first that is there counts."""


CONFIGS = ("finetune_speaker.json", "modified_finetune_speaker.json", "moegoe_config.json", "config.json")
"""The names that VITS and VITS-fast-fine-tuning give to configs; the first that is there counts."""

LATEST = ("G_latest.pth", "best_model.pth", "model_file.pth", "model.pth", "G.pth")
"""The names of the checkpoint that counts where a folder has several; the first that is there counts."""

_OTHER_JSON = re.compile(
    r"(vocab|tokenizer_config|special_tokens_map|added_tokens|speakers?|speaker_ids|language_ids)\.json"
)


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model in a folder."""

    name: str
    """What it can be called: the name of its folder or file, with "-" for what no name may have."""
    checkpoint: Path
    """What load_voice takes: a file, or a folder of Hugging Face's."""
    config: Path | None
    """What load_voice takes; None where it finds that itself."""


def find_models(folder: Path) -> tuple[list[FoundModel], list[str]]:
    """Return the models in a folder, each a folder or an .onnx file, and a line for each folder that is in doubt.

    Nothing is read but names: whether a file is whole shows when it is loaded. A folder without anything like a model
    is passed over.

    Raises:
        BrokenCheckpoint: the folder cannot be read.

    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise BrokenCheckpoint(f"{folder}: cannot be read: {error.strerror or error}") from error
    found: list[FoundModel] = []
    doubts: list[str] = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                found += _in_folder(entry)
            elif entry.suffix == ".onnx":
                found.append(FoundModel(_name(entry.stem), entry, None))
        except BrokenCheckpoint as error:
            doubts.append(str(error))
        except OSError as error:
            doubts.append(f"{entry}: cannot be read: {error.strerror or error}")
    return _named_apart(found), doubts


def _in_folder(folder: Path) -> list[FoundModel]:
    """Return the models of one folder: several where it holds several exports of Piper's, else one or none."""
    exports = sorted(folder.glob("*.onnx"))
    if len(exports) > 1:
        return [FoundModel(_name(export.stem), export, None) for export in exports]
    found = files_of(folder)
    return [FoundModel(_name(folder.name), *found)] if found else []


def files_of(folder: Path) -> tuple[Path, Path | None] | None:
    """Return the checkpoint and the config of the model in a folder; None where there is none.

    Raises:
        BrokenCheckpoint: there are several checkpoints or configs, and nothing says which counts.

    """
    if hugging_face_folder(folder):
        return folder, None
    checkpoints = sorted(
        path
        for pattern in ("*.onnx", "*.pth", "*.pt", "*.ckpt", "*.safetensors")
        for path in folder.glob(pattern)
        if path.is_file() and not re.match(r"(D|DUR)_.*\.pth$", path.name)
    )
    if not checkpoints:
        return None
    checkpoint = _one_of(folder, checkpoints, LATEST, "checkpoints")
    return checkpoint, None if checkpoint.suffix in (".onnx", ".ckpt") else config_beside(checkpoint)


def config_beside(checkpoint: Path) -> Path:
    """Return the config that lies beside a checkpoint. Raises BrokenCheckpoint where there is none, or several."""
    folder = checkpoint.parent
    configs = sorted(path for path in folder.glob("*.json") if not _OTHER_JSON.fullmatch(path.name))
    if not configs:
        raise BrokenCheckpoint(f"{checkpoint}: has no config: expected a JSON file beside it, such as config.json")
    return _one_of(folder, configs, (f"{checkpoint.stem}.json", f"{checkpoint.name}.json", *CONFIGS), "configs")


def _one_of(folder: Path, paths: Sequence[Path], preferred: Sequence[str], what: str) -> Path:
    """Return the only path, or that of the first preferred name, or the G_ of the highest step."""
    if len(paths) == 1:
        return paths[0]
    for name in preferred:
        if folder / name in paths:
            return folder / name
    steps = {int(match[1]): path for path in paths if (match := re.fullmatch(r"G_(\d+)\.pth", path.name))}
    if steps and len(steps) == len(paths):
        return steps[max(steps)]
    names = ", ".join(path.name for path in paths)
    raise BrokenCheckpoint(f"{folder}: has several {what}, {names}: name the one that counts in models.toml")


def _name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).lstrip("-.") or "voice"


def _named_apart(found: Sequence[FoundModel]) -> list[FoundModel]:
    """Return the models, each with a name of its own."""
    taken: set[str] = set()
    apart = []
    for model in found:
        name, number = model.name, 2
        while name in taken:
            name, number = f"{model.name}-{number}", number + 1
        taken.add(name)
        apart.append(FoundModel(name, model.checkpoint, model.config))
    return apart


def hugging_face_folder(checkpoint: Path) -> Path | None:
    """Return the folder of a voice of Hugging Face's, given the folder or its weights; None where it is none."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    if not checkpoint.is_dir() and checkpoint.name not in WEIGHTS:
        return None
    is_one = (folder / "vocab.json").is_file() and any((folder / name).is_file() for name in WEIGHTS)
    return folder if is_one and (folder / "config.json").is_file() else None
