"""What slow teachers said before: kept, listened to, and made into a corpus."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from training import corpus, shards, speech
from training.kokoro import RATE_HZ
from training.recipes import RECIPES, Recipe
from training.shards import Said
from training.teachers import Speech, Teacher
from training.texts import HELD_OUT

TEACHER = Teacher("kokoro", "nobody", "en")
PHONES = [(" ", 0.0, 0.1), ("haɪ", 0.1, 0.4), (" ", 0.4, 0.8)]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (corpus, shards):
        monkeypatch.setattr(module, "RUNS", tmp_path)
    return tmp_path


@pytest.fixture
def recipe() -> Recipe:
    return dataclasses.replace(RECIPES["slt"], name="nobody", teachers={"nobody": TEACHER}, start_from=None)


def sentence(text: str, loud: float = 0.1) -> Said:
    samples = np.random.default_rng(len(text)).normal(0, loud, round(0.8 * RATE_HZ)).clip(-1, 1).astype(np.float32)
    return Said(text, samples, RATE_HZ, PHONES)


def test_a_shard_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = [sentence("Hi."), sentence("Hi there.")]
    shards.write(tmp_path / "0000.jsonl", written)
    found = list(shards.read(tmp_path / "0000.jsonl"))
    assert [s.text for s in found] == ["Hi.", "Hi there."]
    assert found[1].phones == PHONES
    for a, b in zip(written, found, strict=True):
        np.testing.assert_allclose(a.samples, b.samples, atol=1e-4)


def test_shards_are_packed_with_all_that_a_corpus_needs(runs: Path, tmp_path: Path) -> None:
    path = shards.folder(TEACHER) / "0000.jsonl"
    shards.write(path, [sentence("Hi."), sentence("Hi there.")])
    shards.write_hearings(path, ["hi", "high there"])
    size = shards.pack(TEACHER, tmp_path / "packed")
    packed = tmp_path / "packed" / shards.folder(TEACHER).name / "0000.jsonl"
    assert size == sum(file.stat().st_size for file in packed.parent.iterdir())
    assert size < sum(file.stat().st_size for file in path.parent.iterdir())
    assert shards.read_hearings(packed) == ["hi", "high there"]
    for a, b in zip(shards.read(path), shards.read(packed), strict=True):
        assert (a.text, a.phones, a.rate_hz, len(a.samples)) == (b.text, b.phones, b.rate_hz, len(b.samples))
        assert np.corrcoef(a.samples, b.samples)[0, 1] > 0.9


def test_what_was_heard_is_kept_beside_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "0000.jsonl"
    assert shards.read_hearings(path) is None
    shards.write_hearings(path, ["hi", "high there"])
    assert shards.read_hearings(path) == ["hi", "high there"]


def test_a_corpus_leaves_out_what_was_misheard_and_tells_how_much_was_not_listened_to(
    runs: Path, recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (shards.folder(TEACHER) / name for name in ("0000.jsonl", "0001.jsonl"))
    shards.write(first, [sentence("Hi."), sentence("Hi!")])
    shards.write_hearings(first, ["Hi.", "A bottle of beer."])
    shards.write(second, [sentence("Hi?")])
    assert [text for text, _ in corpus.spoken(recipe, TEACHER, 10)] == ["Hi.", "Hi?"]
    assert "2 kept, 1 misheard, 1 not listened to" in capsys.readouterr().out


def test_a_corpus_of_shards_has_the_recipes_rate_and_the_teachers_time(runs: Path, recipe: Recipe) -> None:
    shards.write(shards.folder(TEACHER) / "0000.jsonl", [sentence("Hi.")])
    corpus.build(recipe, TEACHER, 10)
    data = np.load(corpus.corpus_path(TEACHER, 16000))
    assert "".join(recipe.symbols[i] for i in data["ids"]) == "haɪ."
    assert data["frames"].sum() * recipe.hop_length == len(data["samples"])
    # 0.048 s of silence, the sound of 0.3 s, and 0.16 s of the silence after it.
    assert len(data["samples"]) / 16000 == pytest.approx(0.508, abs=recipe.frame_s)


def test_corpora_of_other_rates_and_languages_are_other_files() -> None:
    teachers = [TEACHER, TEACHER._replace(language="zh")]
    assert len({corpus.corpus_path(teacher, rate) for teacher in teachers for rate in (16000, 24000)}) == 4


def test_teachers_take_turns_and_processes_share_what_is_missing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teachers = [TEACHER, TEACHER._replace(language="zh")]
    monkeypatch.setattr(speech, "A_SHARD", 2)
    monkeypatch.setattr(speech, "texts", lambda teacher: [f"{teacher.language} {n}" for n in range(5)])
    shards.write(shards.folder(TEACHER) / "0001.jsonl", [sentence("Said before.")])
    todo = [(path.parent.name[-2:], path.stem, batch) for _, path, batch in speech.missing(teachers, 0, 1)]
    assert todo == [
        ("en", "0000", ["en 0", "en 1"]),
        ("zh", "0000", ["zh 0", "zh 1"]),
        ("zh", "0001", ["zh 2", "zh 3"]),
        ("en", "0002", ["en 4"]),
        ("zh", "0002", ["zh 4"]),
    ]
    shares = [[path for _, path, _ in speech.missing(teachers, part, 2)] for part in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(path for _, path, _ in speech.missing(teachers, 0, 1))
    assert not set(shares[0]) & set(shares[1])


def test_held_out_sentences_are_never_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = (HELD_OUT / "en.txt").read_text("utf-8").splitlines()
    monkeypatch.setitem(corpus.SPOKEN, "en", (lambda: [*held_out, "It was late."],))
    texts = speech.texts(TEACHER)
    assert "It was late." in texts
    assert not set(texts) & set(held_out)


@pytest.mark.parametrize("loud", [0.01, 0.3])
def test_every_sentence_is_as_loud_as_the_others_and_its_silence_does_not_count(loud: float) -> None:
    said = sentence("Hi.", loud).samples
    made = speech.levelled(np.concatenate([said, np.zeros_like(said)]), RATE_HZ)
    level_db = 10 * np.log10(np.mean(made[: len(said)].astype(np.float64) ** 2))
    assert level_db == pytest.approx(speech.LEVEL_DB, abs=0.1)


def test_no_sentence_is_so_loud_that_it_clips() -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[::2400] = 0.5
    assert np.abs(speech.levelled(click, RATE_HZ)).max() <= speech.PEAK


def test_a_sentence_that_cannot_be_said_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "speak", lambda *_: Speech(np.zeros(0, np.float32), RATE_HZ, None))
    assert speech.said(TEACHER, "~") is None


def test_what_was_said_is_listened_to_once(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shards.folder(TEACHER) / "0000.jsonl"
    shards.write(path, [sentence("Hi."), sentence("Hi!")])
    hearings = iter(["Hi.", "Something else."])
    monkeypatch.setattr(speech, "heard", lambda samples, language: next(hearings))
    speech.listen(TEACHER)
    speech.listen(TEACHER)
    assert shards.read_hearings(path) == ["Hi.", "Something else."]
    assert capsys.readouterr().out == "kokoro-nobody-en/0000.jsonl: 1 of 2 heard as written\n"
