"""Piper's voices: an export (*.onnx) or a training checkpoint (*.ckpt), and the config beside it.

The network is that of VITS, in ONNX as github.com/OHF-Voice/piper1-gpl exports it. Initializers keep the names of the
parameters, with these exceptions: weights that weight norm was folded into, and the tables of symbols and speakers, are
found through the operation that uses them; -logs or exp(-logs) stands for dp.flows.0.logs.
"""

import ast
import math
import pathlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vits.checkpoint import build_network, checked_tensors, read_pickle
from vits.config import LEAST_RATE_HZ, MAX_RATE_HZ, MAX_SPEAKERS, MAX_SYMBOLS, Config, Shape, read_shape
from vits.errors import BrokenCheckpoint
from vits.files import read_json, read_start
from vits.formats.onnx_file import Node, OnnxFile, read_onnx
from vits.limits import DEFAULTS, RANGES
from vits.network import Network
from vits.tables import TOP_LEVEL, Table, is_whole
from vits.text.piper import BEGIN, END, PAD, PHONEME_TYPES, PiperFrontEnd


def open_model(checkpoint: Path, config: Path | None = None) -> tuple[Config, Network]:
    """Return the config and network of a Piper voice.

    Raises:
        BrokenCheckpoint: one of the files cannot be used.

    """
    path = config or _config_beside(checkpoint)
    if checkpoint.suffix == ".onnx":
        file = read_onnx(checkpoint)
        tensors, sizes = _tensors(file), _sizes(checkpoint, file)
    else:
        tensors, sizes = _training_checkpoint(checkpoint)
    shape = read_shape(Table(checkpoint, "network", sizes, BrokenCheckpoint))
    settings = _read_config(path, checkpoint, shape, tensors)
    return settings, build_network(checkpoint, tensors, settings)


def speaker_names(checkpoint: Path, config: Path | None = None) -> tuple[str, ...]:
    """Return the names of a voice's speakers. Raises BrokenCheckpoint where its config cannot be used."""
    path = config or _config_beside(checkpoint)
    return tuple(_speakers(Table(path, TOP_LEVEL, read_json(path), BrokenCheckpoint)))


def _config_beside(checkpoint: Path) -> Path:
    """Return the config as Piper's programs look for it; after training it is the folder's config.json."""
    beside = checkpoint.with_name(f"{checkpoint.name}.json")
    if beside.is_file():
        return beside
    trained = checkpoint.with_name("config.json")
    if checkpoint.suffix == ".ckpt" and trained.is_file():
        return trained
    raise BrokenCheckpoint(f"{checkpoint}: has no config: expected {beside.name} beside it")


# Weights


def _tensors(file: OnnxFile) -> dict[str, Tensor]:
    """Return the tensors of an export by the names that the network has for them."""
    tensors = {name: tensor for name, tensor in file.tensors.items() if _is_parameter(name)}
    for node in file.nodes:
        named = zip(_parameters_of(node), node.inputs, strict=False)
        tensors |= {name: file.tensors[source] for name, source in named if name and source in file.tensors}
    folded = _folded_scale(file)
    return tensors if folded is None or "dp.flows.0.logs" in tensors else tensors | {"dp.flows.0.logs": folded}


def _is_parameter(name: str) -> bool:
    return name.startswith(("enc_p.", "dp.", "flow.", "dec.", "emb_g."))


def _parameters_of(node: Node) -> tuple[str, ...]:
    """Return the names of the parameters that an operation takes, in the order of its inputs; "" for what is none.

    Exports of newer PyTorch name an operation after its module: /flow/flows.0/pre/Conv. In older ones the name of the
    bias tells the module, and the name of the input tells a table.
    """
    module, _, last = node.name.lstrip("/").replace("/", ".").rpartition(".")
    if node.kind == "Gather" and len(node.inputs) == 2:
        table = {"input": "enc_p.emb", "sid": "emb_g"}.get(node.inputs[1])
        return (f"{table}.weight",) if table else ()
    if node.kind not in ("Conv", "ConvTranspose"):
        return ()
    if node.kind != last or not _is_parameter(module):
        module = node.inputs[2].removesuffix(".bias") if len(node.inputs) > 2 else ""
    return ("", f"{module}.weight", f"{module}.bias") if _is_parameter(module) else ()


def _folded_scale(file: OnnxFile) -> Tensor | None:
    """Return dp.flows.0.logs, of which an export has the negative or exp(-logs): what z - m is multiplied by."""
    by_output = {output: node for node in file.nodes for output in node.outputs}
    for node in file.nodes:
        if node.kind != "Mul" or len(node.inputs) != 2:
            continue
        difference = by_output.get(node.inputs[0])
        if difference is None or difference.kind != "Sub" or "dp.flows.0.m" not in difference.inputs:
            continue
        factor = node.inputs[1]
        if factor in file.tensors:
            return -file.tensors[factor].log()
        exp = by_output.get(factor)
        if exp is not None and exp.kind == "Exp" and exp.inputs[0] in file.tensors:
            return -file.tensors[exp.inputs[0]]
    return None


