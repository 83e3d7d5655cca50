"""The trainer: alignment, losses, evaluation, and a few real steps on a corpus of noise."""

import dataclasses
import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training import corpus, export, train
from training.alignment import frames_per_symbol, monotonic_alignment, symbol_starts
from training.durations import TrainedDurationPredictor, forwards, spline
from training.losses import (
    PITCHES_HZ,
    advance_loss,
    comb_loss,
    fundamental,
    harmonics_loss,
    level_loss,
    log_mel,
    log_spectra,
    magnitudes,
    mel_filters,
    phase_loss,
    pitches,
    spectral_loss,
    waveform_loss,
)
from training.measures import (
    distance_along,
    harmonic_contrast_db,
    level_db,
    paired_semitones,
    steps_at_joins,
    warped,
    warping_path,
    word_errors,
)
from training.model import (
    BEGINNINGS,
    ENDS,
    FLOW_REACH,
    ChannelsLastConv1d,
    ChannelsLastConvTranspose1d,
    Trainee,
    cut,
    within,
)
from training.recipes import RECIPES, Recipe, Stage
from training.teachers import Teacher, resampled
from vits import load_voice
from vits.network import SPLINE_BINS, inverse_spline

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
    phones = [("h", 0.0, 0.1), ("aɪ", 0.1, 0.3), (" ", 0.3, 0.5), ("m", 0.5, 0.6), ("ɑ", 0.6, 0.8), (" ", 0.8, 1)]
    starts = symbol_starts("haɪ, ˈmɑ.", phones)
    assert starts == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.5, 0.5, 0.5, 0.6, 0.8])


def test_a_teacher_who_says_something_else_is_refused() -> None:
    assert symbol_starts("kæt.", [("d", 0.0, 0.1), ("ɔ", 0.1, 0.2), ("g", 0.2, 0.3), (" ", 0.3, 0.4)]) is None


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
    assert corpus.english_sentences(tmp_path) == ["It was late, so we left."]


def test_chinese_sentences_are_whole_and_without_colours(tmp_path: Path) -> None:
    for name in ("song100", "tang300"):
        (tmp_path / name).write_text("")
    (tmp_path / "chinese").write_text(
        "请接受这一事实，并保\n持礼貌。太短。\n\x1b[33m -- Debian\x1b[m\n%\n用 Debian 的人很多。\n今天天气很好！\n"
    )
    assert corpus.chinese_sentences(tmp_path) == ["请接受这一事实，并保持礼貌。", "今天天气很好！"]


def test_japanese_sentences_come_from_manual_pages_without_their_markup(tmp_path: Path) -> None:
    page = ".SH 名前\n.PP\n以下のチェックを\n\\fB行なって\\fRみてください。\n.B ls\nはファイルを一覧にします。\n.TP\n"
    (tmp_path / "ls.1.gz").write_bytes(gzip.compress(page.encode()))
    assert corpus.japanese_sentences(tmp_path) == ["以下のチェックを行なってみてください。"]


@pytest.mark.parametrize(
    ("voice", "speaker", "sentence", "cleaned"),
    [
        ("slt", "slt", "The children are playing in the garden.", "ðə ˈtʃɪldɹən əɹ pleɪɪŋ ɪn ðə ˈgɑɹdən."),
        ("trio", "mei", "百貨店で、お札を買った。", "ça↑k#ka↓tende, o↑satsɯo ka↑t#ta."),
        ("trio", "ling", "请把女士的雨衣放在椅子上。", "tʃʰiŋ↓↑ p⁼a↓↑ nɥ↓↑s`ɹ`↓ t⁼ə ɥ↓↑i→ fɑŋ↓ts⁼aɪ↓ i↓↑ts⁼ɹ s`ɑŋ↓."),
    ],
)
def test_a_real_teacher_gives_ids_frames_and_samples_that_fit(
    voice: str, speaker: str, sentence: str, cleaned: str, needs_program: Callable[[str, str], str]
) -> None:
    recipe = RECIPES[voice]
    teacher = recipe.teachers[speaker]
    if teacher.synthesizer == "flite":
        needs_program("flite", "flite")
    row = corpus.utterance(sentence, teacher, recipe)
    assert row is not None
    ids, frames, samples = row
    assert len(ids) == len(frames)
    assert min(frames) == 1
    assert len(samples) == sum(frames) * recipe.hop_length
    assert "".join(recipe.symbols[i] for i in ids) == cleaned


