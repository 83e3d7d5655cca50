"""Makes the Coqui voices beside this, by coqui-tts 0.28.0: their configs, their shapes, and what Coqui makes of them.

Run from the project's folder with torch 2.13.0 and coqui-tts 0.28.0 installed, and the program espeak-ng on the PATH,
with the library and the data of espeakng-loader 0.2.4, whose folder LD_LIBRARY_PATH and ESPEAK_DATA_PATH name:
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

from TTS.config.shared_configs import BaseAudioConfig  # noqa: E402
from TTS.tts.configs.shared_configs import CharactersConfig  # noqa: E402
from TTS.tts.configs.vits_config import VitsConfig  # noqa: E402
from TTS.tts.models.vits import Vits, VitsArgs  # noqa: E402
from TTS.tts.utils.languages import LanguageManager  # noqa: E402
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
SMALLER = SMALL | {
    "use_sdp": False,
    "hidden_channels": 24,
    "upsample_rates_decoder": [8, 4, 2],
    "upsample_kernel_sizes_decoder": [16, 8, 4],
    "speaker_embedding_channels": 8,
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
IPA = {
    "pad": "_",
    "characters": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    "punctuations": ';:,.!?¡¿—…"«»“” ',
    "phonemes": "ɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃˈˌːˑʼʴʰʱʲʷˠˤ˞"
    "↓↑→↗↘'̩'ᵻ",
}
VITS_IPA = IPA | {"characters_class": "TTS.tts.models.vits.VitsCharacters"}
MARKED_IPA = IPA | {"eos": "<EOS>", "bos": "<BOS>", "blank": "<BLNK>", "characters": "aeiou"}
FEW_IPA = MARKED_IPA | {"characters": "abdefhijklmnoprstuvwyzøɐɔɛɪɾʃʊˈːɡŋ", "phonemes": None}
PHONEMES: dict[str, dict[str, Any]] = {
    "en": {"text_cleaner": "english_cleaners", "phoneme_language": "en-us", "characters": VITS_IPA},
    "en_few": {
        "text_cleaner": "phoneme_cleaners",
        "phoneme_language": "en",
        "characters": FEW_IPA | {"characters_class": "TTS.tts.utils.text.characters.IPAPhonemes"},
        "enable_eos_bos_chars": True,
        "add_blank": False,
    },
    "de": {"text_cleaner": "phoneme_cleaners", "phoneme_language": "de", "characters": VITS_IPA},
    "fr": {"text_cleaner": "french_cleaners", "phoneme_language": "fr-fr", "characters": MARKED_IPA},
    "pt": {"text_cleaner": "portuguese_cleaners", "phoneme_language": "pt-br", "characters": VITS_IPA},
    "pl": {"text_cleaner": "multilingual_phoneme_cleaners", "phoneme_language": "pl", "characters": VITS_IPA},
    "it": {"text_cleaner": "multilingual_cleaners", "phoneme_language": "it", "characters": MARKED_IPA},
    "zh": {"text_cleaner": "no_cleaners", "phoneme_language": "cmn", "characters": VITS_IPA},
}
"""Models of phonemes, by their names in the table of texts."""
SPOKEN = Path(__file__).with_name("coqui_texts.json")
TEXTS = ["Hello, World!", "Wie geht's? Grüße aus Köln.", "a; b: c-d (e) [f]", "IŞIK Iota", "  two\twords\n", "1 x & y"]


def config(options: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """Return a config of Coqui's."""
    values = {"use_phonemes": False} | options | {"characters": CharactersConfig(**options["characters"])}
    return VitsConfig(model_args=VitsArgs(**arguments), **values)


def ids(options: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Return a config and the ids of texts, with the language that Coqui's own synthesis gives its tokenizer."""
    settings = config(options, {})
    tokenizer, _ = TTSTokenizer.init_from_config(settings)
    names = LanguageManager.init_from_config(settings).language_names
    language = names[0] if len(names) == 1 else None
    numbers = {text: [int(number) for number in tokenizer.text_to_ids(text, language)] for text in texts}
    return {"config": {"use_phonemes": False, **options}, "ids": numbers}


def main(folder: Path) -> None:
    """Write everything."""
    write(folder / "coqui_ids.json", {name: ids(options, TEXTS) for name, options in TOKENIZERS.items()})
    texts = json.loads(SPOKEN.read_text(encoding="utf-8"))
    models = {name: {"use_phonemes": True, "phonemizer": "espeak", **options} for name, options in PHONEMES.items()}
    del models["pl"]["phonemizer"]  # espeak-ng is then what Coqui takes
    write(folder / "coqui_phonemes.json", {name: ids(options, texts[name]) for name, options in models.items()})
    speakers: dict[str, Any] = {"use_speaker_embedding": True, "speakers": ["ann", "bo", "cy"]}
    voice(folder / "coqui", TOKENIZERS["multilingual"] | speakers, SMALL, ((7, 1.0), (24, 1.25), (40, 0.8)))
    options = models["en"] | speakers | {"audio": BaseAudioConfig(hop_length=64)}
    voice(folder / "coqui_phonemes", options, SMALLER, ((9, 1.0), (60, 0.9), (33, 1.3)))


def write(path: Path, document: Any, indent: int | None = None) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(document, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


def voice(target: Path, options: dict[str, Any], arguments: dict[str, Any], lengths: Any) -> None:
    """Write a voice but for its weights, and what Coqui makes of ids of those lengths at those speeds."""
    target.mkdir(exist_ok=True)
    tokenizer, _ = TTSTokenizer.init_from_config(config(options, {}))
    n_symbols = len(tokenizer.characters.vocab)
    settings = config(options, arguments | {"num_chars": n_symbols})
    model = Vits(settings).eval()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights(shapes).items()})
    write(target / "config.json", json.loads(json.dumps(settings.to_dict(), default=str)), indent=1)
    write(target / "shapes.json", shapes)
    np.savez_compressed(target / "expected.npz", **expected(model, n_symbols, lengths))


def expected(model: Any, n_symbols: int, lengths: Any) -> dict[str, Any]:
    """Return noise-free samples of three utterances."""
    random = np.random.default_rng(3)
    arrays: dict[str, Any] = {}
    model.inference_noise_scale = model.inference_noise_scale_dp = 0.0
    for number, (length, scale) in enumerate(lengths):
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