class _Layers:
    """What the tensors and operations of an export say of its layers, by their names in PyTorch."""

    def __init__(self, path: Path, file: OnnxFile) -> None:
        self._path = path
        self._nodes = {parameters[1]: node for node in file.nodes if len(parameters := _parameters_of(node)) == 3}
        self.tensors = _tensors(file)

    def size(self, name: str, axis: int) -> int:
        """Return the length of one axis of a weight."""
        if name not in self.tensors or self.tensors[name].dim() <= axis:
            raise BrokenCheckpoint(f"{self._path}: has no weight {name}, so it is no voice of Piper's")
        return self.tensors[name].shape[axis]

    def number(self, module: str, attribute: str) -> int:
        """Return a convolution's number such as "strides"; 1 where the export does not say it."""
        node = self._nodes.get(f"{module}.weight")
        values = node.numbers.get(attribute) if node else None
        return values[0] if values else 1

    def count(self, pattern: str) -> int:
        """Return how many layers have names that match, by the highest of their numbers."""
        matches = (re.match(pattern, name) for name in self.tensors)
        return 1 + max((int(match[1]) for match in matches if match), default=-1)


def _sizes(path: Path, file: OnnxFile) -> dict[str, Any]:
    """Return what a config of VITS says of a network, which Piper's does not, by its tensors and operations."""
    layers = _Layers(path, file)
    tensors, size, number, count = layers.tensors, layers.size, layers.number, layers.count
    stages = count(r"dec\.ups\.(\d+)\.")
    blocks = count(r"dec\.resblocks\.(\d+)\.") // max(1, stages)
    kind = "1" if any(name.startswith("dec.resblocks.0.convs1.") for name in tensors) else "2"
    convs = "convs1" if kind == "1" else "convs"
    dilations = [
        [
            number(f"dec.resblocks.{block}.{convs}.{i}", "dilations")
            for i in range(count(rf"dec\.resblocks\.{block}\.{convs}\.(\d+)\."))
        ]
        for block in range(blocks)
    ]
    hidden = size("enc_p.emb.weight", 1)
    return {
        "inter_channels": size("enc_p.proj.weight", 0) // 2,
        "hidden_channels": hidden,
        "filter_channels": size("enc_p.encoder.ffn_layers.0.conv_1.weight", 0),
        "n_heads": hidden // max(1, size("enc_p.encoder.attn_layers.0.emb_rel_k", 2)),
        "n_layers": count(r"enc_p\.encoder\.attn_layers\.(\d+)\."),
        "kernel_size": size("enc_p.encoder.ffn_layers.0.conv_1.weight", 2),
        "resblock": kind,
        "resblock_kernel_sizes": [size(f"dec.resblocks.{i}.{convs}.0.weight", 2) for i in range(blocks)],
        "resblock_dilation_sizes": dilations,
        "upsample_rates": [number(f"dec.ups.{i}", "strides") for i in range(stages)],
        "upsample_initial_channel": size("dec.conv_pre.weight", 0),
        "upsample_kernel_sizes": [size(f"dec.ups.{i}.weight", 2) for i in range(stages)],
        "gin_channels": size("emb_g.weight", 1) if "emb_g.weight" in tensors else 0,
        "use_sdp": "dp.flows.0.m" in tensors,
    }


