"""The defaults of run.sh, for what starts the service without it."""

import os
import re
from pathlib import Path

RUN_SH = Path(__file__).resolve().parent.parent / "run.sh"


def defaults() -> dict[str, str]:
    """Every variable that run.sh sets where the environment does not, with its value."""
    return dict(re.findall(r'^: "\$\{(\w+):=(.*)\}"$', RUN_SH.read_text(), re.M))


def setting(name: str) -> str:
    """The variable's value in the environment or, where it is empty or missing, run.sh's default."""
    return os.environ.get(name) or defaults()[name]


def cache_capacities() -> dict[str, str]:
    """The settings of oneDNN's and ideep's caches, which they read at the first operation of torch."""
    return {name: setting(name) for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")}
