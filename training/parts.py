"""A checkpoint in small parts, to be carried to another machine: `python -m training.parts split kumo FOLDER`.

It has the running average of the weights and the judges', in float16, and the step; the optimizers begin anew from it.
`python -m training.parts join kumo FOLDER` makes a checkpoint of the parts, from which `training.train` goes on.
"""

import argparse
import io
import os
from pathlib import Path
from typing import Any

import torch

from training.recipes import RECIPES, RUNS

PART_BYTES = 16 * 2**20 - 4096
"""The most that a part has."""


def _halved(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value.half() for name, value in state.items()}


def split(checkpoint: Path, folder: Path) -> list[Path]:
    """Return the parts that a checkpoint was written to, in their order."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    packed = io.BytesIO()
    torch.save(
        {"average": _halved(saved["average"]), "judges": _halved(saved["judges"]), "step": saved["step"]}, packed
    )
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("checkpoint.*.part"):
        old.unlink()
    data, parts = packed.getvalue(), []
    for n, start in enumerate(range(0, len(data), PART_BYTES)):
        parts.append(folder / f"checkpoint.{n}.part")
        parts[-1].write_bytes(data[start : start + PART_BYTES])
    return parts


def join(folder: Path, checkpoint: Path) -> int:
    """Return the step of a checkpoint that was made of a folder's parts."""
    parts = sorted(folder.glob("checkpoint.*.part"), key=lambda path: int(path.name.split(".")[1]))
    packed = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    saved = torch.load(packed, map_location="cpu", weights_only=True)
    average, judges = ({k: v.float() for k, v in saved[name].items()} for name in ("average", "judges"))
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_suffix(".partial")
    torch.save({"trainee": average, "average": average, "judges": judges, "step": saved["step"]}, partial)
    os.replace(partial, checkpoint)
    return int(saved["step"])


def main() -> None:
    """Split or join one voice's checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("split", "join"))
    parser.add_argument("voice", choices=sorted(RECIPES))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    checkpoint = RUNS / arguments.voice / "checkpoint.pth"
    if arguments.action == "split":
        for part in split(checkpoint, arguments.folder):
            print(f"{part}: {part.stat().st_size / 2**20:.1f} MiB")
    else:
        print(f"step {join(arguments.folder, checkpoint)} -> {checkpoint}")


if __name__ == "__main__":
    main()
