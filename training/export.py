"""Ship a trained voice: `python -m training.export slt` writes voices/slt/G.pth and config.json."""

import argparse
import json
import os
from pathlib import Path

import torch

from training.recipes import RECIPES, RUNS, Recipe

VOICES = Path(__file__).parent.parent / "voices"


def export(recipe: Recipe, folder: Path) -> None:
    """Write the averaged weights in float16 and the config to a folder.

    The posterior encoder's weights are among them; the linear readings of latents, which the original lacks, are not.
    """
    saved = torch.load(RUNS / recipe.name / "checkpoint.pth", map_location="cpu", weights_only=True)
    model = {key: value.half() for key, value in saved["average"].items() if not key.startswith(("mel.", "phase."))}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model, "iteration": saved["step"]}, folder / "G.pth")
    text = json.dumps(recipe.config(), ensure_ascii=False, indent=1)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    size = os.path.getsize(folder / "G.pth") / 1e6
    print(f"{recipe.name}: step {saved['step']}, {size:.1f} MB -> {folder}")


def main() -> None:
    """Export one voice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voice", choices=sorted(RECIPES))
    parser.add_argument("--to", type=Path, help="the folder to write (default: the voice's own)")
    arguments = parser.parse_args()
    export(RECIPES[arguments.voice], arguments.to or VOICES / arguments.voice)


if __name__ == "__main__":
    main()
