"""openapi.json against the code, and against the running server by requests that it allows and forbids; /docs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests
import schemathesis
from playwright.sync_api import Browser, Page
from schemathesis import Case
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.applications import Starlette
from starlette.routing import Route

import server
from service import openai, pages, vits_simple_api
from service.audio import EVERY_FORMAT, FORMATS
from service.errors import STATUS_OF
from service.parameters import BODY_PARAMETERS, EMPTY, PARAMETERS
from tests.conftest import RunningServer, running_servers, write_models
from tests.described import DOCUMENT, PATH, errors, resolve
from vits import limits

OPERATIONS = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
"""Small letters, as in the document."""
MAX_EXAMPLES = 20
"""Of each kind of request and operation, besides those at the edges of every range."""
KNOWN_NAMES = {"speaker": "solo", "voice": "solo", "model": "tts-1"}
BEYOND_THE_DOCUMENT = {"empty_text", "unspeakable_text", "unknown_language"}
"""The refusals of a request that the document allows: only the voice knows what it cannot say."""
BEYOND_THE_VOICES = r"^id .* does not exist|^id must be|^format must be|text is (empty|missing)|nothing|fields"
"""The same under /voice, whose errors have no codes, and whose forms hold whatever can be put into words."""


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    """The service, not started."""
    return server.create_app(server.read_settings(write_models(tmp_path)))


def parameters(method: str, path: str) -> dict[str, dict[str, Any]]:
    """The schemas of an operation's parameters, those of the query or those of the body."""
    operation = DOCUMENT["paths"][path][method]
    if "requestBody" in operation:
        schema = resolve(operation["requestBody"]["content"]["application/json"]["schema"])
        return {name: resolve(inner) for name, inner in schema["properties"].items()}
    rows = [resolve(parameter) for parameter in operation.get("parameters", ())]
    return {row["name"]: resolve(row["schema"]) for row in rows if row["in"] == "query"}


# Against the code


def test_every_route_is_described_and_no_other(app: Starlette) -> None:
    routes = [route for route in app.routes if isinstance(route, Route)]
    assert len(routes) == len(app.routes)
    served = {(method.lower(), route.path) for route in routes for method in route.methods or ()}
    assert served >= OPERATIONS
    heads = {(method, path) for method, path in served if method == "head" and ("get", path) in served}
    assert served - OPERATIONS <= heads


@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_the_parameters_of_speak_are_the_servers(method: str) -> None:
    described = parameters(method, "/speak")
    assert set(described) == set(BODY_PARAMETERS if method == "post" else PARAMETERS)
    assert described["empty"]["enum"] == list(EMPTY)
    for name, (low, high) in limits.RANGES.items():
        assert (described[name]["minimum"], described[name]["maximum"]) == (low, high)
    assert (described["seed"]["minimum"], described["seed"]["maximum"]) == (0, limits.MAX_SEED)
    assert described["lang"]["enum"] == list(limits.LANGUAGES)
    assert described["format"]["enum"] == list(FORMATS)


def test_the_longest_text_of_the_document_is_the_settings_default() -> None:
    text = DOCUMENT["components"]["parameters"]["text"]["description"]
    assert f"({server.Settings(Path(), (), threads=1).max_text_chars} unless models.toml sets another limit)" in text


def test_the_parameters_of_openai_are_the_servers() -> None:
    described = parameters("post", "/v1/audio/speech")
    assert set(described) == set(openai.PARAMETERS)
    shared = parameters("post", "/speak")
    for name in ("lang", "noise_scale", "noise_scale_w", "seed", "replace"):
        value, null = described[name]["anyOf"]
        assert (resolve(value), null) == (resolve(shared[name]), {"type": "null"})
    assert described["response_format"]["enum"] == [*openai.FORMATS, None]
    assert described["stream_format"]["enum"] == [*openai.STREAM_FORMATS, None]
    assert described["response_format"]["default"] == next(iter(openai.FORMATS))
    for model in openai.MODELS:
        assert model in described["model"]["description"]
    schema = DOCUMENT["components"]["schemas"]["SpeechRequest"]
    assert schema["required"] == list(openai.REQUIRED)


@pytest.mark.parametrize("path", ["/voice", "/voice/vits"])
def test_the_parameters_of_vits_simple_api_are_the_servers(path: str) -> None:
    for method in ("get", "post"):
        described = parameters(method, path)
        assert [*described, "max"] == list(vits_simple_api.PARAMETERS)
        assert [name for name in described["format"]["enum"] if name] == list(vits_simple_api.FORMATS)


def test_every_media_type_of_speech_is_described() -> None:
    described = {
        name: set(response.get("content", ())) for name, response in DOCUMENT["components"]["responses"].items()
    }
    assert described["Speech"] == {form.media_type for form in FORMATS.values()}
    of_openai = {EVERY_FORMAT[name].media_type for name in openai.FORMATS.values()}
    assert described["OpenAISpeech"] == of_openai | {"text/event-stream"}
    of_voices = {EVERY_FORMAT[name].media_type for name in vits_simple_api.FORMATS.values()}
    assert described["VoiceSpeech"] == of_voices


def test_every_error_code_is_described_with_its_status() -> None:
    # A method that a route does not have is no operation of the document.
    assert errors() | {("405", "method_not_allowed")} == {(str(status), code) for code, status in STATUS_OF.items()}


