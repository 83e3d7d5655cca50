"""The voices that come with it: whole, small enough, and speaking without clicks or clipping."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from service.settings import read_settings
from training.measures import level_db, steps_at_joins
from training.recipes import RECIPES, SHIPPED
from vits import Voice, load_voice

pytestmark = pytest.mark.usefixtures("one_thread")

VOICES = Path(__file__).parent.parent / "voices"
TEXTS = {
    "en": "The weather was fine, so we walked to the river and back.",
    "ja": "天気が良かったので、川まで歩いて帰りました。",
    "zh": "今天天气很好，所以我们走到河边，然后走回来。",
}


@pytest.fixture(scope="module", params=SHIPPED)
def voice(request: pytest.FixtureRequest) -> tuple[str, Voice]:
    folder = VOICES / request.param
    return request.param, load_voice(folder / "G.pth", folder / "config.json", precision="float32")


def taught(name: str) -> Iterator[tuple[int, str]]:
    """The speakers of a voice, by number, each with every language that it was taught."""
    recipe = RECIPES[name]
    for speaker, teacher in recipe.taught:
        yield [*recipe.teachers].index(speaker), teacher.language


def checkpoint(name: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(VOICES / name / "G.pth", weights_only=True)["model"]
    return state


def test_they_are_small() -> None:
    sizes = {path: path.stat().st_size for path in VOICES.glob("*/G.pth")}
    assert len(sizes) == 5
    assert max(sizes.values()) < 12e6
    assert sum(sizes.values()) < 60e6


@pytest.mark.parametrize("name", SHIPPED)
def test_each_is_a_whole_checkpoint_with_its_recipes_config(name: str) -> None:
    config = json.loads((VOICES / name / "config.json").read_text("utf-8"))
    recipe = json.loads(json.dumps(RECIPES[name].config()))
    assert config.pop("train").keys() == recipe.pop("train").keys()  # a recipe may come to train in other ways
    assert config == recipe
    assert set(config) >= {"data", "model", "symbols", "speakers"}
    assert config["data"]["text_cleaners"] == ["cjke_cleaners2"]
    parts = {key.split(".")[0] for key in checkpoint(name)}
    assert parts == {"enc_p", "enc_q", "flow", "dec", "dp"} | ({"emb_g"} if config["speakers"] else set())


def test_both_duration_predictors_are_used() -> None:
    stochastic = [name for name in SHIPPED if any(key.startswith("dp.flows.") for key in checkpoint(name))]
    assert sorted(set(SHIPPED) - set(stochastic)) == ["slt"]


def test_each_says_who_made_it(voice: tuple[str, Voice]) -> None:
    licence = (VOICES / voice[0] / "LICENSE").read_text("utf-8")
    names = {"flite": "flite", "openjtalk": "Mei", "espeak": "espeak-ng", "kokoro": "Kokoro"}
    for _, teacher in RECIPES[voice[0]].taught:
        assert names[teacher.synthesizer] in licence


def test_each_speaker_speaks_cleanly(voice: tuple[str, Voice]) -> None:
    name, model = voice
    for number, language in taught(name):
        ids = model.ids(TEXTS[language], lang=language)
        windows = list(model.stream(ids, speaker=number, noise_scale=0.3, noise_scale_w=0.2))
        samples = np.concatenate(windows)
        joins, elsewhere = steps_at_joins(windows)
        assert len(windows) > 2
        assert joins <= elsewhere
        assert np.abs(samples).max() < 0.99
        assert level_db(samples) > -35
        assert 2 < len(samples) / model.sample_rate_hz < 8


def test_the_longest_text_of_a_request_fits_into_the_longest_recording(voice: tuple[str, Voice]) -> None:
    name, model = voice
    settings = read_settings(VOICES.parent / "models.toml")
    for number, language in taught(name):
        text = TEXTS[language]
        frames = model.durations(model.ids(text, lang=language), speaker=number, noise_scale_w=0.2)
        duration_s = frames.sum() * model.hop_length / model.sample_rate_hz
        assert duration_s / len(text) * settings.max_text_chars < settings.max_audio_s
