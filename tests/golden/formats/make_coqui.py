"""Makes the Coqui voice beside this, by coqui-tts 0.28.0: its config, its shapes, and what Coqui makes of it.

Run from the project's folder with torch 2.13.0 and coqui-tts 0.28.0 installed:
PYTHONPATH=. python tests/golden/formats/make_coqui.py FOLDER
"""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

from tests.golden.formats.coqui_weights import weights

for absent in ("torchaudio", "torchcodec"):  # they read sound, of which there is none here
    sys.modules[absent] = MagicMock(__spec__=ModuleSpec(absent, None), __version__=torch.__version__)

from TTS.tts.configs.shared_configs import CharactersConfig  # noqa: E402
from TTS.tts.configs.vits_config import VitsConfig  # noqa: E402
from TTS.tts.models.vits import Vits, VitsArgs  # noqa: E402
from TTS.tts.utils.text.tokenizer import TTSTokenizer  # noqa: E402

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüß "
SMALL = {
    "hidden_channels": 192,  # Coqui's duration predictor has no other width
    "hidden_channels_ffn_text_encoder": 32,
    "num_layers_text_encoder": 1,
    "num_layers_posterior_encoder": 1,
    "out_channels": 9,
    "resblock_type_decoder": "2",
    "resblock_kernel_sizes_decoder": [3, 5],
    "resblock_dilation_sizes_decoder": [[1, 2], [2, 6]],
    "upsample_rates_decoder": [8, 8, 4],
    "upsample_initial_channel_decoder": 32,
    "upsample_kernel_sizes_decoder": [16, 16, 8],
    "use_speaker_embedding": True,
    "speaker_embedding_channels": 12,
    "init_discriminator": False,
    "inference_noise_scale": 0.5,
    "inference_noise_scale_dp": 0.6,
    "length_scale": 1.2,
}
OF_VITS = {
    "characters_class": "TTS.tts.models.vits.VitsCharacters",
    "pad": "_",
    "characters": LETTERS,
    "punctuations": "!,.?-",
    "phonemes": "",
}
GRAPHEMES = {
    "characters_class": "TTS.tts.utils.text.characters.Graphemes",
    "pad": "<PAD>",
    "eos": "<EOS>",
    "bos": "<BOS>",
    "blank": "<BLNK>",
    "characters": LETTERS[::-1],
    "punctuations": "!,.?-",
}
TOKENIZERS: dict[str, dict[str, Any]] = {
    "multilingual": {"text_cleaner": "multilingual_cleaners", "characters": OF_VITS},
    "basic": {"text_cleaner": "basic_cleaners", "characters": OF_VITS, "add_blank": False},
    "german": {"text_cleaner": "basic_german_cleaners", "characters": GRAPHEMES, "enable_eos_bos_chars": True},
    "turkish": {"text_cleaner": "basic_turkish_cleaners", "characters": GRAPHEMES},
    "uncleaned": {"text_cleaner": "no_cleaners", "characters": OF_VITS},
}
TEXTS = ["Hello, World!", "Wie geht's? Grüße aus Köln.", "a; b: c-d (e) [f]", "IŞIK Iota", "  two\twords\n", "1 x & y"]


def config(options: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """Return a config of Coqui's."""
    values = options | {"characters": CharactersConfig(**options["characters"])}
    return VitsConfig(model_args=VitsArgs(**arguments), use_phonemes=False, **values)


def main(folder: Path) -> None:
    """Write everything."""
    table = {}
    for name, options in TOKENIZERS.items():
        tokenizer, _ = TTSTokenizer.init_from_config(config(options, {}))
        table[name] = {
            "config": {"use_phonemes": False, **options},
            "ids": {text: [int(number) for number in tokenizer.text_to_ids(text)] for text in TEXTS},
        }
    (folder / "coqui_ids.json").write_text(json.dumps(table, ensure_ascii=False) + "\n", encoding="utf-8")
    tokenizer, settings = TTSTokenizer.init_from_config(config(TOKENIZERS["multilingual"], {}))
    target = folder / "coqui"
    target.mkdir(exist_ok=True)
    options = TOKENIZERS["multilingual"] | {"use_speaker_embedding": True, "speakers": ["ann", "bo", "cy"]}
    settings = config(options, SMALL | {"num_chars": len(tokenizer.characters.vocab)})
    model = Vits(settings).eval()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    state = {name: torch.from_numpy(array) for name, array in weights(shapes).items()}
    model.load_state_dict(state)
    document = json.loads(json.dumps(settings.to_dict(), default=str))
    (target / "config.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (target / "shapes.json").write_text(json.dumps(shapes) + "\n")
    np.savez_compressed(target / "expected.npz", **expected(model, len(tokenizer.characters.vocab)))


def expected(model: Any, n_symbols: int) -> dict[str, Any]:
    """Return noise-free samples of three utterances."""
    random = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    model.inference_noise_scale = model.inference_noise_scale_dp = 0.0
    for number, (length, scale) in enumerate(((7, 1.0), (24, 1.25), (40, 0.8))):
        ids = random.integers(0, n_symbols, length)
        model.length_scale = scale
        with torch.no_grad():
            output = model.inference(
                torch.from_numpy(ids[None]),
                {
                    "speaker_ids": torch.tensor([number]),
                    "x_lengths": None,
                    "d_vectors": None,
                    "language_ids": None,
                    "durations": None,
                },
            )
        arrays |= {
            f"{number}_ids": ids,
            f"{number}_speaker": number,
            f"{number}_length_scale": scale,
            f"{number}_audio": output["model_outputs"].squeeze().numpy(),
            f"{number}_durations": output["durations"].squeeze().numpy().astype(np.int64),
        }
    return arrays


if __name__ == "__main__":
    main(Path(sys.argv[1]))
