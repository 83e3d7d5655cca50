"""Train one voice: `python -m training.train slt`. Stop it at any time; it goes on from its last checkpoint.

It runs on the first GPU, where PyTorch finds one.
"""

import argparse
import dataclasses
import os
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.corpus import corpus_path
from training.export import VOICES
from training.fine_tune import adapted
from training.losses import (
    comb_loss,
    feature_loss,
    fooling_loss,
    harmonics_loss,
    judge_loss,
    level_loss,
    log_mel,
    spectral_loss,
)
from training.model import Batch, Discriminators, Segments, Trainee
from training.recipes import RECIPES, RUNS, Recipe

MEL_WEIGHT, SPECTRAL_WEIGHT, HARMONICS_WEIGHT, COMB_WEIGHT, LEVEL_WEIGHT = 20.0, 10.0, 10.0, 10.0, 3.0
FEATURE_WEIGHT, FOOLING_WEIGHT = 10.0, 4.0
KL_WEIGHT = 0.1
"""Small, since segments made from text alone teach the way that synthesis takes. By 1, a recording's latents told the
decoder no more than its text does, even after thousands of steps: it could not place a harmonic, and blurred all."""
FINE_MELS, COARSE_MELS = 80, 40
"""Mel bands in which speech is compared: narrower and wider than the spacing of a voice's harmonics."""
CLIP = 20.0
WARM_UP_STEPS = 300
AVERAGE = 0.999
"""Decay of the running average of the weights, which is what is shipped."""
SAVE_EVERY, LOG_EVERY = 250, 50


