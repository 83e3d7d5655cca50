"""The trainer: alignment, losses, evaluation, and a few real steps on a corpus of noise."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from training import corpus, export, train
from training.alignment import frames_per_symbol, monotonic_alignment, symbol_starts
from training.evaluate import word_errors
from training.losses import log_mel, magnitudes, mel_filters, spectral_loss
from training.model import ChannelsLastConv1d, ChannelsLastConvTranspose1d, Trainee, cut
from training.recipes import RECIPES, Recipe
from vits import load_voice

pytestmark = pytest.mark.usefixtures("one_thread")

# Alignment


def best_by_trying(scores: torch.Tensor) -> list[int]:
    S, T = scores.shape
    best, durations = -np.inf, [0] * S
    for edges in itertools.combinations(range(1, T), S - 1):
        bounds = [0, *edges, T]
        total = sum(float(scores[s, bounds[s] : bounds[s + 1]].sum()) for s in range(S))
        if total > best:
            best, durations = total, [bounds[s + 1] - bounds[s] for s in range(S)]
    return durations


@pytest.mark.parametrize(("S", "T"), [(1, 1), (1, 5), (3, 3), (3, 8), (5, 9)])
def test_alignment_search_finds_the_best_of_all_paths(S: int, T: int) -> None:
    torch.manual_seed(S * T)
    scores = torch.randn(2, S + 2, T + 3)
    lengths = torch.tensor([S, S]), torch.tensor([T, T])
    durations = monotonic_alignment(scores, *lengths)
    assert durations[:, S:].sum() == 0
    for row, found in zip(scores, durations, strict=True):
        assert found[:S].tolist() == best_by_trying(row[:S, :T])


def test_sounds_meet_their_symbols_and_pauses_their_punctuation() -> None:
    phones = [("hh", 0.0, 0.1), ("ay", 0.1, 0.3), ("pau", 0.3, 0.5), ("m", 0.5, 0.6), ("aa", 0.6, 0.8), ("pau", 0.8, 1)]
    starts = symbol_starts("haɪ, ˈmɑ.", phones)
    assert starts == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.5, 0.5, 0.5, 0.6, 0.8])


def test_a_teacher_who_says_something_else_is_refused() -> None:
    assert symbol_starts("kæt.", [("d", 0.0, 0.1), ("ao", 0.1, 0.2), ("g", 0.2, 0.3), ("pau", 0.3, 0.4)]) is None


def test_every_symbol_gets_a_frame_and_all_frames_are_given() -> None:
    assert frames_per_symbol([0.0, 0.1, 0.1, 0.1, 0.3], 20, 0.02) == [5, 1, 1, 8, 5]
    assert frames_per_symbol([0.0, 0.0, 0.0], 3, 0.02) == [1, 1, 1]
    assert frames_per_symbol([0.0, 0.0, 0.0], 2, 0.02) is None


# The corpus


def test_sentences_are_plain_and_distinct(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(
        "It was late, so we left. It was late, so we left.\n%\nCall 911 now, please.\n%\nNO SHOUTING IN HERE.\n"
    )
    (tmp_path / "a.dat").write_text("This is an index, not a text.")
    assert corpus.sentences(tmp_path) == ["It was late, so we left."]


def test_a_real_teacher_gives_ids_frames_and_samples_that_fit(needs_program: object) -> None:
    assert callable(needs_program)
    needs_program("flite", "flite")
    recipe = RECIPES["slt"]
    row = corpus.utterance("The children are playing in the garden.", recipe)
    assert row is not None
    ids, frames, samples = row
    assert len(ids) == len(frames)
    assert min(frames) == 1
    assert len(samples) == sum(frames) * recipe.hop_length
    text = "".join(recipe.symbols[i] for i in ids)
    assert text == "ðə ˈtʃɪldɹən əɹ pleɪɪŋ ɪn ðə ˈɡɑɹdən.".replace("ɡ", "g")


# The network in training


def test_channels_last_convolutions_equal_the_ordinary_ones() -> None:
    x = torch.randn(2, 6, 40)
    for made, ordinary in (
        (ChannelsLastConv1d, torch.nn.Conv1d(6, 8, 5, padding=4, dilation=2)),
        (ChannelsLastConvTranspose1d, torch.nn.ConvTranspose1d(6, 3, 8, 4, padding=2)),
    ):
        expected = ordinary(x)
        ordinary.__class__ = made  # as use_channels_last does
        torch.testing.assert_close(ordinary(x), expected)


def test_cut_is_zero_outside() -> None:
    x = torch.arange(1.0, 6.0).view(1, 1, 5)
    assert cut(x, torch.tensor([-2]), 4).flatten().tolist() == [0, 0, 1, 2]
    assert cut(x, torch.tensor([3]), 4).flatten().tolist() == [4, 5, 0, 0]


def test_spectral_loss_is_nothing_for_the_same_and_much_for_noise() -> None:
    torch.manual_seed(0)
    speech, noise = torch.randn(2, 4096) * 0.1, torch.randn(2, 4096)
    assert spectral_loss(speech, speech) == 0
    assert spectral_loss(noise, speech) > 1
    assert magnitudes(speech, 1024, 256).shape == (2, 513, 16)
    assert log_mel(speech, 16000).shape == (2, 80, 16)


def test_mel_filters_have_unit_area_and_leave_no_gap() -> None:
    filters = mel_filters(1024, 16000)
    area = filters.sum(1) * 16000 / 1024
    torch.testing.assert_close(area[30:], torch.ones(50), atol=0.02, rtol=0)  # low ones are narrower than a bin
    assert (filters.sum(0)[1:-1] > 0).all()


# A few steps for real


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe whose corpus is 40 utterances of noise, and whose run lives in a folder of the test's own."""
    decoder = {
        "resblock": "2",
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 2]],
        "upsample_rates": [16, 16],
        "upsample_initial_channel": 16,
        "upsample_kernel_sizes": [32, 32],
    }
    recipe = dataclasses.replace(
        RECIPES["slt"], name="tiny", hidden_channels=8, filter_channels=8, n_layers=1, posterior_layers=2,
        decoder=decoder, batch=4, from_text_from=2, adversarial_from=3, steps=6,
    )  # fmt: skip
    monkeypatch.setattr(train, "RUNS", tmp_path)
    monkeypatch.setattr(export, "RUNS", tmp_path)
    random = np.random.default_rng(0)
    symbols, length = random.integers(5, 20, 40), 256
    frames = [random.integers(1, 8, n) + 2 for n in symbols]
    (tmp_path / "tiny").mkdir()
    np.savez(
        tmp_path / "tiny/corpus.npz",
        ids=random.integers(1, len(recipe.symbols), symbols.sum()),
        frames=np.concatenate(frames),
        samples=random.integers(-3000, 3000, sum(int(f.sum()) for f in frames) * length).astype(np.int16),
        symbols_each=symbols,
        frames_each=np.array([f.sum() for f in frames]),
    )
    return recipe


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tiny: Recipe) -> None:
    whole = train.Trainer(tiny)
    for _ in range(5):
        losses = whole.train_step()
    assert {"kl", "duration", "mel", "spectral", "mel_from_text", "judges", "fooling", "feature"} == set(losses)
    assert all(np.isfinite(loss) for loss in losses.values())
    first = train.Trainer(tiny)
    for _ in range(3):
        first.train_step()
    first.save()
    second = train.Trainer(tiny)
    assert second.step == 3
    for _ in range(2):
        again = second.train_step()
    assert again == pytest.approx(losses, rel=1e-3)