def test_the_files_of_the_pages_are_named() -> None:
    (name,) = DOCUMENT["paths"]["/web/{name}"]["get"]["parameters"]
    assert name["schema"]["enum"] == list(pages.ASSETS)


# Against the running server


def read_document() -> BaseSchema:
    """The document as schemathesis reads it, with requests that are few and always the same."""
    config = schemathesis.Config(seed=6)
    project = config.projects.get_default()
    project.generation.update(max_examples=MAX_EXAMPLES, deterministic=True, no_shrink=True)
    return schemathesis.openapi.from_path(PATH, config=config)


schema = read_document()


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with the small voices."""
    folder = tmp_path_factory.mktemp("server")
    with running_servers(folder, write_models(folder)) as start:
        yield start()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all requests."""
    with requests.Session() as session:
        yield session


def is_known_part_valid(case: Case[Any]) -> bool:
    """Whether a query says, besides names unknown to the document, all that it must."""
    described = parameters(case.method.lower(), case.path)
    rows = map(resolve, DOCUMENT["paths"][case.path][case.method.lower()].get("parameters", ()))
    required = [row["name"] for row in rows if row.get("required")]
    known = {name: value for name, value in case.query.items() if name in described}
    schema = {"type": "object", "properties": described, "required": required}
    return jsonschema_rs.is_valid(schema, known)


def may_be_blank(case: Case[Any]) -> bool:
    """Whether a request asks for silence where its text is empty, which it then may be."""
    given: Any = case.query if case.method in ("GET", "HEAD") else case.body
    return isinstance(given, dict) and given.get("empty") == "silence" and not str(given.get("text", "x")).strip()


def check(case: Case[Any], response: Any) -> None:
    """Fail where the answer is not as the document says, or refuses what it allows."""
    # Servers of vits-simple-api's protocol pass over what they do not know, which the document cannot say of a query.
    tolerant = f"{case.path}/".startswith(vits_simple_api.PREFIX) and case.method == "GET"
    if (tolerant and is_known_part_valid(case)) or may_be_blank(case):
        case.validate_response(response, excluded_checks=[positive_data_acceptance, negative_data_rejection])
    else:
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
    assert case.meta is not None
    if case.meta.generation.mode.is_positive and response.status_code == 400 and response.content:
        answer = response.json()
        if f"{case.path}/".startswith(vits_simple_api.PREFIX):
            assert re.search(BEYOND_THE_VOICES, answer["message"]), answer["message"]
            return
        error = answer["error"]
        if "inverse of length_scale" in error["message"]:
            assert {"speed", "length_scale"} <= set(case.query)
        elif "no blank at the ends" in error["message"]:
            body: Any = case.body
            assert any(written != written.strip() for written in body["replace"])
        else:
            assert error["code"] in BEYOND_THE_DOCUMENT, f"the document allows what is refused: {error}"


@schema.parametrize()
def test_every_answer_is_as_the_document_says(
    case: Case[Any], small_server: RunningServer, session: requests.Session
) -> None:
    response = case.call(base_url=small_server.url, session=session, timeout=30)
    check(case, response)
    assert case.meta is not None
    if case.meta.generation.mode.is_positive and response.status_code == 404:
        # The document cannot know who is loaded; somebody is.
        given: Any = case.query if case.method in ("GET", "HEAD") else case.body
        if "id" in case.path_parameters:
            case.path_parameters["id"] = KNOWN_NAMES["speaker"]
        given.update({name: known for name, known in KNOWN_NAMES.items() if name in given})
        response = case.call(base_url=small_server.url, session=session, timeout=30)
        assert response.status_code != 404
        check(case, response)


def test_the_server_gives_the_document(small_server: RunningServer) -> None:
    assert small_server.get_json("/openapi.json") == (200, DOCUMENT)


# The page that shows it


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page in Chromium."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def docs(page: Page, small_server: RunningServer) -> Page:
    """The page, with the document in it."""
    page.goto(f"{small_server.url}/docs")
    page.wait_for_selector("section.route")
    return page


def test_docs_shows_every_operation_parameter_and_code(docs: Page) -> None:
    text = docs.inner_text("main")
    shown = {tuple(heading.split()) for heading in docs.locator("section.route h3").all_inner_texts()}
    assert shown == {(method.upper(), path) for method, path in OPERATIONS}
    for name in (*PARAMETERS, *openai.PARAMETERS, "Range", "If-None-Match", "X-Dropped-Count"):
        assert name in text
    assert "number from 0.25 to 4" in text
    for code in STATUS_OF.keys() - {"method_not_allowed"}:
        assert code in text


def test_docs_needs_nothing_from_elsewhere(page: Page, small_server: RunningServer) -> None:
    complaints: list[str] = []
    asked_for: set[str] = set()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked_for.add(request.url))
    response = page.goto(f"{small_server.url}/docs")
    page.wait_for_selector("section.route")
    assert response is not None
    assert "'unsafe" not in response.headers["content-security-policy"]
    paths = ("docs", "openapi.json", "web/page.css", "web/docs.css", "web/docs.js")
    assert asked_for - {"data:,"} == {f"{small_server.url}/{path}" for path in paths}
    assert complaints == []


def test_docs_fits_a_narrow_screen_and_follows_the_colour_scheme(docs: Page) -> None:
    docs.set_viewport_size({"width": 360, "height": 640})
    assert docs.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    colours = []
    for scheme in ("light", "dark"):
        docs.emulate_media(color_scheme=scheme)
        colours.append(docs.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
