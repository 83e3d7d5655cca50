"""Voices of Coqui TTS: best_model.pth or model_file.pth, and a config.json whose "model" is "vits".

Follows coqui-tts 0.28.0: TTS/tts/models/vits.py for the network and its arguments, TTS/tts/configs for their defaults.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vits.checkpoint import build_network, read_pickle, read_tensors
from vits.config import LEAST_RATE_HZ, MAX_RATE_HZ, Config, read_shape
from vits.errors import BrokenCheckpoint
from vits.files import read_json
from vits.limits import DEFAULTS
from vits.network import Network
from vits.tables import TOP_LEVEL, Table, is_whole
from vits.text.coqui import CLEANERS, CoquiFrontEnd

_SIZES: Mapping[str, tuple[str, object]] = {
    "inter_channels": ("hidden_channels", 192),
    "hidden_channels": ("hidden_channels", 192),
    "filter_channels": ("hidden_channels_ffn_text_encoder", 768),
    "n_heads": ("num_heads_text_encoder", 2),
    "n_layers": ("num_layers_text_encoder", 6),
    "kernel_size": ("kernel_size_text_encoder", 3),
    "resblock": ("resblock_type_decoder", "1"),
    "resblock_kernel_sizes": ("resblock_kernel_sizes_decoder", [3, 7, 11]),
    "resblock_dilation_sizes": ("resblock_dilation_sizes_decoder", [[1, 3, 5], [1, 3, 5], [1, 3, 5]]),
    "upsample_rates": ("upsample_rates_decoder", [8, 8, 2, 2]),
    "upsample_initial_channel": ("upsample_initial_channel_decoder", 512),
    "upsample_kernel_sizes": ("upsample_kernel_sizes_decoder", [16, 16, 4, 4]),
}
"""VITS's names of the sizes, theirs, and their defaults."""

_FIXED: Mapping[str, object] = {
    "use_sdp": True,
    "use_d_vector_file": False,
    "use_language_embedding": False,
    "condition_dp_on_speaker": True,
    "encoder_sample_rate": None,
    "num_layers_flow": 4,
    "kernel_size_flow": 5,
    "dilation_rate_flow": 1,
}
"""Arguments that have one value in VITS itself, which is also their default there."""

_RULES = (
    (r"text_encoder\.", "enc_p."),
    (r"posterior_encoder\.", "enc_q."),
    (r"duration_predictor\.", "dp."),
    (r"waveform_decoder\.cond_layer\.", "dec.cond."),
    (r"waveform_decoder\.", "dec."),
)
"""The beginnings of names, theirs and VITS's."""

_SPEAKER_FILES = ("speakers.pth", "speaker_ids.json", "speakers.json", "speaker_ids.pth")


def open_model(checkpoint: Path, config: Path) -> tuple[Config, Network]:
    """Return the config and network of a voice.

    Raises:
        BrokenCheckpoint: one of the files cannot be used.

    """
    top = Table(config, TOP_LEVEL, read_json(config), BrokenCheckpoint)
    if top.get("model") != "vits":
        top.fail("model", '"vits": no other model of Coqui\'s is spoken here')
    tensors = {
        _renamed(name): tensor for name, tensor in read_tensors(checkpoint).items() if not name.startswith("disc.")
    }
    settings = _read_config(top, checkpoint, tensors)
    return settings, build_network(checkpoint, tensors, settings)


def speaker_names(checkpoint: Path, config: Path) -> tuple[str, ...]:
    """Return the names of a voice's speakers. Raises BrokenCheckpoint where their file cannot be used."""
    return tuple(_speakers(Table(config, TOP_LEVEL, read_json(config), BrokenCheckpoint), checkpoint.parent)[0])


def _renamed(name: str) -> str:
    """Return VITS's name of a parameter; flips take no number in this layout, where VITS gives them every second."""
    name = re.sub(r"^flow\.flows\.(\d+)", lambda match: f"flow.flows.{2 * int(match[1])}", name)
    for pattern, replacement in _RULES:
        name = re.sub(f"^{pattern}", replacement, name)
    name = re.sub(r"^(dp\.(?:post_)?flows)\.([1-9]\d*)", lambda m: f"{m[1]}.{2 * int(m[2]) - 1}", name)
    return name.replace(".translation", ".m").replace(".log_scale", ".logs")


def _read_config(top: Table, checkpoint: Path, tensors: Mapping[str, Tensor]) -> Config:
    arguments = top.table("model_args")
    for key, value in _FIXED.items():
        if arguments.values.get(key, value) != value:
            arguments.fail(key, f"{value}: other networks of this family are not spoken here")
    sizes = {ours: arguments.values.get(theirs, default) for ours, (theirs, default) in _SIZES.items()}
    table = tensors.get("emb_g.weight")
    sizes |= {"gin_channels": 0 if table is None else table.shape[-1], "use_sdp": True}
    shape = read_shape(Table(top.path, "model_args", sizes, BrokenCheckpoint))
    symbols, front_end = _front_end(top)
    speakers, files = _speakers(top, checkpoint.parent)
    return Config(
        path=top.path,
        shape=shape,
        symbols=symbols,
        front_end=front_end,
        languages=front_end.languages,
        speaker_languages={},
        sample_rate_hz=top.table("audio").integer("sample_rate", LEAST_RATE_HZ, MAX_RATE_HZ),
        hop_length=math.prod(shape.upsample_rates),
        n_speakers=0 if table is None else table.shape[0],
        speakers=speakers if table is not None else {},
        family="Coqui",
        files=(checkpoint, top.path, *files),
        defaults=_defaults(arguments),
    )


