"""Files with random damage: each loads, or is refused in one line; no other error leaves the library."""

import random
import shutil
import warnings
from pathlib import Path

import pytest

from tests.conftest import ROOT
from vits import BrokenCheckpoint
from vits.formats import open_model

GOLDEN = ROOT / "tests/golden/formats"
ROUNDS = 30

pytestmark = pytest.mark.usefixtures("one_thread")


def damaged(content: bytes, source: random.Random) -> bytes:
    """The content with some bytes changed, cut out or put in, mostly near its ends, where its structure is."""
    changed = bytearray(content)
    for _ in range(source.choice((1, 3, 30))):
        near_start, near_end = source.randrange(20_000), len(changed) - 1 - source.randrange(60_000)
        place = source.choice((source.randrange(len(changed)), near_start, near_end))
        kind = source.randrange(3)
        if kind == 0:
            changed[place] = source.randrange(256)
        elif kind == 1:
            del changed[place : place + source.choice((1, 4, 100))]
        else:
            changed[place:place] = source.randbytes(source.choice((1, 9)))
    return bytes(changed)


@pytest.mark.parametrize(
    "name", ["many_low/voice.onnx", "hf_many_sdp/model.safetensors", "many_low/epoch=7-step=64.ckpt"]
)
def test_random_damage_is_refused_in_one_line_or_does_no_harm(name: str, tmp_path: Path) -> None:
    original, source = GOLDEN / name, random.Random(name)
    refused: list[str] = []
    for other in original.parent.glob("*.json"):
        shutil.copy(other, tmp_path)
    path = tmp_path / original.name
    shutil.copy(GOLDEN / "many_low/voice.onnx.json", f"{path}.json")
    content = original.read_bytes()
    for _ in range(ROUNDS):
        path.write_bytes(damaged(content, source))
        try:
            with warnings.catch_warnings(action="ignore"):  # PyTorch has some for odd pickles
                open_model(path)
        except BrokenCheckpoint as error:
            refused.append(str(error))
    assert len(refused) > ROUNDS // 2
    assert [message for message in refused if "\n" in message] == []
