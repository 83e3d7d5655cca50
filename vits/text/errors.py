"""What can go wrong between a text and its symbols, for callers to turn into answers."""

from __future__ import annotations

from collections.abc import Iterable


class TextError(ValueError):
    """A text that cannot be turned into symbols; the base of the errors here."""


class UnspeakableText(TextError):
    """A text of which nothing is left that the model could say."""


class UnknownCleaner(TextError):
    """A cleaner's name that no front end here answers to."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        """Say which name was asked for and which there are."""
        self.name = name
        self.known = tuple(known)
        super().__init__(f"unknown cleaner {name!r}; known are {', '.join(self.known)}")


class UnknownLanguage(TextError):
    """A language that does not exist here, or that the cleaner has no front end for."""


class MissingLibrary(TextError):
    """A language whose Python packages are not installed."""

    def __init__(self, language: str, packages: Iterable[str]) -> None:
        """Say which language needs which packages."""
        self.language = language
        self.packages = tuple(packages)
        super().__init__(f"{language} needs: pip install {' '.join(self.packages)}")
