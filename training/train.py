"""Train one voice: `python -m training.train slt`. Stop it at any time; it goes on from its last checkpoint."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.fine_tune import single_speaker
from training.losses import feature_loss, fooling_loss, judge_loss, log_mel, spectral_loss
from training.model import Batch, Discriminators, Segments, Trainee
from training.recipes import RECIPES, RUNS, Recipe

MEL_WEIGHT, SPECTRAL_WEIGHT, FEATURE_WEIGHT = 20.0, 10.0, 10.0
CLIP = 20.0
WARM_UP_STEPS = 300
AVERAGE = 0.999
"""Decay of the running average of the weights, which is what is shipped."""
SAVE_EVERY, LOG_EVERY = 250, 50


class Corpus:
    """A corpus in memory that hands out batches of utterances of like length."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        data = np.load(path)
        self.recipe = recipe
        self.ids, self.durations = (
            np.split(data[key], np.cumsum(data["symbols_each"])[:-1]) for key in ("ids", "frames")
        )
        self.samples = np.split(data["samples"], np.cumsum(data["frames_each"] * recipe.hop_length)[:-1])
        frames = data["frames_each"]
        self.speakers = data["speakers"] if "speakers" in data else np.zeros(len(frames), np.int64)
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
            speakers=torch.tensor([int(self.speakers[i]) for i in chosen]),
        )


def _stack(rows: list[np.ndarray], size: int) -> Tensor:
    return torch.from_numpy(np.stack([np.pad(row, (0, size - len(row))) for row in rows]))


class Trainer:
    """The networks, their optimizers and how far they are."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.path = RUNS / recipe.name / "checkpoint.pth"
        self.corpus = Corpus(RUNS / recipe.name / "corpus.npz", recipe)
        torch.manual_seed(0)
        self.trainee, self.judges = Trainee(recipe), Discriminators()
        self.optimizer = torch.optim.AdamW(self.trainee.parameters(), recipe.learning_rate, (0.8, 0.99), weight_decay=0)
        self.judges_optimizer = torch.optim.AdamW(self.judges.parameters(), recipe.learning_rate / 2, (0.8, 0.99))
        self.average = {k: v.clone() for k, v in self.trainee.state_dict().items()}
        self.step = 0
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
        self.average, self.step = saved["average"], saved["step"]

    def _start_from(self, name: str, speaker: str) -> None:
        """Begin with the weights of another recipe's speaker."""
        saved = torch.load(RUNS / name / "checkpoint.pth", map_location="cpu", weights_only=True)
        weights = single_speaker(saved["average"], RECIPES[name].speakers.index(speaker))
        self.trainee.load_state_dict(weights)
        self.judges.load_state_dict(saved["judges"])
        self.average = {k: v.clone() for k, v in self.trainee.state_dict().items()}

    def save(self) -> None:
        """Write a checkpoint, replacing the last one in one move."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
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
        for optimizer, scale in ((self.optimizer, 1.0), (self.judges_optimizer, 0.5)):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
        from_text = 0.0 if self.step < recipe.from_text_from else 0.5
        made: Segments = self.trainee(self.corpus.batch(self.step), from_text, noise_scale=0.5)
        losses = {"kl": made.kl, "duration": made.duration}
        spoken, recorded = made.spoken[:, 0], made.recorded[:, 0]
        mel_spoken, mel_recorded = (log_mel(x, recipe.sample_rate_hz) for x in (spoken, recorded))
        difference = (mel_spoken - mel_recorded).abs().mean((1, 2))
        losses["mel"] = difference.mean()
        losses["spectral"] = spectral_loss(spoken, recorded)
        total = losses["kl"] + losses["duration"] + MEL_WEIGHT * losses["mel"] + SPECTRAL_WEIGHT * losses["spectral"]
        if self.step >= recipe.adversarial_from:
            total = total + self._contest(made, losses)
        _descend(self.optimizer, self.trainee, total)
        self._follow()
        self.step += 1
        n = round(len(difference) * (1 - from_text))
        seen = {name: float(loss.detach()) for name, loss in losses.items()}
        return seen | ({"mel_from_text": float(difference[n:].detach().mean())} if n < len(difference) else {})

    def _contest(self, made: Segments, losses: dict[str, Tensor]) -> Tensor:
        """Teach the judges, then return what the decoder has to gain from them."""
        losses["judges"] = judge_loss(self.judges(made.recorded), self.judges(made.spoken.detach()))
        _descend(self.judges_optimizer, self.judges, losses["judges"])
        self.judges.requires_grad_(False)
        with torch.no_grad():
            recorded = self.judges(made.recorded)
        spoken = self.judges(made.spoken)
        self.judges.requires_grad_(True)
        losses["fooling"], losses["feature"] = fooling_loss(spoken), feature_loss(recorded, spoken)
        return losses["fooling"] + FEATURE_WEIGHT * losses["feature"]

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for name, value in self.trainee.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)


def _descend(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    norm = nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    if torch.isfinite(norm):
        optimizer.step()


def main() -> None:
    """Train until the recipe's last step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", choices=sorted(RECIPES))
    arguments = parser.parse_args()
    # Gradients of near-silence are denormal numbers, on which a CPU multiplies many times slower.
    torch.set_flush_denormal(True)
    trainer = Trainer(RECIPES[arguments.voice])
    began = time.monotonic()
    shown: dict[str, list[float]] = {}
    while trainer.step < trainer.recipe.steps:
        for name, loss in trainer.train_step().items():
            shown.setdefault(name, []).append(loss)
        if trainer.step % LOG_EVERY == 0:
            means = "  ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in shown.items())
            print(f"step {trainer.step}  {(time.monotonic() - began) / LOG_EVERY:.2f} s  {means}", flush=True)
            began, shown = time.monotonic(), {}
        if trainer.step % SAVE_EVERY == 0 or trainer.step == trainer.recipe.steps:
            trainer.save()


if __name__ == "__main__":
    main()
