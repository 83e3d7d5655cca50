"""The parameters of a request, checked and as plain data. Every value that is not usable is an error, never a guess."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request

from service.audio import FORMATS, Format, require_package
from service.errors import Refusal
from vits.limits import LONE_SURROGATES, MAX_SEED, RANGES, language_of

Value = TypeVar("Value")

PARAMETERS = ("text", "speaker", "lang", *RANGES, "seed", "format", "stream", "empty")
"""The parameters of GET /speak, without the key."""
BODY_PARAMETERS = (*PARAMETERS, "replace")
"""Everything that POST /speak takes."""
EMPTY = ("error", "silence")
"""The answers to a text that has nothing to say; the first is the default."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
WHOLE_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
"""How a query writes numbers; Python's own reading also takes 1_0, the digits of other scripts, and nan."""
JSON_CHARACTER_BYTES = 12
"""The most that JSON spends on one character: two escapes such as \\ud83d."""
JSON_OVERHEAD_BYTES = 65_536
"""Room for everything in a JSON body but the text: a dictionary of some hundred entries, above all."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a request asks for. What is None, or missing in `scales`, is left to the model's table."""

    text: str
    """The text, neither empty nor too long."""
    speaker: str | None
    """Who speaks, as the client calls them."""
    lang: str | None
    """The language of the text."""
    scales: Mapping[str, float]
    """noise_scale, noise_scale_w and length_scale, as far as the request gives them."""
    seed: int | None
    """The seed of the noise."""
    format: str
    """The format of the answer, one of FORMATS."""
    stream: bool
    """Whether the answer may begin before its end is known."""
    silence: bool
    """Whether a text without anything to say is a short silence instead of an error."""
    replace: Mapping[str, object]
    """Written forms and how they are spoken, not checked yet."""


def query_parameters(query: bytes) -> dict[str, object]:
    """The parameters of a query string, each given once and in UTF-8; numbers and switches as JSON would have them."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Refusal("bad_request", "The query must be percent-encoded UTF-8.") from None
    return {name: typed(name, value) for name, value in without_duplicates(pairs).items()}


def typed(name: str, value: str) -> object:
    """The value of a query's parameter as JSON would have it; what is not written as its kind stays a string."""
    if name in RANGES and NUMBER.fullmatch(value):
        return float(value)
    if name == "seed" and WHOLE_NUMBER.fullmatch(value):
        return int(value)
    if name == "stream" and value in ("true", "false"):
        return value == "true"
    return value


async def json_parameters(request: Request, max_text_chars: int) -> dict[str, object]:
    """The parameters of a JSON object in the body, each given once."""
    require_json(request)
    if set(query_parameters(request.scope["query_string"])) - {"key"}:
        raise Refusal("bad_request", "A POST takes its parameters from the JSON body, not from the query.")
    return await json_body(request, max_text_chars)


async def json_body(request: Request, max_text_chars: int) -> dict[str, object]:
    """The JSON object in the body, its names each given once."""
    require_json(request)
    body = await limited_body(request, JSON_CHARACTER_BYTES * max_text_chars + JSON_OVERHEAD_BYTES)
    try:
        # Given bytes, json would guess at UTF-16 and UTF-32 too.
        text = body.decode("utf-8")
        parameters = json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal("bad_request", "The body is not valid JSON in UTF-8.") from None
    if not isinstance(parameters, dict):
        raise Refusal("bad_request", "The body must be a JSON object.")
    return parameters


