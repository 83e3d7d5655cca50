"""What a protocol module is handed: the service, as far as another protocol needs it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from service.parameters import Parameters

NAMES_LISTED = 20
"""How many names an error message lists; a model may have a thousand speakers."""


@dataclass(frozen=True, slots=True)
class VoiceEntry:
    """One speaker of a loaded model, as clients list them."""

    id: str
    """What a request calls it."""
    model: str
    """The model's name."""
    speaker: str
    """The speaker's name within the model."""
    languages: Sequence[str]
    """The languages that it speaks."""
    sample_rate_hz: int
    """The rate of its sound."""
    defaults: Mapping[str, float]
    """The noise_scale, noise_scale_w and length_scale of a request that sets none."""
    created_s: int
    """When the model's checkpoint was written, in seconds since 1970."""

    def row(self) -> dict[str, object]:
        """What /speakers says of it."""
        described = ("id", "model", "speaker", "languages", "sample_rate_hz")
        return {name: getattr(self, name) for name in described} | dict(self.defaults)


class Host(Protocol):
    """The service."""

    max_text_chars: int

    def admit(self, request: Request) -> None:
        """Raise a Refusal where the key is missing or the models are still loading."""

    def require_ready(self) -> None:
        """Raise a Refusal while the models are loading."""

    def voices(self) -> list[VoiceEntry]:
        """All loaded speakers, in the order of models.toml."""

    def unloaded(self) -> Sequence[str]:
        """The names of the models that are configured but not loaded."""

    async def answer(self, request: Request, parameters: Parameters) -> Response:
        """The recording that the parameters ask for, as an answer to the request."""


def listed(names: Iterable[str]) -> str:
    """The names, as a message can hold them: the first few, and how many more there are."""
    every = list(names)
    rest = len(every) - NAMES_LISTED
    return ", ".join(every[:NAMES_LISTED]) + (f" and {rest} more" if rest > 0 else "")