def test_every_part_learns(tiny: Recipe) -> None:
    trainer = train.Trainer(tiny)
    before = {name: value.clone() for name, value in trainer.trainee.named_parameters()}
    for _ in range(6):
        trainer.train_step()
    unchanged = {name for name, value in trainer.trainee.named_parameters() if torch.equal(value, before[name])} - {
        "enc_p.emb.weight"
    }
    # Keys' biases cancel in a softmax.
    assert all(name.endswith("conv_k.bias") for name in unchanged), unchanged


def test_without_durations_the_alignment_is_searched(tiny: Recipe) -> None:
    trainee = Trainee(tiny)
    batch = train.Trainer(tiny).corpus.batch(0)
    segments = trainee(batch._replace(durations=None), from_text=0.5, noise_scale=0.5)
    assert segments.spoken.shape == segments.recorded.shape == (4, 1, 16 * 256)
    assert torch.isfinite(segments.kl)
    assert torch.isfinite(segments.duration)


def test_an_exported_voice_loads_as_any_users_checkpoint(tiny: Recipe, tmp_path: Path) -> None:
    trainer = train.Trainer(tiny)
    trainer.train_step()
    trainer.save()
    export.export(tiny, tmp_path / "voice")
    voice = load_voice(tmp_path / "voice/G.pth", tmp_path / "voice/config.json")
    assert voice.sample_rate_hz == 16000
    samples = np.concatenate(list(voice.stream([5, 6, 7], seed=1)))
    assert np.isfinite(samples).all()
    assert len(samples) % 256 == 0
    assert json.loads((tmp_path / "voice/config.json").read_text())["data"]["add_blank"] is False


# Evaluation


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [("a b c", "a b c", 0), ("a b c", "", 3), ("", "a", 1), ("a b c", "a x c d", 2), ("a b c", "b c", 1)],
)
def test_word_errors_are_counted(said: str, heard: str, errors: int) -> None:
    assert word_errors(said.split(), heard.split()) == errors
