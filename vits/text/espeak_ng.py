"""espeak-ng as Piper has it: a text's phonemes clause by clause, with the mark that ends each, in any of its voices.

The library and its data are inside the piper-tts package (GPL-3.0), which is optional; nothing else of it is loaded.
Other builds of espeak-ng, such as that of the espeakng-loader package, write some sounds differently. It runs in a
process of its own, because there are texts that end it: "ı.e. " forty times does, in every language.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

from vits.errors import MissingLibrary, TextError
from vits.text.child import Child
from vits.text.libraries import PACKAGES

NEEDED_FOR = "Text in espeak-ng's phonemes"


class Clause(NamedTuple):
    """A part of a text between two marks."""

    phonemes: str
    mark: str
    """The mark that ends it: one of . ? ! , : ; or "" for others."""
    ends_sentence: bool


def _package() -> Path | None:
    """The folder of the piper-tts package, which is not imported: it would import ONNX Runtime."""
    spec = importlib.util.find_spec("piper")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def missing_packages() -> tuple[str, ...]:
    """The packages to install, as pip takes them, where espeak-ng is not there."""
    return PACKAGES[NEEDED_FOR] if _package() is None else ()


def _arguments() -> tuple[str, str]:
    """The library and its data."""
    folder = _package()
    files = [folder / f"espeakbridge{suffix}" for suffix in EXTENSION_SUFFIXES] if folder else []
    file = next((file for file in files if file.is_file()), None)
    if folder is None or file is None:
        raise MissingLibrary(NEEDED_FOR, PACKAGES[NEEDED_FOR])
    return str(file), str(folder / "espeak-ng-data")


_child = Child("espeak-ng", "espeak_piper_child.py", _arguments)


def clauses(text: str, voice: str) -> list[Clause]:
    """The clauses of a text.

    Raises:
        MissingLibrary: espeak-ng is not installed.
        UnspeakableText: espeak-ng fails at the text.
        TextError: espeak-ng has no such voice.

    """
    found = _child.ask(text, voice)
    if found is None:
        raise TextError(f"espeak-ng has no voice {voice!r}, which this model needs")
    return [Clause(phonemes or "", mark, ends) for phonemes, mark, ends in found]