def test_resampling_keeps_what_fits_and_removes_the_rest() -> None:
    seconds = np.arange(22050) / 22050
    for hertz, kept in ((440, 1.0), (7000, 1.0), (8600, 0.0)):
        made = resampled(np.sin(2 * np.pi * hertz * seconds).astype(np.float32), 22050, 16000)
        assert len(made) == 16000
        expected = kept * np.sin(2 * np.pi * hertz * np.arange(16000) / 16000)
        np.testing.assert_allclose(made[800:-800], expected[800:-800], atol=0.01)


# Durations


def test_the_spline_is_what_synthesis_inverts_and_knows_its_slope() -> None:
    torch.manual_seed(0)
    x = (torch.randn(400, dtype=torch.float64) * 4).requires_grad_()
    shapes = [torch.randn(400, n, dtype=torch.float64) for n in (SPLINE_BINS, SPLINE_BINS, SPLINE_BINS - 1)]
    y, log_slope = spline(x, *shapes)
    torch.testing.assert_close(inverse_spline(y, *shapes), x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), log_slope)
    assert (y != x).sum() > 200  # most are inside the bound


def bent(predictor: TrainedDurationPredictor) -> TrainedDurationPredictor:
    """The predictor with random weights where it begins with zeros."""
    with torch.no_grad():
        for parameter in predictor.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.3)
    return predictor.double()


def test_each_flow_knows_its_determinant() -> None:
    torch.manual_seed(0)
    predictor = bent(TrainedDurationPredictor(8, 3, 0))
    z, condition = torch.randn(1, 2, 3, dtype=torch.float64), torch.randn(1, 8, 3, dtype=torch.float64)
    mask = torch.ones(1, 1, 3, dtype=torch.float64)
    for flow in predictor.flows[:3]:

        def flat(x: torch.Tensor, flow: torch.nn.Module = flow) -> torch.Tensor:
            return forwards(flow, x.view(1, 2, 3), mask, condition)[0].flatten()

        jacobian = torch.autograd.functional.jacobian(flat, z.flatten())  # type: ignore[no-untyped-call]
        log_determinant = forwards(flow, z, mask, condition)[1]
        torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_determinant[0])


def test_drawing_durations_undoes_what_training_does_to_them() -> None:
    torch.manual_seed(0)
    predictor = bent(TrainedDurationPredictor(8, 3, 4))
    x, g = torch.randn(2, 8, 6, dtype=torch.float64), torch.randn(2, 4, 1, dtype=torch.float64)
    mask = within(torch.tensor([6, 4]), 6).double()
    condition = predictor.proj(predictor.convs(predictor.pre(x) + predictor.cond(g), mask)) * mask
    first = z = torch.randn(2, 2, 6, dtype=torch.float64) * mask
    for flow in predictor.flows:
        z, _ = forwards(flow, z, mask, condition)
    torch.testing.assert_close(predictor(x, mask, z, g), first[:, :1])


def test_the_predictor_learns_how_long_symbols_are() -> None:
    torch.manual_seed(0)
    predictor = TrainedDurationPredictor(8, 3, 0)
    optimizer = torch.optim.Adam(predictor.parameters(), 1e-2)
    kind = torch.randint(0, 2, (16, 12))
    x, frames = torch.nn.functional.one_hot(kind, 8).float().transpose(1, 2), 2 + 8 * kind
    mask = torch.ones(16, 1, 12)
    losses = []
    for _ in range(45):
        loss = predictor.loss(x, mask, frames)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 1.5 < losses[0]
    drawn = torch.ceil(torch.exp(predictor(x, mask, torch.randn(16, 2, 12) * 0.5)))[:, 0]
    assert drawn[kind == 1].mean() > drawn[kind == 0].mean() + 4


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


