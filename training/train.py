"""Train one voice: `python -m training.train slt`. It can be stopped at any time and resumes at its last checkpoint.

With `--minutes 10` it stops by itself and has a checkpoint of its last step.

It runs on the first GPU, where PyTorch finds one.
"""

import argparse
import dataclasses
import math
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
    mel_loss,
    spectral_loss,
    waveform_loss,
)
from training.model import Batch, Discriminators, Segments, Trainee
from training.recipes import RECIPES, RUNS, Recipe, Taught
from vits.voice import has_bfloat16

WEIGHTS = {
    "kl": 0.1,
    "unit": 0.02,
    "duration": 1.0,
    "heard_mel": 30.0,
    "text_mel": 30.0,
    "heard_phase": 10.0,
    "text_advance": 5.0,
    "mel": 20.0,
    "mel_from_text": 20.0,
    "spectral": 10.0,
    "waveform": 20.0,
    "harmonics": 10.0,
    "comb": 10.0,
    "level": 3.0,
    "fooling": 4.0,
    "feature": 10.0,
}
"""The weight of each loss. That of kl is small, since latents made from text alone are taught directly. With a weight
of 1, a recording's latents told the decoder no more than its text does, even after thousands of steps: it could not
place a harmonic or follow a formant, and blurred everything."""
NOISE_SCALE = 0.5
"""The deviation of the prior's noise in latents from text."""
CLIP = 20.0
WARM_UP_STEPS = 100
AVERAGE = 0.999
"""The decay of the running average of the weights, which is shipped."""
SAVE_EVERY, LOG_EVERY = 250, 50