def _training_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a checkpoint of PyTorch Lightning, and what its hyperparameters say of the network."""
    # The folder of the training data is among what Lightning keeps; a path does nothing when it is read.
    with torch.serialization.safe_globals([pathlib.PosixPath]):
        content = read_pickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise BrokenCheckpoint(f"{path}: is no training checkpoint of Piper's: it has no state_dict")
    tensors = checked_tensors(path, content["state_dict"])
    values = content.get("hyper_parameters")
    if not isinstance(values, Mapping):
        raise BrokenCheckpoint(f"{path}: is no training checkpoint of Piper's: it has no hyper_parameters")
    sizes = {str(key): _plain(value) for key, value in values.items()}
    # Where there are many speakers and no width is given, training takes one of its own.
    speakers = tensors.get("emb_g.weight")
    return tensors, sizes | {"gin_channels": 0 if speakers is None else speakers.shape[-1]}


def _plain(value: object) -> object:
    """Return a hyperparameter as JSON has it: lists, which Lightning keeps as tuples or as they were typed."""
    if isinstance(value, str) and value[:1] in ("(", "["):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


# Config


def _read_config(path: Path, checkpoint: Path, shape: Shape, tensors: Mapping[str, Tensor]) -> Config:
    """Return what a Piper config says, for a network of that shape."""
    top = Table(path, TOP_LEVEL, read_json(path), BrokenCheckpoint)
    audio = top.table("audio")
    n_symbols = tensors["enc_p.emb.weight"].shape[0] if "enc_p.emb.weight" in tensors else 0
    stated = top.integer("num_symbols", 1, MAX_SYMBOLS, default=n_symbols)
    if n_symbols and stated != n_symbols:
        top.fail("num_symbols", f"{n_symbols}, the rows of the table of symbols in {checkpoint}")
    id_map = _id_map(top, stated)
    symbols = [""] * stated
    for symbol, ids in id_map.items():
        if len(ids) == 1:
            symbols[ids[0]] = symbols[ids[0]] or symbol
    speakers = _speakers(top)
    language = _language(top)
    card = _card(checkpoint, str(top.get("dataset") or ""))
    return Config(
        path=path,
        shape=shape,
        symbols=tuple(symbols),
        front_end=PiperFrontEnd(
            phoneme_type=top.choice("phoneme_type", PHONEME_TYPES),
            espeak_voice=_espeak_voice(top),
            language=language,
            id_map=id_map,
            phoneme_map=_phoneme_map(top),
            clusters=_clusters(top),
        ),
        languages=(language,),
        speaker_languages={},
        sample_rate_hz=audio.integer("sample_rate", LEAST_RATE_HZ, MAX_RATE_HZ),
        hop_length=math.prod(shape.upsample_rates),
        n_speakers=top.integer("num_speakers", 0, MAX_SPEAKERS, default=0),
        speakers=speakers,
        default_speaker=top.integer("default_speaker_id", 0, MAX_SPEAKERS, default=0),
        family="Piper",
        files=(checkpoint, path),
        defaults=_defaults(top),
        license=card.get("license", ""),
        source=card.get("url", ""),
    )


def _id_map(top: Table, n_symbols: int) -> dict[str, tuple[int, ...]]:
    id_map = top.table("phoneme_id_map")
    for symbol, ids in id_map.values.items():
        if not isinstance(ids, list) or not all(is_whole(number, 0) and number < n_symbols for number in ids):
            id_map.fail(symbol, f"a list of ids below num_symbols, {n_symbols}")
    for mark in (PAD, BEGIN, END):
        if mark not in id_map.values:
            id_map.fail(mark, "its ids: every sentence has this mark")
    return {symbol: tuple(ids) for symbol, ids in id_map.values.items()}


def _phoneme_map(top: Table) -> dict[str, tuple[str, ...]]:
    if top.get("phoneme_map") is None:
        return {}
    table = top.table("phoneme_map")
    return {phoneme: table.strings(phoneme) for phoneme in table.values}


def _clusters(top: Table) -> tuple[tuple[str, ...], ...]:
    """Return the sequences of phonemes that are one symbol, longest first."""
    rows = top.get("vowel_clusters") or []
    if not isinstance(rows, list) or not all(isinstance(r, list) and all(isinstance(v, str) for v in r) for r in rows):
        top.fail("vowel_clusters", "a list of lists of phonemes")
    return tuple(sorted(map(tuple, rows), key=len, reverse=True))


def _espeak_voice(top: Table) -> str:
    if top.get("espeak") is None:
        return ""
    voice: str = top.table("espeak").take("voice", str, "", "the name of a voice of espeak-ng's")
    return voice


def _language(top: Table) -> str:
    """Return the language's code: that of the config, or else of the voice of espeak-ng's."""
    language = top.get("language")
    code = language.get("family") or language.get("code") if isinstance(language, dict) else None
    code = code if isinstance(code, str) and code else _espeak_voice(top)
    family = re.split("[-_]", code.lower())[0]
    return {"cmn": "zh", "yue": "zh"}.get(family, family) or "und"


def _speakers(top: Table) -> dict[str, int]:
    if not top.get("speaker_id_map"):
        return {}
    table = top.table("speaker_id_map")
    return {name: table.integer(name, 0, MAX_SPEAKERS) for name in table.values}


def _defaults(top: Table) -> dict[str, float]:
    inference = top.table("inference") if top.get("inference") is not None else None
    defaults = dict(DEFAULTS)
    for ours, theirs in (
        ("noise_scale", "noise_scale"),
        ("noise_scale_w", "noise_w"),
        ("length_scale", "length_scale"),
    ):
        value = None if inference is None else inference.number(theirs, *RANGES[ours])
        defaults[ours] = defaults[ours] if value is None else float(value)
    return defaults


def _card(checkpoint: Path, dataset: str) -> dict[str, str]:
    """Return what the model card beside a voice says in lines such as "* License: CC0", by lower-case name.

    A folder of several voices has one card, so it counts only where its title names the voice's data.
    """
    text = read_start(checkpoint.with_name("MODEL_CARD"), 100_000)
    if not dataset or dataset not in text.partition("\n")[0]:
        return {}
    return {name.lower(): value.strip() for name, value in re.findall(r"^\* (\w+): (.+)$", text, re.MULTILINE)}
