"""Piper's espeak-ng in a process of its own: `python espeak_piper_child.py LIBRARY DATA`, driven by espeak_ng.py.

An answer is the list of a text's clauses, each [phonemes, mark, whether it ends a sentence], or null where espeak-ng
has no such voice. See child.py for the lines; it needs nothing but Python, for it starts without packages.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.machinery import ExtensionFileLoader
from typing import Any


def _opened(path: str, data: str) -> Any:
    loader = ExtensionFileLoader("espeakbridge", path)
    spec = importlib.util.spec_from_file_location("espeakbridge", path, loader=loader)
    assert spec is not None
    library = importlib.util.module_from_spec(spec)
    library.initialize(data)
    return library


def main(path: str, data: str) -> None:
    """Answer line by line until stdin ends."""
    library = _opened(path, data)
    for line in sys.stdin:
        text, voice = json.loads(line)
        try:
            library.set_voice(voice)
        except (RuntimeError, ValueError):
            answer = None
        else:
            answer = library.get_phonemes(text.replace("\0", " "))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
