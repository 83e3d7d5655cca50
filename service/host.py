"""What the modules of protocols share: the service as they see it, and parts of their answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from service.parameters import Parameters

NAMES_LISTED = 20
"""How many names an error message or a header lists; a model may have a thousand speakers."""
NAME_CHARS = 64
"""How many characters of a name that a client sent a header repeats."""


@dataclass(frozen=True, slots=True)
class VoiceEntry:
    """One speaker, as clients list them."""

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
    license: str = ""
    """The licence that the model's files name, if they name one."""
    source: str = ""
    """Where the model's files say that the voice comes from."""
    number: int = 0
    """What clients of vits-simple-api call it; it stays the same for as long as the server runs."""

    def row(self) -> dict[str, object]:
        """What /speakers says of it."""
        return {
            "id": self.id,
            "model": self.model,
            "speaker": self.speaker,
            "languages": self.languages,
            "sample_rate_hz": self.sample_rate_hz,
            **self.defaults,
            **{name: fact for name, fact in (("license", self.license), ("source", self.source)) if fact},
        }


class Host(Protocol):
    """The service."""

    @property
    def max_text_chars(self) -> int:
        """The longest text of a request, in characters."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """The names that models.toml gives to speakers besides their own."""

    @property
    def unloaded(self) -> Mapping[str, Sequence[str]]:
        """The speakers of the models that are configured but cannot speak, by the model's name."""

    def admit(self, request: Request) -> None:
        """Raise a Refusal where the key is missing or the models are still loading."""

    def require_ready(self) -> None:
        """Raise a Refusal while the models are loading."""

    def voices(self) -> list[VoiceEntry]:
        """All who can speak, in the order of models.toml, whether their models are in memory or not."""

    def voice(self, name: str | None) -> VoiceEntry | None:
        """The speaker whom a request means by this name (None: by none at all), if there is one."""

    async def answer(
        self, request: Request, parameters: Parameters, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The recording that the parameters ask for, as an answer to the request, with these headers too."""


class ProtocolRoute(Route):
    """A route that ignores a slash at the end of the path, which many clients add."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path is this route's, with or without the slash."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/")}
        return super().matches(scope)


def silent(text: object) -> dict[str, str]:
    """The parameter by which a text such as "..." becomes silence: programs send such pieces when they speak in pieces.

    A text that is missing or consists of blanks is still an error.
    """
    return {"empty": "silence"} if isinstance(text, str) and text.strip() else {}


def listed(names: Iterable[str]) -> str:
    """The names, as a message can hold them: the first few, and how many more there are."""
    every = list(names)
    rest = len(every) - NAMES_LISTED
    return ", ".join(every[:NAMES_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def ignored_headers(names: Iterable[str]) -> dict[str, str]:
    """The header that names the parameters that were ignored, percent-encoded; no header if there are none."""
    named = [quote(name[:NAME_CHARS], safe="", errors="replace") or '""' for name in dict.fromkeys(names)]
    return {"X-Ignored": listed(named)} if named else {}
