"""How a large network is taught: stage by stage, in calls of some minutes, and from one machine to another."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from training import corpus, parts, train
from training.model import Trainee
from training.recipes import RECIPES, Recipe, Stage, Taught
from training.teachers import Teacher

pytestmark = pytest.mark.usefixtures("one_thread")

TEACHERS = [Teacher("kokoro", "nobody", language) for language in ("en", "zh")]


def write_noise(teacher: Teacher, recipe: Recipe) -> None:
    """Write 24 utterances of noise as what a teacher said."""
    random = np.random.default_rng(ord(teacher.language[0]))
    symbols = random.integers(5, 20, 24)
    frames = [random.integers(1, 8, n) + 2 for n in symbols]
    path = corpus.corpus_path(teacher, recipe.sample_rate_hz)
    path.parent.mkdir(exist_ok=True)
    np.savez(
        path,
        ids=random.integers(1, len(recipe.symbols), symbols.sum()),
        frames=np.concatenate(frames),
        samples=random.integers(-3000, 3000, sum(int(f.sum()) for f in frames) * recipe.hop_length).astype(np.int16),
        symbols_each=symbols,
        frames_each=np.array([f.sum() for f in frames]),
    )


@pytest.fixture
def bilingual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A tiny recipe of one speaker of two languages, whose teacher said noise."""
    decoder = {
        "resblock": "2",
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 2]],
        "upsample_rates": [16, 16],
        "upsample_initial_channel": 16,
        "upsample_kernel_sizes": [32, 32],
    }
    recipe = dataclasses.replace(
        RECIPES["kumo"], name="tiny", teachers={"tiny": TEACHERS[0]}, also=(TEACHERS[1],), hidden_channels=8,
        filter_channels=8, n_layers=1, posterior_layers=2, decoder=decoder, batch=4, segment_frames=16,
        stages=(Stage("autoencoder", 2, 5e-4, 1e-4), Stage("text", 2, 5e-4, 1e-4)),
    )  # fmt: skip
    for module in (train, corpus, parts):
        monkeypatch.setattr(module, "RUNS", tmp_path)
    for teacher in TEACHERS:
        write_noise(teacher, recipe)
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    return recipe


def changed_by(trainer: train.Trainer, teaches: Taught) -> tuple[set[str], dict[str, float]]:
    """Return which parts of the network a step of a stage changes, and its losses."""
    recipe = dataclasses.replace(trainer.recipe, stages=(Stage(teaches, 10**6, 1e-2, 1e-2),))
    trainer.recipe = recipe
    before = {name: value.clone() for name, value in trainer.trainee.state_dict().items()}
    losses = trainer.train_step()
    after = trainer.trainee.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}, losses


def test_one_speaker_learns_from_all_its_languages(bilingual: Recipe) -> None:
    data = train.Corpus(bilingual)
    assert len(data.ids) == 48
    assert set(data.speakers) == {0}


def test_an_autoencoder_is_taught_without_text(bilingual: Recipe) -> None:
    changed, losses = changed_by(train.Trainer(bilingual), "autoencoder")
    assert changed == {"enc_q", "dec", "mel"}
    assert {"unit", "heard_mel", "mel"} <= set(losses)


def test_a_contest_has_the_judges_besides(bilingual: Recipe) -> None:
    trainer = train.Trainer(bilingual)
    before = trainer.judges.state_dict()["judges.0.conv_post.weight"].clone()
    changed, losses = changed_by(trainer, "contest")
    assert changed == {"enc_q", "dec", "mel"}
    assert {"judges", "fooling", "feature"} <= set(losses)
    assert not torch.equal(before, trainer.judges.state_dict()["judges.0.conv_post.weight"])


def test_text_is_taught_to_tell_latents_that_stay_as_they_are(bilingual: Recipe) -> None:
    changed, losses = changed_by(train.Trainer(bilingual), "text")
    assert changed == {"enc_p", "flow", "dp", "mel"}
    assert {"kl", "duration", "text_mel"} <= set(losses)


@pytest.mark.parametrize("pitches_hz", [{}, {"tiny": (60.0, 160.0)}], ids=["", "with phases"])
@pytest.mark.parametrize("teaches", ["latents", "text", "autoencoder", "all"])
def test_bfloat16_has_nearly_the_same_losses(
    bilingual: Recipe, teaches: Taught, pitches_hz: dict[str, tuple[float, float]]
) -> None:
    stages = (Stage(teaches, 10, 1e-4, 1e-4),)
    recipe = dataclasses.replace(bilingual, stages=stages, fundamental_hz=pitches_hz)
    exact, rough = train.Trainer(recipe), train.Trainer(recipe)
    exact.precision = torch.autocast("cpu", enabled=False)
    rough.precision = torch.autocast("cpu", torch.bfloat16)
    wanted, found = exact.train_step(), rough.train_step()
    assert rough.skipped == 0
    for name, loss in wanted.items():
        assert found[name] == pytest.approx(loss, rel=0.05, abs=0.02), name


def test_training_stops_after_its_minutes_with_a_checkpoint_of_the_last_step(
    bilingual: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train", "tiny", "--minutes", "0"])
    train.main()
    assert train.Trainer(bilingual).step == 0
    monkeypatch.setattr("sys.argv", ["train", "tiny"])
    train.main()
    assert train.Trainer(bilingual).step == 4


def test_a_checkpoint_travels_in_small_parts_and_training_goes_on_from_it(
    bilingual: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 5000)
    trainer = train.Trainer(bilingual)
    for _ in range(3):
        trainer.train_step()
    trainer.save()
    made = parts.split(trainer.path, tmp_path / "parts")
    assert len(made) > 10
    assert all(part.stat().st_size <= 5000 for part in made)
    trainer.path.unlink()
    assert parts.join(tmp_path / "parts", trainer.path) == 3
    went_on = train.Trainer(bilingual)
    assert went_on.step == 3
    for name, value in went_on.trainee.state_dict().items():
        torch.testing.assert_close(value, trainer.average[name], atol=1e-3, rtol=1e-3)
    went_on.train_step()


def test_parts_of_another_checkpoint_do_not_stay_behind(bilingual: Recipe, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "checkpoint.77.part").write_bytes(b"old")
    trainer = train.Trainer(bilingual)
    trainer.save()
    assert [part.name for part in parts.split(trainer.path, tmp_path / "parts")] == ["checkpoint.0.part"]
    assert parts.join(tmp_path / "parts", trainer.path) == 0


def test_networks_of_one_speaker_in_three_languages_are_whole() -> None:
    for name in ("mira", "kumo"):
        recipe = RECIPES[name]
        assert [teacher.language for _, teacher in recipe.taught] == ["en", "zh", "ja"]
        assert recipe.config()["languages"] == ["en", "zh", "ja"]
        with torch.device("meta"):
            Trainee(recipe)