def test_a_sound_that_repeats_itself_every_frame_has_a_comb() -> None:
    noise = torch.rand(4, 4096) * 2 - 1
    repeated = noise[:, :256].repeat(1, 16)
    assert comb_loss(noise, noise, 256) == 0
    assert comb_loss(noise.flip(1), noise, 256) < 0.2
    assert comb_loss(repeated, noise, 256) > 1


@pytest.mark.parametrize("hz", [80, 200, 450])
def test_pitches_are_found_in_low_and_high_voices(hz: float) -> None:
    voice = tone(hz, 0.5, harmonics=int(7000 / hz))
    place, voiced = pitches(log_spectra(torch.from_numpy(voice)[None]), 16000)
    inner = slice(4, -4)  # the edges are seen with their mirror image
    assert voiced[0, inner].all()
    np.testing.assert_allclose(np.array(PITCHES_HZ)[place[0, inner]], hz, rtol=0.02)


def test_harmonics_may_stand_elsewhere_but_must_stand_out() -> None:
    torch.manual_seed(0)
    noise = torch.randn(1, 4096) * 0.01
    rich, higher, poor = (
        torch.from_numpy(tone(hz, 4096 / 16000, harmonics))[None] + noise
        for hz, harmonics in ((200, 35), (210, 33), (200, 4))
    )
    assert harmonics_loss(rich, rich, 16000) == 0
    assert harmonics_loss(higher, rich, 16000) < 0.5
    assert harmonics_loss(poor, rich, 16000) > 1
    assert harmonics_loss(noise, rich, 16000) > 1
    assert harmonics_loss(rich, noise, 16000) == 0  # where the teacher has no voice, nothing is asked
    poor.requires_grad_()
    (gradient,) = torch.autograd.grad(harmonics_loss(poor, rich, 16000), poor)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_a_click_in_silence_is_far_from_its_level() -> None:
    silence = torch.zeros(2, 4096)
    clicks = silence.clone()
    clicks[:, 5] = 0.3
    assert level_loss(silence, silence) == 0
    assert level_loss(clicks, silence) * 32 > 5  # in one of 32 pieces
    assert level_loss(clicks, clicks.flip(1)) > level_loss(clicks, silence)


def test_spectral_loss_is_nothing_for_the_same_and_much_for_noise() -> None:
    torch.manual_seed(0)
    speech, noise = torch.randn(2, 4096) * 0.1, torch.randn(2, 4096)
    assert spectral_loss(speech, speech) == 0
    assert spectral_loss(noise, speech) > 1
    assert magnitudes(speech, 1024, 256).shape == (2, 513, 16)
    assert log_mel(speech, 16000).shape == (2, 80, 16)


def pulses(hz: float, late: float = 0.0) -> torch.Tensor:
    """Return a second of 20 harmonics, late by so many periods."""
    cycles = torch.arange(16000) * hz / 16000 - late
    return torch.cos(2 * torch.pi * torch.arange(1, 21)[:, None] * cycles).sum(0)[None] / 40


LOW = torch.tensor([[60.0, 160.0]])


def test_the_fundamental_is_found_with_its_phase() -> None:
    early, voiced = fundamental(pulses(100), 16000, 256, LOW)
    late, _ = fundamental(pulses(100, 0.25), 16000, 256, LOW)
    inner = slice(2, -3)
    assert early.shape == voiced.shape == (1, 62)
    assert voiced[:, inner].all()
    assert torch.allclose((early * late.conj())[:, inner], torch.tensor(1j), atol=0.05)  # by a quarter
    turns = (early[:, 1:] * early[:, :-1].conj()).angle() / (2 * torch.pi)
    assert torch.allclose(turns[:, inner], torch.tensor(100 * 256 / 16000 - 2), atol=0.01)
    assert not fundamental(pulses(400), 16000, 256, LOW)[1].any()


