"""The variables that run.sh sets, and what the server does if it is started otherwise; logs without users' text."""

import logging
import os
from functools import cache

from service.process import allocator

log = logging.getLogger("uvicorn.error")

CACHE_CAPACITIES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "2048", "LRU_CACHE_CAPACITY": "1"}
"""The variables that limit oneDNN's and ideep's caches, and their values if they are not set. Fixed windows need few
primitives: a small cache stays flat and always hits, whereas without one oneDNN would compile every convolution again
at every call. torch reads each of them once, at its first operation."""


def set_cache_capacities() -> None:
    """Set the capacities that are not set, and log what a start by run.sh would have set: it costs speed or memory."""
    for name, capacity in CACHE_CAPACITIES.items():
        if name not in os.environ:
            log.warning("%s is not set; set it to %s here: start by run.sh, or name it in the unit", name, capacity)
            os.environ[name] = capacity
    if allocator() not in ("jemalloc", "unknown"):
        # gunicorn's raw_env cannot do it: the loader reads the variable when the process starts.
        log.warning("jemalloc is not preloaded: start by run.sh, or put LD_PRELOAD into the unit file's Environment")


def api_key() -> str:
    """The key that requests for speech must show, without the newline that a file of it ends with; empty: none."""
    return os.environ.get("SPEAK_API_KEY", "").rstrip("\r\n")


@cache
def own_allocator() -> str:
    """The allocator of this process, looked up once: it stays what it is."""
    return allocator()


def in_force() -> dict[str, object]:
    """The allocator and the capacities, as this process has them."""
    return {"allocator": own_allocator(), **{name.lower(): os.environ.get(name) for name in CACHE_CAPACITIES}}


class NoSecrets(logging.Filter):
    """Takes queries and headers, which hold users' text and the key, out of uvicorn's log lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through: paths are cut after the path, and a scope shows its type and path alone."""
        if isinstance(record.args, tuple):
            record.args = tuple(map(without_secrets, record.args))
        return True


def without_secrets(argument: object) -> object:
    """An argument of a log line, without queries and headers."""
    if isinstance(argument, str):
        return argument.partition("?")[0]
    if isinstance(argument, dict):
        return {name: argument[name] for name in ("type", "path", "status") if name in argument}
    return argument


LOGGERS = ("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error")
"""The loggers by which uvicorn writes. A filter holds for its own logger alone, so each gets one."""
PARSERS = ("python_multipart",)
"""The loggers of libraries that say what is wrong with a client's bytes. The client is told, and it is in no log."""


def keep_secrets_out_of_logs() -> None:
    """Let uvicorn's lines, at every level, show neither queries nor headers, and those of parsers nothing at all."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(NoSecrets())
    for name in PARSERS:
        # Without a handler of its own or above it, Python would print what it warns of.
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
