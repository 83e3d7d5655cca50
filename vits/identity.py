"""What equal ids and weights do not tell of a recording: the program that spoke them, its libraries, and the CPU."""

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch

from vits.text.libraries import versions


def identity(facts: object, files: Iterable[Path]) -> str:
    """A digest of the program, of these facts, and of what is in these files."""
    digest = hashlib.sha256(repr(facts).encode() + program_identity())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


Stamp = tuple[tuple[str, int, int, int, int, int], ...]


def stamp(files: Iterable[Path]) -> Stamp:
    """What differs wherever one of these files was written or replaced; an OSError where one cannot be found."""
    facts = ((str(path), path.stat()) for path in files)
    return tuple((name, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in facts)


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