def body_type(request: Request) -> str:
    """The media type of the body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_json(request: Request) -> None:
    """Raise where the body does not say that it is JSON."""
    if body_type(request) != "application/json":
        raise Refusal("unsupported_media_type", "The body must be a JSON object: Content-Type: application/json.")


async def limited_body(request: Request, limit_bytes: int) -> bytes:
    """The body, read no further than `limit_bytes`, and not at all where it says that it is longer."""
    too_large = Refusal("body_too_large", f"The body must not exceed {limit_bytes} bytes.")
    if int(request.headers.get("content-length", "0")) > limit_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise too_large
    return bytes(body)


def without_duplicates(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    """The pairs as a dict; a name that is given twice is an error, since either value could be meant."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise Refusal("bad_request", f"{name!r} is given {count} times.")
    return dict(pairs)


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python would read and JSON does not know."""
    raise ValueError(name)


def refuse_unknown(parameters: Iterable[str], known: tuple[str, ...]) -> None:
    """Raise where there is a parameter that is not known."""
    for name in parameters:
        if name not in known:
            message = f"There is no parameter {name!r}; there is " + ", ".join(known)
            raise Refusal("unknown_parameter", message)


def read_parameters(
    given: Mapping[str, object], max_text_chars: int, accept: str = "", formats: Mapping[str, Format] = FORMATS
) -> Parameters:
    """What the parameters and the Accept header ask for, or a refusal that says what is wrong with them."""
    refuse_unknown(given, BODY_PARAMETERS)
    silence = read_choice(given, "empty", EMPTY) == "silence"
    return Parameters(
        text=read_text(given, max_text_chars, may_be_empty=silence),
        speaker=read_string(given, "speaker"),
        lang=read_language(given),
        scales=read_scales(given),
        seed=read_seed(given),
        format=read_format(given, accept, formats),
        stream=read_switch(given, "stream"),
        silence=silence,
        replace=read_replacements(given),
    )


def read_text(parameters: Mapping[str, object], max_chars: int, *, may_be_empty: bool = False) -> str:
    """The text, neither missing nor too long nor, unless it may be, empty."""
    text = read_string(parameters, "text")
    if text is None:
        raise Refusal("missing_text", "text is missing.", parameter="text")
    if len(text) > max_chars:
        message = f"text has {len(text)} characters; at most {max_chars} are allowed."
        raise Refusal("text_too_long", message, parameter="text")
    if not text.strip() and not may_be_empty:
        raise Refusal("empty_text", "text is empty.", parameter="text")
    return text


def read_string(parameters: Mapping[str, object], name: str) -> str | None:
    """A string of whole characters, or None where it is not given."""
    if name not in parameters:
        return None
    value = parameters[name]
    if not isinstance(value, str):
        raise Refusal("bad_request", f"{name} must be a string.", parameter=name)
    if LONE_SURROGATES.search(value):
        raise Refusal("bad_request", f"{name} holds half a character (a lone surrogate).", parameter=name)
    return value


def read_language(parameters: Mapping[str, object]) -> str | None:
    """The language that is named, or None."""
    lang = read_string(parameters, "lang")
    if lang is None:
        return None
    language = language_of(lang)
    if language is None:
        raise Refusal("bad_request", "lang must be auto or a tag such as en, zh-CN or ja.", parameter="lang")
    return language


def read_choice(parameters: Mapping[str, object], name: str, choices: Sequence[str]) -> str:
    """The choice that is named, or the first."""
    chosen = read_string(parameters, name)
    if chosen is None:
        return choices[0]
    if chosen not in choices:
        raise Refusal("bad_request", f"{name} must be one of " + ", ".join(choices), parameter=name)
    return chosen


def read_replacements(parameters: Mapping[str, object]) -> Mapping[str, object]:
    """The written forms and how they are spoken; a query has no way to say it."""
    table = parameters.get("replace", {})
    if not isinstance(table, dict):
        message = "replace must be an object of written and spoken forms, in the JSON body of a POST."
        raise Refusal("bad_request", message, parameter="replace")
    for text in (*table, *(value for value in table.values() if isinstance(value, str))):
        read_string({"replace": text}, "replace")
    return table


def read_scales(parameters: Mapping[str, object]) -> dict[str, float]:
    """The scales that are given; speed becomes the length_scale that it is the inverse of."""
    scales = {name: read_number(parameters, name) for name in RANGES if name in parameters}
    if "speed" in scales:
        if "length_scale" in scales:
            message = "speed is the inverse of length_scale: give one of them."
            raise Refusal("bad_request", message, parameter="speed")
        scales["length_scale"] = 1 / scales.pop("speed")
    return scales


def read_number(parameters: Mapping[str, object], name: str) -> float:
    """A finite number within the range of its name."""
    low, high = RANGES[name]
    value = parameters[name]
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    if not low <= number <= high:
        raise Refusal("bad_number", f"{name} must be a number from {low:g} to {high:g}.", parameter=name)
    return number


def read_seed(parameters: Mapping[str, object]) -> int | None:
    """A whole number that fits 32 bits, or None where it is not given."""
    if "seed" not in parameters:
        return None
    value = parameters["seed"]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # To JSON Schema, 1.0 is a whole number.
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SEED:
        raise Refusal("bad_number", f"seed must be a whole number from 0 to {MAX_SEED}.", parameter="seed")
    return value


def read_switch(parameters: Mapping[str, object], name: str) -> bool:
    """Whether a switch is on; it is off where it is not given."""
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise Refusal("bad_request", f"{name} must be true or false.", parameter=name)
    return value


def read_format(parameters: Mapping[str, object], accept: str, formats: Mapping[str, Format]) -> str:
    """The one of `formats` that is asked for; else the best of those that Accept names; else the first."""
    name = read_string(parameters, "format")
    if name is None:
        quality = accepted(accept)
        best = max(FORMATS, key=lambda name: quality.get(FORMATS[name].media_type, 0.0))
        return best if quality.get(FORMATS[best].media_type, 0.0) > 0 else next(iter(FORMATS))
    if name not in formats:
        raise Refusal("bad_request", "format must be one of " + ", ".join(formats), parameter="format")
    require_package(name)
    return name


def accepted(accept: str) -> dict[str, float]:
    """The media types that an Accept header names, each with its quality; "*" names none."""
    qualities = {}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weights = [part[2:] for part in parameters if part.startswith("q=")]
        qualities[media_type] = float(weights[0]) if weights and re.fullmatch(r"[01](\.\d{0,3})?", weights[0]) else 1.0
    return qualities
