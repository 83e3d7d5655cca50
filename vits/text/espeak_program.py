"""espeak-ng as its program prints phonemes, `espeak-ng -q --ipa -v VOICE`: one line for each clause of a text.

The library and its data are inside the espeakng-loader package (GPL-3.0), which is optional; it is a release, 1.52.0.
vits.text.espeak_ng drives Piper's own build, which writes many sounds of German, Italian and Portuguese differently.
It runs in a process of its own, because there are texts that end it: "<-C" in Vietnamese does.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from threading import Lock

from vits.errors import TextError
from vits.text.libraries import PACKAGES, load

NEEDED_FOR = "Text in the phonemes of espeak-ng 1.52"
_lock = Lock()
"""The process answers one text at a time."""


def missing_packages() -> tuple[str, ...]:
    """The packages to install, as pip takes them, where espeak-ng is not there."""
    return () if importlib.util.find_spec("espeakng_loader") else PACKAGES[NEEDED_FOR]


@cache
def _process() -> subprocess.Popen[str]:
    files = load("espeakng_loader", NEEDED_FOR)
    process = subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", str(Path(__file__).with_name("espeak_child.py"))),
            *(str(files.get_library_path()), str(files.get_data_path())),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        start_new_session=True,  # Ctrl+C is for the server, at whose end this process ends too
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def lines(text: str, language: str) -> list[str]:
    """The phonemes of each clause.

    Raises:
        MissingLibrary: espeak-ng is not installed.
        TextError: espeak-ng does not speak the language, or fails at the text.

    """
    with _lock:
        process = _process()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps([text, language]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            _process.cache_clear()
            atexit.unregister(_end)
            _end(process)
            raise TextError(f"espeak-ng fails at this text: {text[:60]}")
    found: list[str] | None = json.loads(answer)
    if found is None:
        raise TextError(f"espeak-ng has no voice {language!r}, which this model needs")
    return found
