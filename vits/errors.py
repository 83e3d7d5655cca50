"""The errors of the library; each is a VitsError, and its text is one line meant for a person."""

from collections.abc import Iterable


class VitsError(Exception):
    """Base of the library's errors."""

    code = "internal_error"
    """What programs call the error. Those that a caller's argument or text can cause have a code of their own."""


class BrokenCheckpoint(VitsError):
    """A checkpoint or its config cannot be used; the text names the file and the key or tensor."""


class BadRequest(VitsError):
    """An argument of a synthesis is not usable; the text names it, the value and what was expected."""

    code = "bad_request"


class UnknownSpeaker(BadRequest):
    """The voice has no such speaker."""


class RunawayLength(VitsError):
    """The duration predictor asked for more frames than speech of that many symbols can have.

    It happens with a stochastic predictor at an unlucky seed; another seed or a smaller noise_scale_w helps.
    """

    code = "runaway_length"


class BrokenSound(VitsError):
    """The network computed something that is no number, so what follows is no sound."""


class TextError(VitsError):
    """A text cannot be turned into symbols."""


class PreparationTooLong(TextError):
    """The text took longer to prepare than was allowed; the text says how long that was."""

    code = "preparation_too_long"


class UnspeakableText(TextError):
    """Nothing in the text can be spoken."""

    code = "unspeakable_text"


class NothingToSay(UnspeakableText):
    """The text has no letters and no numbers, only marks and pictures: silence is a fair reading of it."""


class BadDictionary(TextError):
    """A dictionary of written and spoken forms is not usable; the text names the entry."""

    code = "bad_request"


class UnknownCleaner(TextError):
    """There is no cleaner of that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        """Say which name was asked for and which there are."""
        self.name = name
        self.known = tuple(known)
        super().__init__(f"unknown cleaner {name!r}; known are {', '.join(self.known)}")


class UnknownLanguage(TextError):
    """The language does not exist here, or the cleaner has no front end for it."""

    code = "unknown_language"


class MissingLibrary(TextError):
    """The Python packages that a language needs are not installed."""

    code = "missing_library"

    def __init__(self, language: str, packages: Iterable[str]) -> None:
        """Say which language needs which packages."""
        self.language = language
        self.packages = tuple(packages)
        super().__init__(f"{language} needs: pip install {' '.join(self.packages)}")
