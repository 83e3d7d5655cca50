"""What can go wrong in the library; every error is a VitsError, and its text is one line meant for a person."""


class VitsError(Exception):
    """Base of the library's errors."""


class BrokenCheckpoint(VitsError):
    """A checkpoint or its config cannot be used; the text names the file and the key or tensor."""


class BadRequest(VitsError):
    """An argument of a synthesis is not usable; the text names it, the value and what was expected."""


class UnknownSpeaker(BadRequest):
    """The voice has no such speaker."""


class RunawayLength(VitsError):
    """The duration predictor asked for more frames than speech of that many symbols can have.

    It happens with a stochastic predictor at an unlucky seed; another seed or a smaller noise_scale_w helps.
    """
