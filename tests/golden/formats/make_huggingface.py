"""Makes the Hugging Face voices beside this: random weights, saved by transformers 5.24.0, and what it makes of them.

Run with torch 2.13.0, transformers 5.24.0, uroman 1.3.1.1, phonemizer 3.4.0 and espeakng-loader 0.2.4 installed:
python make_huggingface.py FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import espeakng_loader
import numpy as np
import torch
from phonemizer.backend.espeak.wrapper import EspeakWrapper
from transformers import VitsConfig, VitsModel, VitsTokenizer

SMALL: dict[str, Any] = {
    "vocab_size": 39,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "ffn_dim": 24,
    "flow_size": 8,
    "spectrogram_bins": 9,
    "posterior_encoder_num_wavenet_layers": 1,
    "upsample_initial_channel": 32,
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "speaking_rate": 0.8,
    "noise_scale": 0.5,
    "noise_scale_duration": 0.6,
}
VOICES: dict[str, dict[str, Any]] = {
    "hf_many_sdp": {"num_speakers": 3, "speaker_embedding_size": 12},
    "hf_single_dp": {"use_stochastic_duration_prediction": False},
}
VOCAB = {symbol: number for number, symbol in enumerate("kabcdefghijlmnopqrstuvwxyz '-_0123456ţн")}
PHONES = {symbol: number for number, symbol in enumerate("_ abdefhijklmnoprstuvwzæðŋɐɑɔəɛɜɡɪɹʃʊʌʒˈˌːθ.,!?")}
TOKENIZERS: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "mms": (VOCAB, {"pad_token": "k", "phonemize": False, "language": "eng"}),
    "mms_uroman": (VOCAB, {"pad_token": "k", "phonemize": False, "is_uroman": True, "language": "kor"}),
    "mms_romanian": (VOCAB, {"pad_token": "k", "phonemize": False, "language": "ron"}),
    "no_blanks": (VOCAB, {"pad_token": "k", "phonemize": False, "add_blank": False}),
    "as_written": (VOCAB, {"pad_token": "k", "phonemize": False, "normalize": False}),
    "phonemes": (PHONES, {"pad_token": "_", "phonemize": True}),
}
TEXTS = [
    "Hello world.",
    "kick the kk k",
    "OK! It's 123-45",
    "a  b\tc",
    "Țară și ţară",
    "привет, нет",
    "안녕 하세요",
    "<unk> is odd",
    "  spaced  ",
    "k",
    "What is this?",
    "Who, me?",
]


def randomized(model: Any) -> None:
    """Give a network weights that differ from zero everywhere, and durations of a few frames."""
    torch.manual_seed(6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("original0"):
                parameter.uniform_(0.4, 0.8)
            elif "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.6, 1.2)
            else:
                parameter.normal_(0, 0.6 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1)
        if model.config.use_stochastic_duration_prediction:
            model.duration_predictor.flows[0].translate.copy_(torch.tensor([[-1.2], [0.1]]))
            model.duration_predictor.flows[0].log_scale.copy_(torch.tensor([[0.1], [-0.1]]))
        else:
            model.duration_predictor.proj.bias.fill_(1.2)


def expected(model: Any) -> dict[str, Any]:
    """Return noise-free samples of three utterances."""
    random = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    model.noise_scale = model.noise_scale_duration = 0.0
    for number, (length, scale) in enumerate(((7, 1.0), (24, 1.25), (40, 0.8))):
        ids = random.integers(0, SMALL["vocab_size"], length)
        speaker = number % model.config.num_speakers
        with torch.no_grad():
            output = model(torch.from_numpy(ids[None]), speaker_id=speaker, speaking_rate=1 / scale)
        arrays |= {
            f"{number}_ids": ids,
            f"{number}_speaker": speaker,
            f"{number}_length_scale": scale,
            f"{number}_audio": output.waveform[0].numpy(),
        }
    return arrays


def make(folder: Path, name: str, options: dict[str, Any]) -> None:
    """Write one voice and what transformers makes of it."""
    model = VitsModel(VitsConfig(**SMALL, **options)).eval()
    randomized(model)
    model.save_pretrained(folder / name)
    tokenizer(folder / name, "mms")
    np.savez_compressed(folder / name / "expected.npz", **expected(model))


def tokenizer(folder: Path, name: str) -> Any:
    """Write one tokenizer, and return it as it is read back."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab, options = TOKENIZERS[name]
    (folder / "plain.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    VitsTokenizer(folder / "plain.json", **options).save_pretrained(folder)
    (folder / "plain.json").unlink()
    return VitsTokenizer.from_pretrained(folder)


if __name__ == "__main__":
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    target = Path(sys.argv[1])
    for voice, shape in VOICES.items():
        make(target, voice, shape)
    table = {}
    for name in TOKENIZERS:
        reader = tokenizer(target / "hf_tokenizers" / name, name)
        table[name] = {text: reader(text)["input_ids"] for text in TEXTS}
    (target / "hf_tokenizers/ids.json").write_text(json.dumps(table, ensure_ascii=False) + "\n", encoding="utf-8")
