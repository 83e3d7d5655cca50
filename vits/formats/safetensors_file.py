"""The tensors in a safetensors file, read where they lie: no library, and no copy of the file in memory.

The layout is that of github.com/huggingface/safetensors: the header's length in eight bytes, a header in JSON, and the
numbers.
"""

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vits.errors import BrokenCheckpoint
from vits.files import is_safetensors, what_it_is

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of floating-point numbers in a file by name; they lie in the mapped file.

    Raises:
        BrokenCheckpoint: the file cannot be read, or is no whole safetensors file.

    """
    try:
        with path.open("rb") as file:
            # A private copy of pages that nothing writes to: PyTorch does not take memory that it may not write to.
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    except ValueError as error:
        raise BrokenCheckpoint(f"{path}: is no safetensors file: {what_it_is(path) or error}") from error
    except OSError as error:
        raise BrokenCheckpoint(f"{path}: cannot be read: {error.strerror or error}") from error
    if not is_safetensors(bytes(content[:9]), len(content)):
        raise BrokenCheckpoint(f"{path}: is no safetensors file: {what_it_is(path) or 'its header is damaged'}")
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(bytes(content[8:start]))
        return {name: _tensor(entry, content[start:]) for name, entry in header.items() if _is_weight(name, entry)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = str(error) if type(error) is ValueError else "its header is damaged"
        raise BrokenCheckpoint(f"{path}: is no whole safetensors file: {reason}") from error


def _is_weight(name: str, entry: Any) -> bool:
    return name != "__metadata__" and entry["dtype"] in _DTYPES


def _tensor(entry: Any, content: memoryview) -> Tensor:
    dtype, shape, (first, last) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not all(isinstance(number, int) and number >= 0 for number in (first, last, *shape)):
        raise TypeError
    if last > len(content) or last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError("it ends too early, or a shape in its header is wrong")
    if first == last:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(np.frombuffer(content[first:last], np.uint8)).view(dtype).view(shape)