def test_a_phase_must_be_the_recordings_but_its_advance_may_begin_anywhere() -> None:
    wanted = torch.exp(1j * torch.linspace(0, 40, 50))[None]
    voiced = torch.ones(1, 50, dtype=torch.bool)
    turned = wanted * torch.exp(torch.tensor(2j))
    assert phase_loss(wanted, wanted, voiced) == 0
    assert phase_loss(turned, wanted, voiced) > 2
    assert float(advance_loss(turned, wanted, voiced)) == pytest.approx(0, abs=1e-5)
    assert float(advance_loss(wanted.conj(), wanted, voiced)) > 1
    assert float(advance_loss(2 * wanted, wanted, voiced)) == pytest.approx(1)
    voiced[:, 20:] = False  # what is not voiced is not looked at
    wrong = torch.where(voiced, wanted, 0)
    assert float(phase_loss(wrong, wanted, voiced)) == float(advance_loss(wrong, wanted, voiced).round(decimals=5)) == 0


def test_the_waveform_is_compared_with_its_phases() -> None:
    assert waveform_loss(pulses(100), pulses(100), 16000) == 0
    assert waveform_loss(pulses(100, 0.5), pulses(100), 16000) > 0.5
    assert spectral_loss(pulses(100, 0.5), pulses(100)) < 0.1 * spectral_loss(pulses(120), pulses(100))
    high = torch.sin(torch.arange(16000) * 2 * torch.pi * 3000 / 16000)[None]
    assert waveform_loss(pulses(100) + 0.1 * high, pulses(100), 16000) < 0.05


def test_a_pulse_is_seen_through_a_short_window_only() -> None:
    def changes(win_length: int) -> float:
        """Return how much the spectrum of a low voice changes from frame to frame, relative to its size."""
        seen = magnitudes(pulses(90), 1024, 256, win_length)[0, :, 3:-3]
        return float((seen[:, 1:] - seen[:, :-1]).norm() / seen.norm())

    assert magnitudes(pulses(90), 1024, 256, 512).shape == (1, 513, 62)
    assert changes(512) > 5 * changes(1024)


def test_mel_filters_have_unit_area_and_leave_no_gap() -> None:
    filters = mel_filters(1024, 16000)
    area = filters.sum(1) * 16000 / 1024
    torch.testing.assert_close(area[30:], torch.ones(50), atol=0.02, rtol=0)  # low ones are narrower than a bin
    assert (filters.sum(0)[1:-1] > 0).all()


# A few steps for real


def write_noise(teacher: Teacher, n_symbols: int, seed: int) -> None:
    """Write 24 utterances of noise as what a teacher said."""
    random = np.random.default_rng(seed)
    symbols = random.integers(5, 20, 24)
    frames = [random.integers(1, 8, n) + 2 for n in symbols]
    path = corpus.corpus_path(teacher)
    path.parent.mkdir(exist_ok=True)
    np.savez(
        path,
        ids=random.integers(1, n_symbols, symbols.sum()),
        frames=np.concatenate(frames),
        samples=random.integers(-3000, 3000, sum(int(f.sum()) for f in frames) * 256).astype(np.int16),
        symbols_each=symbols,
        frames_each=np.array([f.sum() for f in frames]),
    )


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe whose teachers said noise, and whose run lives in a folder of the test's own."""
    decoder = {
        "resblock": "2",
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 2]],
        "upsample_rates": [16, 16],
        "upsample_initial_channel": 16,
        "upsample_kernel_sizes": [32, 32],
    }
    stages = (Stage("latents", 2, 5e-4, 1e-4), Stage("decoder", 2, 5e-4, 1e-4), Stage("all", 3, 5e-4, 1e-4))
    recipe = dataclasses.replace(
        RECIPES["slt"], name="tiny", start_from=None, teachers={"tiny": RECIPES["trio"].teachers["amy"]},
        hidden_channels=8, filter_channels=8, n_layers=1, posterior_layers=2, decoder=decoder, batch=4,
        segment_frames=16, stages=stages,
    )  # fmt: skip
    for module in (train, export, corpus):
        monkeypatch.setattr(module, "RUNS", tmp_path)
    for seed, teacher in enumerate(RECIPES["trio"].teachers.values()):
        write_noise(teacher, len(recipe.symbols), seed)
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    return recipe


