"""What equal ids and weights do not tell of a recording: the program that spoke them, its libraries, and the CPU."""

import hashlib
from functools import cache
from pathlib import Path

import torch

from vits.text.libraries import versions


@cache
def program_identity() -> bytes:
    """A digest of this package's source, of the versions of its libraries, and of the CPU's instruction sets.

    AVX2, AVX-512 and AMX differ in the last bits of a sum.
    """
    cpu = (torch.backends.cpu.get_cpu_capability(), sorted(torch.cpu.get_capabilities().items()))
    digest = hashlib.sha256(repr((torch.__version__, versions(), cpu)).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()
