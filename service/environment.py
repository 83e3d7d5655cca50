"""What a start by run.sh sets in the environment and in the logs, and what is done where it was started otherwise."""

import logging
import os

from service.process import allocator

log = logging.getLogger("uvicorn.error")

CACHE_CAPACITIES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "512", "LRU_CACHE_CAPACITY": "1"}
"""The environment variables that bound oneDNN's and ideep's caches, where none are set. Fixed windows need few
primitives: a small cache stays flat and always hits, where none at all would compile every convolution again at every
call. torch reads each of them once, at its first operation."""


def set_cache_capacities() -> None:
    """Set the capacities that are not set, and log what a start by run.sh would have set: it costs speed or memory."""
    for name, capacity in CACHE_CAPACITIES.items():
        if name not in os.environ:
            log.warning("%s is not set; set it to %s here: start by run.sh, or name it in the unit", name, capacity)
            os.environ[name] = capacity
    if allocator() not in ("jemalloc", "unknown"):
        # gunicorn's raw_env cannot do it: the loader reads the variable when the process starts.
        log.warning("jemalloc is not preloaded: start by run.sh, or put LD_PRELOAD into the unit file's Environment")


class PathAlone(logging.Filter):
    """Takes the query, which holds users' text, out of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, cut after the path."""
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


def keep_queries_out_of_logs() -> None:
    """Let uvicorn's access log show paths without queries."""
    logging.getLogger("uvicorn.access").addFilter(PathAlone())