@pytest.fixture
def tiny_trio(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The same with three speakers and the stochastic duration predictor."""
    recipe = dataclasses.replace(tiny, teachers=RECIPES["trio"].teachers, use_sdp=True, gin_channels=6)
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    return recipe


@pytest.fixture
def tiny_phased(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """The same with phases taught, of a fundamental between 60 and 160 Hz."""
    recipe = dataclasses.replace(tiny, win_length=512, fundamental_hz={"tiny": (60.0, 160.0)})
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    return recipe


LATENTS = {"kl", "duration", "heard_mel", "text_mel"}
DECODER = {"mel", "spectral", "harmonics", "comb", "level"}


def test_an_interrupted_training_goes_on_as_if_nothing_had_been(tiny: Recipe) -> None:
    whole = train.Trainer(tiny)
    for _ in range(6):
        losses = whole.train_step()
    assert set(losses) == LATENTS | DECODER | {"mel_from_text", "judges", "fooling", "feature"}
    assert all(np.isfinite(loss) for loss in losses.values())
    first = train.Trainer(tiny)
    for _ in range(4):
        first.train_step()
    first.save()
    second = train.Trainer(tiny)
    assert second.step == 4
    for _ in range(2):
        again = second.train_step()
    assert again == pytest.approx(losses, rel=1e-3)


def parts_changed_by_a_step(trainer: train.Trainer) -> tuple[set[str], set[str]]:
    """Return the names of the losses of a step, and the network's parts that it changed."""
    before = {name: value.clone() for name, value in trainer.trainee.named_parameters()}
    losses = set(trainer.train_step())
    after = trainer.trainee.named_parameters()
    return losses, {name.split(".")[0] for name, value in after if not torch.equal(value, before[name])}


def test_each_stage_teaches_its_parts_only(tiny_trio: Recipe) -> None:
    trainer = train.Trainer(tiny_trio)
    latents = {"enc_p", "enc_q", "flow", "dp", "emb_g", "mel"}
    assert parts_changed_by_a_step(trainer) == (LATENTS, latents)
    trainer.train_step()
    assert parts_changed_by_a_step(trainer) == (DECODER, {"dec"})
    trainer.train_step()
    losses, parts = parts_changed_by_a_step(trainer)
    assert losses > LATENTS | DECODER
    assert parts == latents | {"dec"}


def test_phases_are_taught_where_a_recipe_asks_for_them(tiny_phased: Recipe) -> None:
    trainer = train.Trainer(tiny_phased)
    latents = {"enc_p", "enc_q", "flow", "dp", "mel", "phase"}
    assert parts_changed_by_a_step(trainer) == (LATENTS | {"heard_phase", "text_advance"}, latents)
    trainer.train_step()
    assert parts_changed_by_a_step(trainer) == (DECODER | {"waveform"}, {"dec"})


def test_the_readings_of_latents_are_not_shipped(tiny_phased: Recipe, tmp_path: Path) -> None:
    train.Trainer(tiny_phased).save()
    export.export(tiny_phased, tmp_path / "voice")
    shipped = torch.load(tmp_path / "voice" / "G.pth", weights_only=True)["model"]
    assert {name.split(".")[0] for name in shipped} == {"enc_p", "enc_q", "flow", "dp", "dec"}
    assert json.loads((tmp_path / "voice" / "config.json").read_text("utf-8"))["data"]["win_length"] == 512
    load_voice(tmp_path / "voice" / "G.pth", tmp_path / "voice" / "config.json")


def test_rates_fall_within_each_stage(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "WARM_UP_STEPS", 1)
    trainer = train.Trainer(tiny)
    rates = []
    for _ in range(8):
        trainer.train_step()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    fall = [5e-4 * 0.2 ** (step / 2) for step in range(2)]
    assert rates == pytest.approx(fall + fall + [5e-4 * 0.2 ** (step / 3) for step in range(4)])
    assert tiny.steps == 7


def test_every_part_learns(tiny: Recipe) -> None:
    trainer = train.Trainer(tiny)
    before = {name: value.clone() for name, value in trainer.trainee.named_parameters()}
    for _ in range(7):
        trainer.train_step()
    unchanged = {name for name, value in trainer.trainee.named_parameters() if torch.equal(value, before[name])} - {
        "enc_p.emb.weight"
    }
    # Keys' biases cancel in a softmax.
    assert all(name.endswith("conv_k.bias") for name in unchanged), unchanged


def test_without_durations_the_alignment_is_searched(tiny: Recipe) -> None:
    trainee = Trainee(tiny)
    batch = train.Trainer(tiny).corpus.batch(0)
    window = trainee.window(batch)
    latents = trainee.latents(batch._replace(durations=None), window, noise_scale=0.5)
    assert latents.from_text.shape == latents.heard.shape == (4, 8, window.mask.shape[2])
    assert all(torch.isfinite(loss) for loss in latents.losses.values())
    segments = trainee.decode(window, latents.from_text, 0)
    assert segments.spoken.shape == segments.recorded.shape == (4, 16 * 256)


def test_segments_at_the_edges_of_utterances_are_taught_often(tiny: Recipe) -> None:
    torch.manual_seed(0)
    trainee = Trainee(tiny)
    batch = train.Trainer(tiny).corpus.batch(0)
    last = batch.frames - tiny.segment_frames
    assert (last > 1).all()
    starts = torch.stack([trainee.window(batch).starts for _ in range(500)]) + FLOW_REACH
    assert ((starts >= 0) & (starts <= last)).all()
    chance = (1 - BEGINNINGS - ENDS) * float((1 / (last + 1)).mean())
    assert float((starts == 0).float().mean()) == pytest.approx(BEGINNINGS + chance, abs=0.03)
    assert float((starts == last).float().mean()) == pytest.approx(ENDS + chance, abs=0.03)


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


def test_several_speakers_are_taught_exported_and_told_apart(tiny_trio: Recipe, tmp_path: Path) -> None:
    trainer = train.Trainer(tiny_trio)
    before = {name: value.clone() for name, value in trainer.trainee.named_parameters()}
    for _ in range(4):
        losses = trainer.train_step()
    assert all(np.isfinite(loss) for loss in losses.values())
    for name, value in trainer.trainee.named_parameters():
        if "cond" in name or name == "emb_g.weight" or name.startswith("dp.post_"):
            assert not torch.equal(value, before[name]), name
    trainer.save()
    export.export(tiny_trio, tmp_path / "voice")
    voice = load_voice(tmp_path / "voice/G.pth", tmp_path / "voice/config.json")
    assert voice.speakers == {"amy": 0, "mei": 1, "ling": 2}
    assert set(voice.languages) == {"en", "ja", "zh"}
    spoken = [np.concatenate(list(voice.stream([5, 6, 7], speaker=s, noise_scale_w=0.0, seed=1))) for s in range(3)]
    assert all(np.isfinite(samples).all() for samples in spoken)
    assert not np.array_equal(spoken[0][:256], spoken[1][:256])


def speaks_alike(one: Trainee, g: torch.Tensor | None, other: Trainee, other_g: torch.Tensor | None) -> None:
    z, mask = torch.randn(1, 8, 12), torch.ones(1, 1, 12)
    torch.testing.assert_close(one.dec(z, g), other.dec(z, other_g))
    torch.testing.assert_close(one.flow(z, mask, g), other.flow(z, mask, other_g))


def test_a_fine_tune_begins_as_the_speaker_it_starts_from(tiny_trio: Recipe) -> None:
    base = train.Trainer(tiny_trio)
    torch.nn.init.normal_(base.average["flow.flows.0.post.weight"])
    base.save()
    teachers = {"solo": RECIPES["trio"].teachers["ling"]}
    recipe = dataclasses.replace(tiny_trio, name="solo", teachers=teachers, start_from=("tiny", "ling"))
    trainer = train.Trainer(recipe)
    base.trainee.load_state_dict(base.average)
    assert base.trainee.emb_g is not None
    g = base.trainee.emb_g.weight[2][None, :, None]
    speaks_alike(trainer.trainee, None, base.trainee, g)
    z, mask, noise = torch.randn(1, 8, 12), torch.ones(1, 1, 12), torch.randn(1, 2, 12)
    torch.testing.assert_close(trainer.trainee.dp(z, mask, noise), base.trainee.dp(z, mask, noise, g))
    assert all(np.isfinite(loss) for loss in trainer.train_step().values())


def test_several_speakers_begin_as_the_one_they_start_from(tiny: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    base = train.Trainer(tiny)
    torch.nn.init.normal_(base.average["flow.flows.0.post.weight"])
    base.save()
    several = dataclasses.replace(
        tiny, name="solo", teachers=RECIPES["trio"].teachers, use_sdp=True, gin_channels=6, start_from=("tiny", None)
    )
    trainer = train.Trainer(several)
    assert "new modules: dp, dp.cond, flow.cond, dec.cond, enc_q.cond, emb_g\n" in capsys.readouterr().out
    base.trainee.load_state_dict(base.average)
    speaks_alike(trainer.trainee, torch.randn(1, 6, 1), base.trainee, None)


def test_a_fine_tune_can_begin_with_a_shipped_voice(
    tiny_trio: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = train.Trainer(tiny_trio)
    base.save()
    monkeypatch.setattr(train, "VOICES", tmp_path / "voices")
    export.export(tiny_trio, tmp_path / "voices/tiny")
    base.path.unlink()
    recipe = dataclasses.replace(tiny_trio, name="solo", teachers=RECIPES["mei"].teachers, start_from=("tiny", "mei"))
    made = train.Trainer(recipe).trainee.state_dict()
    for name in ("enc_q.pre.weight", "enc_p.emb.weight", "dec.ups.0.weight"):
        torch.testing.assert_close(made[name], base.average[name].half().float())


def test_a_step_without_a_finite_gradient_changes_nothing_and_is_counted(tiny: Recipe) -> None:
    trainer = train.Trainer(tiny)
    with torch.no_grad():
        trainer.trainee.enc_q.pre.weight[0] = torch.nan
    before = trainer.trainee.enc_p.emb.weight.clone()
    trainer.train_step()
    assert trainer.skipped == 1
    assert torch.equal(trainer.trainee.enc_p.emb.weight, before)


def test_every_small_recipe_fits_in_12_megabytes_of_float16_and_the_others_in_32() -> None:
    for recipe in RECIPES.values():
        with torch.device("meta"):
            state = Trainee(recipe).state_dict()
        size = sum(2 * value.numel() for value in state.values())
        assert size < (31.9e6 if recipe.also else 11.9e6), (recipe.name, size)


# Evaluation


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [("a b c", "a b c", 0), ("a b c", "", 3), ("", "a", 1), ("a b c", "a x c d", 2), ("a b c", "b c", 1)],
)
def test_word_errors_are_counted(said: str, heard: str, errors: int) -> None:
    assert word_errors(said.split(), heard.split()) == errors


def tone(hz: float, seconds: float, harmonics: int = 1, rate: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    made = sum(np.sin(2 * np.pi * hz * n * time) / harmonics for n in range(1, harmonics + 1))
    return np.asarray(made * 0.5, np.float32)


def test_warping_forgives_another_pace_but_not_another_content() -> None:
    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return distance_along(warping_path(a, b), a, b)

    a = np.random.default_rng(0).normal(size=(20, 3))
    assert distance(a, np.repeat(a, 2, axis=0)) == 0
    assert distance(a, a[::-1]) > 0.5
    assert distance(a[:1], a[:3]) == pytest.approx(np.linalg.norm(a[:3] - a[0], axis=1).mean())


def test_distortion_is_in_decibels() -> None:
    noise = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1
    assert warped(noise, noise).distortion_db == 0
    assert warped(noise, noise * 0.5).distortion_db == pytest.approx(0, abs=0.05)  # loudness is none of it
    assert warped(noise, tone(300, 1.0)).distortion_db > 5


def glide(low_hz: float, seconds: float) -> np.ndarray:
    """Return 30 harmonics of a pitch that rises from low_hz by a fifth and falls back, in a voice that changes."""
    time = np.linspace(0, 1, round(seconds * 16000), endpoint=False)
    hz = low_hz * 1.5 ** np.sin(np.pi * time) ** 2
    phase = 2 * np.pi * np.cumsum(hz) / 16000
    made = sum(np.sin(phase * n) * np.exp(-(((n * hz / 1000 - 0.5 - 2 * time) * 2) ** 2)) for n in range(1, 31))
    return np.asarray(made / 8, np.float32)


@pytest.mark.parametrize("hz", [80, 220])
def test_pitches_are_compared_at_another_pace(hz: float) -> None:
    def paired(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return paired_semitones(a, b, warped(a, b).frames)

    rising = glide(hz, 1.0)
    same, higher = paired(glide(hz, 1.3), rising), paired(glide(hz * 2 ** (1 / 6), 1.0), rising)
    assert len(same) > 150
    assert np.ptp(same[:, 1]) == pytest.approx(7.0, abs=0.3)
    assert np.abs(same[:, 0] - same[:, 1]).mean() < 0.2
    assert (higher[:, 0] - higher[:, 1]).mean() == pytest.approx(2, abs=0.2)


def test_what_has_no_pitch_is_not_compared() -> None:
    noise = np.random.default_rng(0).normal(size=8000).astype(np.float32) * 0.1
    voiced = tone(200, 0.5, harmonics=20)
    assert paired_semitones(noise, voiced, warped(noise, voiced).frames).shape == (0, 2)


def test_steps_at_joins_are_told_from_steps_elsewhere() -> None:
    windows = [np.array([0.0, 0.1], np.float32), np.array([0.6, 0.5], np.float32), np.array([0.5, 0.3], np.float32)]
    np.testing.assert_allclose(steps_at_joins(windows), (0.5, 0.2), rtol=1e-6)
    np.testing.assert_allclose(steps_at_joins(windows[:1]), (0, 0.1), rtol=1e-6)


def test_levels_are_those_of_full_scale() -> None:
    assert level_db(tone(1000, 0.5)) == pytest.approx(-9.03, abs=0.01)
    assert level_db(np.zeros(100, np.float32)) == pytest.approx(-120)


def test_harmonics_are_seen_where_there_are_any() -> None:
    rich, poor = tone(200, 0.3, harmonics=30), tone(200, 0.3, harmonics=12)
    noise = np.random.default_rng(0).normal(size=len(poor)).astype(np.float32) * 0.01
    assert harmonic_contrast_db(rich + noise, 3000, 4000) > 10
    assert harmonic_contrast_db(poor + noise, 3000, 4000) == pytest.approx(0, abs=2)
    assert np.isnan(harmonic_contrast_db(noise, 3000, 4000))
