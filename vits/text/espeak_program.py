"""espeak-ng as its program prints phonemes, `espeak-ng -q --ipa -v VOICE`: one line for each clause of a text.

The library and its data are inside the espeakng-loader package (GPL-3.0), which is optional; it is a release, 1.52.0.
vits.text.espeak_ng drives Piper's own build, which writes many sounds of German, Italian and Portuguese differently.
It runs in a process of its own, because there are texts that end it: "<-C" in Vietnamese does.
"""

from __future__ import annotations

import importlib.util

from vits.errors import TextError
from vits.text.child import Child
from vits.text.libraries import PACKAGES, load

NEEDED_FOR = "Text in the phonemes of espeak-ng 1.52"


def missing_packages() -> tuple[str, ...]:
    """The packages to install, as pip takes them, where espeak-ng is not there."""
    return () if importlib.util.find_spec("espeakng_loader") else PACKAGES[NEEDED_FOR]


def _arguments() -> tuple[str, str]:
    """The library and its data."""
    files = load("espeakng_loader", NEEDED_FOR)
    return str(files.get_library_path()), str(files.get_data_path())


_child = Child("espeak-ng", "espeak_child.py", _arguments)


def lines(text: str, language: str) -> list[str]:
    """The phonemes of each clause.

    Raises:
        MissingLibrary: espeak-ng is not installed.
        UnspeakableText: espeak-ng fails at the text.
        TextError: espeak-ng does not speak the language.

    """
    found: list[str] | None = _child.ask(text, language)
    if found is None:
        raise TextError(f"espeak-ng has no voice {language!r}, which this model needs")
    return found