def _defaults(arguments: Table) -> dict[str, float]:
    names = {
        "noise_scale": ("inference_noise_scale", 0.0, 2.0),
        "noise_scale_w": ("inference_noise_scale_dp", 0.0, 2.0),
        "length_scale": ("length_scale", 0.25, 4.0),
    }
    found = {ours: arguments.number(*theirs) for ours, theirs in names.items()}
    return {ours: DEFAULTS[ours] if value is None else float(value) for ours, value in found.items()}


def _front_end(top: Table) -> tuple[tuple[str, ...], CoquiFrontEnd]:
    """Return the symbols by id and the front end of a model of characters."""
    if top.boolean("use_phonemes", default=False):
        top.fail("use_phonemes", "false: of Coqui's models, those of characters are spoken here, and not of phonemes")
    cleaner = top.get("text_cleaner") or ""
    if cleaner not in ("", *CLEANERS):
        top.fail("text_cleaner", f"one of {', '.join(CLEANERS)}")
    characters = top.table("characters")
    symbols, marks = _symbols(characters)
    ids = {symbol: number for number, symbol in enumerate(symbols)}

    def around(mark: str) -> tuple[int, ...]:
        if not top.boolean("enable_eos_bos_chars", default=False):
            return ()
        return (ids[marks[mark]],) if marks[mark] in ids else characters.fail(mark, "a symbol: each sentence has it")

    blank = None
    if top.boolean("add_blank", default=True):
        blank = (
            ids[marks["blank"]] if marks["blank"] in ids else characters.fail("blank", "a symbol: add_blank is true")
        )
    front_end = CoquiFrontEnd(
        cleaner=cleaner,
        vocabulary={symbol: number for symbol, number in ids.items() if len(symbol) == 1},
        blank=blank,
        begin=around("bos"),
        end=around("eos"),
        language=_language(top),
    )
    return tuple(symbols), front_end


def _symbols(characters: Table) -> tuple[list[str], dict[str, str]]:
    """Return the symbols by id, and the symbols that are marks by their names."""
    kind = str(characters.get("characters_class") or "").rpartition(".")[2]
    if kind not in ("", "Graphemes", "VitsCharacters"):
        characters.fail("characters_class", "VitsCharacters or Graphemes")
    text = {key: characters.take(key, str | None, "", "a string") or "" for key in _CHARACTER_KEYS}
    if kind == "VitsCharacters":
        letters = text["characters"] + text["phonemes"]
        symbols = [text["pad"], *text["punctuations"], *letters, _BLANK_OF_VITS]
        return symbols, text | {"blank": _BLANK_OF_VITS, "bos": "", "eos": ""}
    letters = text["characters"]
    unique = {*letters} if characters.boolean("is_unique", default=True) else letters
    ordered = sorted(unique) if characters.boolean("is_sorted", default=True) else list(letters)
    marks = [text[key] for key in ("pad", "eos", "bos", "blank") if text[key]]
    return [*marks, *ordered, *text["punctuations"]], text


_CHARACTER_KEYS = ("pad", "eos", "bos", "blank", "characters", "punctuations", "phonemes")
_BLANK_OF_VITS = "<BLNK>"


def _language(top: Table) -> str:
    """Return the language of the model's data, where its config tells one."""
    datasets = top.get("datasets")
    found = [row.get("language") for row in datasets if isinstance(row, dict)] if isinstance(datasets, list) else []
    codes = {code for code in found if isinstance(code, str) and code}
    return re.split("[-_]", codes.pop().lower())[0] if len(codes) == 1 else "und"


def _speakers(top: Table, folder: Path) -> tuple[dict[str, int], tuple[Path, ...]]:
    """Return the ids of the speakers, and the file beside the model that has them; training's own path is elsewhere."""
    if top.get("speakers"):
        return {name: number for number, name in enumerate(top.strings("speakers"))}, ()
    named = Path(str(top.get("speakers_file") or "")).name
    path = next((folder / name for name in (named, *_SPEAKER_FILES) if name and (folder / name).is_file()), None)
    if path is None:
        return {}, ()
    values: Any = read_json(path) if path.suffix == ".json" else read_pickle(path)
    if not isinstance(values, dict) or not all(isinstance(k, str) and is_whole(v, 0) for k, v in values.items()):
        raise BrokenCheckpoint(f"{path}: expected a table of speakers and their ids")
    return dict(values), (path,)