class Corpus:
    """What a recipe's teachers said, in memory, handed out in batches of utterances of like length."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.ids: list[np.ndarray] = []
        self.durations: list[np.ndarray] = []
        self.samples: list[np.ndarray] = []
        self.speakers: list[int] = []
        for speaker, teacher in enumerate(recipe.teachers.values()):
            data = np.load(corpus_path(teacher))
            symbols_ends, frames_each = np.cumsum(data["symbols_each"])[:-1], data["frames_each"]
            self.ids += np.split(data["ids"], symbols_ends)
            self.durations += np.split(data["frames"], symbols_ends)
            self.samples += np.split(data["samples"], np.cumsum(frames_each * recipe.hop_length)[:-1])
            self.speakers += [speaker] * len(frames_each)
        frames = np.array([durations.sum() for durations in self.durations])
        self.order = [int(i) for i in np.argsort(frames, kind="stable") if frames[i] >= recipe.segment_frames]

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, the same at every run."""
        random = np.random.default_rng(step)
        size = self.recipe.batch
        first = int(random.integers(0, len(self.order) - 4 * size))
        chosen = random.choice(self.order[first : first + 4 * size], size, replace=False)
        # The text's length is rounded up so that convolutions meet few shapes.
        S = -(-max(len(self.ids[i]) for i in chosen) // 32) * 32
        T = max(int(self.durations[i].sum()) for i in chosen)
        return Batch(
            ids=_stack([self.ids[i] for i in chosen], S).long(),
            symbols=torch.tensor([len(self.ids[i]) for i in chosen]),
            durations=_stack([self.durations[i] for i in chosen], S).long(),
            samples=_stack([self.samples[i] for i in chosen], T * self.recipe.hop_length).float() / 32768,
            frames=torch.tensor([int(self.durations[i].sum()) for i in chosen]),
            speakers=torch.tensor([self.speakers[i] for i in chosen]),
        )


def _stack(rows: list[np.ndarray], size: int) -> Tensor:
    padded = np.stack([np.pad(row, (0, size - len(row))) for row in rows])
    return torch.from_numpy(padded).to(torch.get_default_device())


class Trainer:
    """The networks, their optimizers and how far they are."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.path = RUNS / recipe.name / "checkpoint.pth"
        self.corpus = Corpus(recipe)
        torch.manual_seed(0)
        self.trainee, self.judges = Trainee(recipe), Discriminators()
        self.optimizer = torch.optim.AdamW(self.trainee.parameters(), recipe.learning_rate, (0.8, 0.99), weight_decay=0)
        self.judges_optimizer = torch.optim.AdamW(self.judges.parameters(), recipe.learning_rate, (0.8, 0.99))
        self.average = {k: v.clone() for k, v in self.trainee.state_dict().items()}
        self.step = 0
        self.skipped = 0
        """Steps whose gradient was not finite, which changed nothing."""
        if self.path.exists():
            self.load()
        elif recipe.start_from:
            self._start_from(*recipe.start_from)

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by its name in the checkpoint."""
        return {
            "trainee": self.trainee,
            "judges": self.judges,
            "optimizer": self.optimizer,
            "judges_optimizer": self.judges_optimizer,
        }

    def load(self) -> None:
        """Go on from the last checkpoint."""
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])
        self.average = {name: value.to(self.average[name].device) for name, value in saved["average"].items()}
        self.step = saved["step"]

    def _start_from(self, name: str, speaker: str | None) -> None:
        """Begin with another recipe's weights: of its training where that is at hand, else of its shipped voice."""
        training = RUNS / name / "checkpoint.pth"
        saved = torch.load(
            training if training.exists() else VOICES / name / "G.pth", map_location="cpu", weights_only=True
        )
        weights = saved["average"] if training.exists() else saved["model"]
        row = RECIPES[name].speakers.index(speaker) if speaker else None
        weights, new = adapted(weights, self.trainee.state_dict(), row)
        print(f"{self.recipe.name} begins with {name}'s weights; new are {', '.join(new) or 'none'}", flush=True)
        self.trainee.load_state_dict(weights)
        if "judges" in saved:
            self.judges.load_state_dict(saved["judges"])
        self.average = {k: v.clone() for k, v in self.trainee.state_dict().items()}

    def save(self) -> None:
        """Write a checkpoint, replacing the last one in one move."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save({**state, "average": self.average, "step": self.step}, partial)
        os.replace(partial, self.path)

    def train_step(self) -> dict[str, float]:
        """Take one step and return its losses by name."""
        torch.manual_seed(self.step)
        recipe = self.recipe
        progress = min(self.step / recipe.steps, 1.0)
        rate = recipe.learning_rate * (recipe.learning_rate_end / recipe.learning_rate) ** progress
        rate *= min(1.0, (self.step + 1) / WARM_UP_STEPS)
        for optimizer in (self.optimizer, self.judges_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate
        from_text = 0.0 if self.step < recipe.from_text_from else 0.5
        made: Segments = self.trainee(self.corpus.batch(self.step), from_text, noise_scale=0.5)
        losses = {"kl": made.kl, "duration": made.duration, **self._compared(made)}
        total = KL_WEIGHT * losses["kl"] + losses["duration"]
        total = total + SPECTRAL_WEIGHT * losses["spectral"] + LEVEL_WEIGHT * losses["level"]
        total = total + COMB_WEIGHT * losses["comb"] + HARMONICS_WEIGHT * losses["harmonics"]
        total = total + MEL_WEIGHT * sum(loss for name, loss in losses.items() if name.startswith("mel"))
        if self.step >= recipe.adversarial_from:
            total = total + self._contest(made, losses)
        self.skipped += not _descend(self.optimizer, self.trainee, total)
        self._follow()
        self.step += 1
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _compared(self, made: Segments) -> dict[str, Tensor]:
        """Return the losses between what was spoken and what was recorded.

        Text does not tell a voice's pitch to the percent. So what was made from it is compared in bands that are wider
        than harmonics are apart: in narrower ones the decoder would do best by blurring the harmonics that it cannot
        place, and the judges alone say that harmonics must be sharp.
        """
        n, rate = made.n_heard, self.recipe.sample_rate_hz
        spoken, recorded = made.spoken[:, 0], made.recorded[:, 0]

        def mel(which: slice, bands: int) -> Tensor:
            a, b = (log_mel(x[which], rate, n_mels=bands) for x in (spoken, recorded))
            return (a - b).abs().sum() / b[0].numel() / len(spoken)

        losses = {"mel": mel(slice(0, n), FINE_MELS), "spectral": spectral_loss(spoken[:n], recorded[:n])}
        losses["comb"] = comb_loss(spoken, recorded, self.recipe.hop_length)
        losses["level"] = level_loss(spoken, recorded)
        losses["harmonics"] = harmonics_loss(spoken, recorded, rate)
        return losses | ({"mel_from_text": mel(slice(n, None), COARSE_MELS)} if n < len(spoken) else {})

    def _contest(self, made: Segments, losses: dict[str, Tensor]) -> Tensor:
        """Teach the judges, then return what the decoder has to gain from them."""
        recorded = self.judges(made.recorded)
        losses["judges"] = judge_loss(recorded, self.judges(made.spoken.detach()))
        self.skipped += not _descend(self.judges_optimizer, self.judges, losses["judges"])
        self.judges.requires_grad_(False)
        spoken = self.judges(made.spoken)
        self.judges.requires_grad_(True)
        heard = slice(0, made.n_heard)
        losses["fooling"] = fooling_loss(spoken)
        losses["feature"] = feature_loss(_of(heard, recorded), _of(heard, spoken))
        return FOOLING_WEIGHT * losses["fooling"] + FEATURE_WEIGHT * losses["feature"]

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for name, value in self.trainee.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)


def _of(segments: slice, judges: list[list[Tensor]]) -> list[list[Tensor]]:
    """Return each judge's features of some of the segments."""
    return [[feature[segments] for feature in features] for features in judges]


def _descend(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> bool:
    """Step down the gradient of a loss; return False where the gradient is not finite, and then change nothing."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    norm = nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    if not torch.isfinite(norm):
        return False
    optimizer.step()
    return True


def main() -> None:
    """Train until the recipe's last step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", choices=sorted(RECIPES))
    parser.add_argument("--batch", type=int, help="utterances a step, where a GPU has room for more than the recipe's")
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        torch.set_default_device("cuda")
    # Gradients of near-silence are denormal numbers, on which a CPU multiplies many times slower.
    torch.set_flush_denormal(True)
    recipe = RECIPES[arguments.voice]
    trainer = Trainer(dataclasses.replace(recipe, batch=arguments.batch or recipe.batch))
    began = time.monotonic()
    shown: dict[str, list[float]] = {}
    while trainer.step < trainer.recipe.steps:
        for name, loss in trainer.train_step().items():
            shown.setdefault(name, []).append(loss)
        if trainer.step % LOG_EVERY == 0:
            means = "  ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in shown.items())
            skipped = f"  skipped {trainer.skipped}" if trainer.skipped else ""
            print(f"step {trainer.step}  {(time.monotonic() - began) / LOG_EVERY:.2f} s  {means}{skipped}", flush=True)
            began, shown = time.monotonic(), {}
        if trainer.step % SAVE_EVERY == 0 or trainer.step == trainer.recipe.steps:
            trainer.save()


if __name__ == "__main__":
    main()