class Corpus:
    """A recipe's recordings in memory, given out in batches of utterances of similar length."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.ids: list[np.ndarray] = []
        self.durations: list[np.ndarray] = []
        self.samples: list[np.ndarray] = []
        self.speakers: list[int] = []
        speakers = list(recipe.teachers)
        for name, teacher in recipe.taught:
            data = np.load(corpus_path(teacher, recipe.sample_rate_hz))
            symbols_ends, frames_each = np.cumsum(data["symbols_each"])[:-1], data["frames_each"]
            self.ids += np.split(data["ids"], symbols_ends)
            self.durations += np.split(data["frames"], symbols_ends)
            self.samples += np.split(data["samples"], np.cumsum(frames_each * recipe.hop_length)[:-1])
            self.speakers += [speakers.index(name)] * len(frames_each)
        frames = np.array([durations.sum() for durations in self.durations])
        self.order = [int(i) for i in np.argsort(frames, kind="stable") if frames[i] >= recipe.segment_frames]

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, which is the same in every run."""
        random = np.random.default_rng(step)
        size = self.recipe.batch
        first = int(random.integers(0, len(self.order) - 4 * size))
        chosen = random.choice(self.order[first : first + 4 * size], size, replace=False)
        # The text's length is rounded up so that convolutions see few shapes.
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
    """The networks, their optimizers and the steps they have taken."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.path = RUNS / recipe.name / "checkpoint.pth"
        self.corpus = Corpus(recipe)
        device = torch.get_default_device().type
        self.precision = torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or has_bfloat16())
        """Which computes in bfloat16, but for spectra and durations, on a GPU or on a CPU that has it in hardware."""
        torch.manual_seed(0)
        self.trainee, self.judges = Trainee(recipe), Discriminators()
        self.optimizer = torch.optim.AdamW(self.trainee.parameters(), betas=(0.8, 0.99), weight_decay=0)
        self.judges_optimizer = torch.optim.AdamW(self.judges.parameters(), betas=(0.8, 0.99))
        self.average = {k: v.clone() for k, v in self.trainee.state_dict().items()}
        self.step = 0
        self.skipped = 0
        """How many steps had a gradient that was not finite and so changed nothing."""
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
        """Resume at the last checkpoint."""
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in self.parts().items():
            if name in saved:  # training.parts leaves out the optimizers'
                part.load_state_dict(saved[name])
        self.average = {name: value.to(self.average[name].device) for name, value in saved["average"].items()}
        self.step = saved["step"]

    def _start_from(self, name: str, speaker: str | None) -> None:
        """Begin with another recipe's weights: those of its training if it ran here, else of its shipped voice."""
        training = RUNS / name / "checkpoint.pth"
        saved = torch.load(
            training if training.exists() else VOICES / name / "G.pth", map_location="cpu", weights_only=True
        )
        weights = saved["average"] if training.exists() else saved["model"]
        row = RECIPES[name].speakers.index(speaker) if speaker else None
        weights, new = adapted(weights, self.trainee.state_dict(), row)
        print(f"{self.recipe.name} begins with {name}'s weights; new modules: {', '.join(new) or 'none'}", flush=True)
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
        stage, step = self.recipe.stage(self.step)
        rate = stage.learning_rate * (stage.learning_rate_end / stage.learning_rate) ** (step / stage.steps)
        rate *= min(1.0, (step + 1) / WARM_UP_STEPS)
        for optimizer in (self.optimizer, self.judges_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = rate
        with self.precision:
            losses, made = self._made(stage.teaches)
        if made:
            losses |= self._compared(made)
            if stage.teaches in ("contest", "all"):
                with self.precision:
                    losses |= self._contest(made)
        total = torch.stack([WEIGHTS[name] * loss for name, loss in losses.items() if name in WEIGHTS]).sum()
        self.skipped += not _descend(self.optimizer, self.trainee, total)
        self._follow()
        self.step += 1
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _made(self, teaches: Taught) -> tuple[dict[str, Tensor], Segments | None]:
        """Return the losses of latents and the decoder's output for them; parts that are not taught get no gradient."""
        batch = self.corpus.batch(self.step)
        if teaches == "decoder":
            with torch.no_grad():
                window = self.trainee.window(batch)
                heard = self.trainee.heard(window)[0]
            return {}, self.trainee.decode(window, heard, len(heard))
        window = self.trainee.window(batch)
        if teaches in ("autoencoder", "contest"):
            heard, losses = self.trainee.autoencoded(window)
            return losses, self.trainee.decode(window, heard, len(heard))
        latents = self.trainee.latents(batch, window, NOISE_SCALE, teach_heard=teaches != "text")
        if teaches in ("latents", "text"):
            return latents.losses, None
        n = len(latents.heard) // 2
        mixed = torch.cat([latents.heard[:n], latents.from_text[n:]])
        return latents.losses, self.trainee.decode(window, mixed, n)

    def _compared(self, made: Segments) -> dict[str, Tensor]:
        """Return the losses between the decoder's output and the recording.

        Text does not tell a voice's pitch to the percent, so output made from text is compared in bands that are wider
        than the distance between harmonics: in narrower bands the decoder would do best by blurring the harmonics that
        it cannot place. Their own loss and the judges keep harmonics sharp.
        """
        n, rate = made.n_heard, self.recipe.sample_rate_hz
        spoken, recorded = made.spoken, made.recorded
        share = n / len(spoken)
        losses = {
            "mel": share * mel_loss(spoken[:n], recorded[:n], rate),
            "spectral": spectral_loss(spoken[:n], recorded[:n]),
            "harmonics": harmonics_loss(spoken, recorded, rate),
            "comb": comb_loss(spoken, recorded, self.recipe.hop_length),
            "level": level_loss(spoken, recorded),
        }
        if self.recipe.fundamental_hz:
            losses["waveform"] = share * waveform_loss(spoken[:n], recorded[:n], rate)
        if share < 1:
            losses["mel_from_text"] = (1 - share) * mel_loss(spoken[n:], recorded[n:], rate, coarser=2)
        return losses

    def _contest(self, made: Segments) -> dict[str, Tensor]:
        """Teach the judges; return their loss, and the decoder's losses from them."""
        recorded = self.judges(made.recorded)
        judged = judge_loss(recorded, self.judges(made.spoken.detach()))
        self.skipped += not _descend(self.judges_optimizer, self.judges, judged)
        self.judges.requires_grad_(False)
        spoken = self.judges(made.spoken)
        self.judges.requires_grad_(True)
        heard = slice(0, made.n_heard)
        feature = feature_loss(_of(heard, recorded), _of(heard, spoken))
        return {"judges": judged, "fooling": fooling_loss(spoken), "feature": feature}

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
    parser.add_argument("--minutes", type=float, default=math.inf, help="how long to train, to go on another time")
    parser.add_argument("--batch", type=int, help="utterances a step, where a GPU has room for more than the recipe's")
    arguments = parser.parse_args()
    if torch.cuda.is_available():
        torch.set_default_device("cuda")
    # Gradients of near-silence are denormal numbers, on which a CPU multiplies many times slower.
    torch.set_flush_denormal(True)
    recipe = RECIPES[arguments.voice]
    trainer = Trainer(dataclasses.replace(recipe, batch=arguments.batch or recipe.batch))
    began = time.monotonic()
    ends = began + 60 * arguments.minutes
    shown: dict[str, list[float]] = {}
    while trainer.step < trainer.recipe.steps and time.monotonic() < ends:
        for name, loss in trainer.train_step().items():
            shown.setdefault(name, []).append(loss)
        if trainer.step % LOG_EVERY == 0:
            means = "  ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in shown.items())
            skipped = f"  skipped {trainer.skipped}" if trainer.skipped else ""
            print(f"step {trainer.step}  {(time.monotonic() - began) / LOG_EVERY:.2f} s  {means}{skipped}", flush=True)
            began, shown = time.monotonic(), {}
        if trainer.step % SAVE_EVERY == 0:
            trainer.save()
    trainer.save()


if __name__ == "__main__":
    main()
