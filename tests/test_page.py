"""The page in a real, headless Chromium, against real servers: what is clicked, heard, shown and sent."""

import io
import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pytest
import soundfile
from playwright.sync_api import Browser, Page, Response, Route, expect

from service import pages
from tests.conftest import ROOT, RunningServer, StartServer, free_port, running_servers, write_models
from tests.waiting import wait_until

TIMEOUT_S = 120
SCREENSHOTS = ROOT / "tests/screenshots"
HELLO = "Hello from two small cores."
LONG = HELLO * (4096 // len(HELLO))
"""As long as a text may be, so that it is still being made when it begins to sound."""
PLAY_TO_THE_END = """() => new Promise((resolve, reject) => {
    const audio = document.querySelector("audio");
    audio.onended = () => resolve({duration: audio.duration, position: audio.currentTime});
    audio.onerror = () => reject(new Error(audio.error.message));
    audio.play().catch(reject);
})"""
# Relative luminance and contrast as WCAG 2.2 defines them, of every visible piece of text on what lies behind it.
CONTRASTS = """() => {
    const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const luminance = (colour) => {
        const [r, g, b] = parts(colour).map((value) => linear(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (parts(colour)[3] !== 0) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
    return Array.from(document.querySelectorAll("body *"))
        .filter((element) => element.checkVisibility() && !element.closest(":disabled, [aria-disabled=true], .unseen"))
        .filter((element) => element.matches("input, textarea, select") || Array.from(element.childNodes).some(isText))
        .map((element) => {
            const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
            return [element.outerHTML.slice(0, 60), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
        });
}"""
# Chromium prints a violation only to the console; this keeps what was violated, for page.evaluate("violations").
NOTE_VIOLATIONS = """
    globalThis.violations = [];
    addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective), true);
"""
SMALL_TARGETS = """() => Array.from(document.querySelectorAll("button, input, select, textarea, a"))
    .filter((element) => element.checkVisibility())
    .map((element) => [element.outerHTML.slice(0, 60), element.getBoundingClientRect()])
    .filter(([_, {width, height}]) => width < 44 || height < 44)
    .map(([html, {width, height}]) => `${html}: ${width} x ${height}`)"""


@dataclass
class Visit:
    """A page that is open in a browser of its own, and what it has done."""

    page: Page
    server: RunningServer
    path: str = ""
    """Where a proxy has the service, without a slash at its end."""
    requests: list[str] = field(default_factory=list)
    responses: list[Response] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Errors of the script and lines of the console; refused requests are there too, as "Failed to load resource"."""

    def open(self, fragment: str = "") -> None:
        """Open the page, and wait until it knows the voices."""
        self.page.goto(f"{self.server.url}{self.path}/{fragment}")
        expect(self.page.locator("#speak")).to_be_enabled()

    def speak(self, text: str, speaker: str = "solo") -> None:
        """Choose a voice, type, and click; the sound has begun when this returns."""
        self.page.get_by_label("Voice", exact=True).select_option(speaker)
        self.page.get_by_label("Text", exact=True).fill(text)
        self.page.get_by_role("button", name="Speak").click()
        expect(self.page.get_by_text("First sound after")).to_be_visible()

    def speak_to_the_end(self, text: str, speaker: str = "solo") -> None:
        """The same, until there is nothing more to hear."""
        self.speak(text, speaker)
        self.expect_status("Ready to replay")

    def expect_status(self, words: str) -> None:
        """Wait until the page says so."""
        expect(self.page.locator("#status")).to_have_text(words)

    def expect_fault(self, words: str) -> None:
        """Wait until the page says that this is wrong."""
        expect(self.page.get_by_role("alert")).to_contain_text(words)

    def spoken(self) -> list[Response]:
        """The answers of /speak so far."""
        return [response for response in self.responses if urlsplit(response.url).path == f"{self.path}/speak"]


Visitor = Callable[..., Visit]


@dataclass
class Answer:
    """One answer of a server, read to its end."""

    status: int
    headers: Message
    body: bytes


def answer_to(server: RunningServer, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer to a request whose path is sent as it stands; urllib and browsers would tidy it."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)) as connection:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """How long expect() waits, on a busy machine too."""
    expect.set_options(timeout=1000 * TIMEOUT_S)
    yield
    expect.set_options(timeout=5000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that all tests share which don't change it."""
    folder = tmp_path_factory.mktemp("server")
    with running_servers(folder, write_models(folder)) as start:
        yield start()


@pytest.fixture
def under_a_path(
    needs_program: Callable[[str, str], str], tmp_path: Path
) -> Iterator[Callable[[str, int], RunningServer]]:
    """Starts nginx, which has the server of a port under a path and takes that path off its requests."""
    program = needs_program("nginx", "nginx")
    with ExitStack() as started:

        def start(path: str, upstream_port: int) -> RunningServer:
            proxy = f"proxy_pass http://127.0.0.1:{upstream_port}/; proxy_http_version 1.1; proxy_buffering off;"
            folders = " ".join(
                f"{name}_temp_path {tmp_path};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            port, settings = free_port(), tmp_path / "nginx.conf"
            settings.write_text(
                ("user root;\n" if os.geteuid() == 0 else "")
                + f"daemon off; pid {tmp_path}/nginx.pid; events {{}}\n"
                + f"http {{ {folders} access_log off; server {{ listen 127.0.0.1:{port};\n"
                + f"location {path}/ {{ {proxy} }} }} }}\n"
            )
            command = [program, "-c", str(settings), "-e", str(tmp_path / "nginx.log")]
            process = started.enter_context(subprocess.Popen(command))
            started.callback(process.terminate)
            server = RunningServer(process, port, tmp_path / "nginx.log")
            wait_until(lambda: process.poll() is not None or listens(port))
            assert process.poll() is None, server.log
            return server

        yield start


def listens(port: int) -> bool:
    """Whether a process listens at the port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def visit(browser: Browser, server: RunningServer) -> Iterator[Visitor]:
    """Opens the page; in the end it must have asked nobody but its server, and have nothing to complain about."""
    visits: list[Visit] = []

    def open_page(at: RunningServer = server, fragment: str = "", path: str = "", **options: Any) -> Visit:
        context = browser.new_context(**{"locale": "en-GB", **options})
        context.add_init_script(NOTE_VIOLATIONS)
        visited = Visit(context.new_page(), at, path)
        visits.append(visited)
        page = visited.page
        page.on("request", lambda request: visited.requests.append(request.url))
        page.on("response", lambda response: visited.responses.append(response))
        page.on("console", lambda message: visited.complaints.append(message.text))
        page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        visited.open(fragment)
        return visited

    yield open_page
    for visited in visits:
        visited.page.context.close()
        origins = {"{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in visited.requests}
        assert origins - {"data://", "blob://"} == {visited.server.url}
        assert [text for text in visited.complaints if not text.startswith("Failed to load resource")] == []


def seconds(page: Page, name: str) -> float:
    """One of the figures below the recording."""
    group = page.locator("#figures div").filter(has=page.get_by_text(name, exact=True))
    return float(group.locator("dd").inner_text().removesuffix(" s"))


# Speaking and hearing


def test_an_audio_tag_of_any_page_plays_the_speech_to_its_end(browser: Browser, server: RunningServer) -> None:
    url = f"{server.url}/speak?text=Hello+from+two+small+cores.&speaker=solo"
    with urlopen(url) as response:
        expected_s = soundfile.info(io.BytesIO(response.read())).duration
    page = browser.new_page()
    page.set_content(f'<audio src="{url.replace("&", "&amp;")}"></audio>')
    played = page.evaluate(PLAY_TO_THE_END)
    page.close()
    assert expected_s > 0.3
    assert played["duration"] == pytest.approx(expected_s, abs=0.05)
    assert played["position"] == pytest.approx(expected_s, abs=0.05)


def test_what_is_typed_is_spoken_and_lasts_as_long_as_the_server_says(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end("This was never said before.")
    replay = visited.page.evaluate(PLAY_TO_THE_END)
    with urlopen(visited.spoken()[-1].url) as response:
        expected_s = float(response.headers["X-Duration"])
    assert expected_s > 0.3
    assert visited.page.evaluate("recording.samples / recording.rateHz") == pytest.approx(expected_s, abs=0.001)
    assert replay["duration"] == pytest.approx(expected_s, abs=0.001)
    assert seconds(visited.page, "Length") == pytest.approx(expected_s, abs=0.01)
    assert seconds(visited.page, "First sound after") > 0
    assert seconds(visited.page, "Real-time factor") > 0


def test_the_sound_begins_while_the_rest_is_still_being_made(visit: Visitor) -> None:
    visited = visit()
    visited.speak(LONG)
    assert visited.server.get_json("/health")[1]["waiting"] == 1
    visited.expect_status("Speaking")
    expect(visited.page.get_by_role("button", name="Download")).to_be_disabled()
    visited.page.get_by_role("button", name="Stop").click()


def test_stop_ends_the_sound_and_the_synthesis(visit: Visitor) -> None:
    visited = visit()
    kept = visited.server.get_json("/health")[1]["cache"]["recordings"]
    visited.speak(LONG + "Stop!")
    visited.page.get_by_role("button", name="Stop").click()
    visited.expect_status("Stopped")
    wait_until(lambda: visited.server.get_json("/health")[1]["waiting"] == 0)
    assert visited.server.get_json("/health")[1]["cache"]["recordings"] == kept
    assert visited.page.evaluate("context.state") == "suspended"


def test_pause_holds_the_sound_where_it_is(visit: Visitor) -> None:
    visited = visit()
    visited.speak(HELLO * 5)
    visited.page.get_by_role("button", name="Pause").click()
    visited.expect_status("Paused")
    before = visited.page.evaluate("positionS(recording)")
    visited.page.wait_for_timeout(300)
    assert visited.page.evaluate("positionS(recording)") == before
    visited.page.get_by_role("button", name="Play").click()
    visited.expect_status("Ready to replay")


def test_the_replay_comes_from_the_cache(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end("This is only made once.")
    turns = visited.server.get_json("/health")[1]["turns"]
    visited.page.get_by_role("button", name="Play").click()
    visited.expect_status("Speaking")
    visited.expect_status("Ready to replay")
    first, *others = visited.spoken()
    assert first.headers["x-cache"] == "miss"
    assert others
    assert {response.headers["x-cache"] for response in others} == {"hit"}
    assert visited.server.get_json("/health")[1]["turns"] == turns


def test_speaking_the_same_again_says_that_it_came_from_the_cache(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end("Once and once more.")
    visited.speak_to_the_end("Once and once more.")
    expect(visited.page.locator("#figures")).to_contain_text("from the cache")


def test_when_the_sound_runs_dry_more_is_saved_up_before_it_goes_on(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end(HELLO)
    states = visited.page.evaluate(
        """async () => {
            const live = new Live(16000, () => {});
            const states = [];
            const add = async (seconds) => {
                live.add(new Float32Array(16000 * seconds));
                states.push([live.pieces.length, live.lengthS]);
                const sounds = () => live.freeAt >= live.context.currentTime && live.lengthS < 2;
                while (sounds()) await new Promise(requestAnimationFrame);
            };
            for (const seconds of [0.25, 0.25, 0.25, 0.5, 0.25, 1.75]) await add(seconds);
            live.silence();
            return states;
        }"""
    )
    assert states == [[1, 0.25], [1, 0.25], [1, 0.25], [4, 1.25], [4, 1.25], [6, 3.25]]


def test_seeking_goes_on_from_there(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end(HELLO * 3)
    length_s = seconds(visited.page, "Length")
    visited.page.get_by_label("Position").fill(str(round(length_s / 2, 2)))
    expect(visited.page.locator("#time")).to_have_text(re.compile(rf"0:{length_s / 2:04.1f} / "))
    visited.page.get_by_role("button", name="Play").click()
    visited.expect_status("Ready to replay")
    played = visited.page.evaluate("Array.from({length: audio.played.length}, (_, i) => audio.played.start(i))")
    assert played == [pytest.approx(length_s / 2, abs=0.1)]


def test_seeking_while_it_first_sounds_hands_over_to_the_finished_file(visit: Visitor) -> None:
    visited = visit()
    visited.speak(HELLO * 8)
    expect(visited.page.get_by_label("Position")).to_be_enabled()
    end_s = seconds(visited.page, "Length") - 0.5
    visited.page.get_by_label("Position").fill(f"{end_s:.2f}")
    visited.expect_status("Ready to replay")
    assert visited.page.evaluate("[audio.played.length, audio.played.start(0)]") == [1, pytest.approx(end_s, abs=0.1)]


def test_a_new_text_ends_the_one_before(visit: Visitor) -> None:
    visited = visit()
    visited.speak(LONG + "Not to the end.")
    visited.speak_to_the_end("The next one.")
    assert visited.server.get_json("/health")[1]["waiting"] == 0
    assert seconds(visited.page, "Length") < 10


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac"])
def test_the_recording_can_be_downloaded(visit: Visitor, tmp_path: Path, name: str) -> None:
    visited = visit()
    visited.speak_to_the_end(HELLO)
    visited.page.get_by_label("Format").select_option(name)
    with visited.page.expect_download() as waiting:
        visited.page.get_by_role("button", name="Download").click()
    visited.expect_status("Saved")
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == f"solo-Hello-from-two-small-cores.{name}"
    assert soundfile.info(path).duration == pytest.approx(seconds(visited.page, "Length"), abs=0.1)


def test_characters_that_cannot_be_spoken_are_named(visit: Visitor) -> None:
    visited = visit()
    visited.speak("Snow ☃☃ and nothing \u3164.")
    dropped = visited.page.locator("#dropped")
    expect(dropped).to_have_text("3 characters could not be spoken: ☃ ×2  U+3164")
    visited.speak("Only words.")
    expect(dropped).to_be_hidden()


# The form


def test_every_voice_with_its_languages_can_be_chosen(visit: Visitor) -> None:
    visited = visit()
    speakers = visited.server.get_json("/speakers")[1]
    options = visited.page.locator("#voice option")
    assert options.evaluate_all("all => all.map(({value}) => value)") == [row["id"] for row in speakers["speakers"]]
    assert visited.page.locator("#voice").input_value() == speakers["default"]
    languages = visited.page.locator("#lang option").all_inner_texts()
    assert languages == ["Automatic", "Chinese", "Japanese", "Korean", "English"]


def test_a_voice_of_several_languages_does_not_keep_the_one_language_of_the_voice_before(visit: Visitor) -> None:
    visited = visit()
    page = visited.page

    def with_one_language(route: Route) -> None:
        answer = route.fetch()
        described = answer.json()
        described["speakers"][0]["languages"] = ["en"]
        route.fulfill(response=answer, json=described)

    page.route("**/speakers", with_one_language)
    page.reload()
    first, second = (row["id"] for row in visited.server.get_json("/speakers")[1]["speakers"][:2])
    page.locator("#voice").select_option(first)
    expect(page.locator("#lang option")).to_have_text(["English"])
    page.locator("#voice").select_option(second)
    assert page.locator("#lang").input_value() == "auto"
    page.locator("#lang").select_option("ja")
    page.locator("#voice").select_option(visited.server.get_json("/speakers")[1]["speakers"][2]["id"])
    assert page.locator("#lang").input_value() == "ja"


def test_the_language_and_the_scales_reach_the_server(visit: Visitor) -> None:
    visited = visit()
    visited.page.get_by_label("Language").select_option("en")
    visited.page.get_by_label("Speed", exact=True).fill("40")
    visited.page.get_by_label("Voice variation, as a number").fill("0.3")
    visited.speak(HELLO, "trio/bob")
    query = parse_qs(urlsplit(visited.spoken()[0].url).query)
    assert query == {
        "text": [HELLO],
        "speaker": ["trio/bob"],
        "lang": ["en"],
        "speed": ["2"],
        "noise_scale": ["0.3"],
        "format": ["wav"],
        "stream": ["true"],
    }


def test_numbers_and_sliders_follow_each_other(visit: Visitor) -> None:
    page = visit().page
    number, slider = page.get_by_label("Speed, as a number"), page.get_by_label("Speed", exact=True)
    assert (number.input_value(), slider.input_value()) == ("1", "30")
    number.fill("9")
    number.blur()
    assert (number.input_value(), slider.input_value()) == ("4", "60")
    slider.press("ArrowLeft")
    assert number.input_value() == "3.9"
    page.get_by_role("button", name="Reset").click()
    assert (number.input_value(), slider.input_value()) == ("1", "30")


def test_another_take_is_another_recording(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end(HELLO)
    visited.page.get_by_role("button", name="Another take").click()
    visited.expect_status("Ready to replay")
    seed = visited.page.get_by_label("Seed").input_value()
    first, last = visited.spoken()[0], [answer for answer in visited.spoken() if "stream" in answer.url][-1]
    assert last.headers["x-seed"] == seed
    assert first.headers["x-seed"] != seed


def test_the_sample_follows_the_language_until_something_is_typed(visit: Visitor) -> None:
    page = visit().page
    text, language = page.get_by_label("Text", exact=True), page.get_by_label("Language")
    assert text.input_value().startswith("Good morning.")
    language.select_option("ja")
    assert text.input_value().startswith("おはよう")
    text.fill("Mine.")
    language.select_option("zh")
    assert text.input_value() == "Mine."


def test_characters_are_counted_against_the_limit(visit: Visitor) -> None:
    visited = visit()
    visited.page.get_by_label("Text", exact=True).fill("😀" * 4096)
    expect(visited.page.locator("#count")).to_have_text("4096 of 4096 characters")
    visited.page.get_by_label("Text", exact=True).fill("😀" * 4097)
    visited.page.get_by_role("button", name="Speak").click()
    visited.expect_fault("The text is too long: 4097 characters, and at most 4096 are allowed.")
    assert visited.spoken() == []


def test_a_text_that_no_query_can_hold_is_not_sent(visit: Visitor) -> None:
    visited = visit()
    visited.page.evaluate("() => { limit = 20000; }")
    visited.page.get_by_label("Text", exact=True).fill("雪" * 8000)
    visited.page.get_by_role("button", name="Speak").click()
    visited.expect_fault("The text is too long.")
    assert visited.spoken() == []


# Links


def test_a_link_brings_back_every_setting_and_says_nothing_by_itself(visit: Visitor) -> None:
    sender = visit(permissions=["clipboard-read", "clipboard-write"])
    settings = {
        "Text": "One & two = 三?\n#4 + 5%",
        "Speed, as a number": "1.23",
        "Voice variation, as a number": "0.25",
        "Rhythm variation, as a number": "1.5",
        "Seed": "77",
    }
    sender.page.get_by_label("Voice", exact=True).select_option("trio/carol")
    sender.page.get_by_label("Language").select_option("zh")
    for label, value in settings.items():
        sender.page.get_by_label(label, exact=True).fill(value)
    sender.page.get_by_role("button", name="Copy link").click()
    expect(sender.page.locator("#status")).to_contain_text("Link copied")
    link = urlsplit(sender.page.evaluate("navigator.clipboard.readText()"))
    assert link.query == ""

    receiver = visit(fragment=f"#{link.fragment}")
    assert receiver.page.get_by_label("Voice", exact=True).input_value() == "trio/carol"
    assert receiver.page.get_by_label("Language").input_value() == "zh"
    for label, value in settings.items():
        assert receiver.page.get_by_label(label, exact=True).input_value() == value
    assert receiver.spoken() == []
    assert [url for url in receiver.requests if "%E4%B8%89" in url.partition("#")[0]] == []
    receiver.page.get_by_role("button", name="Speak").click()
    receiver.expect_status("Speaking")


def test_a_link_can_be_opened_over_another_one(visit: Visitor) -> None:
    page = visit(fragment="#text=One.&speaker=trio/bob&speed=2").page
    page.goto(page.url.partition("#")[0] + "#text=Two.&speaker=solo&speed=3")
    expect(page.get_by_label("Text", exact=True)).to_have_value("Two.")
    assert page.get_by_label("Voice", exact=True).input_value() == "solo"
    assert page.get_by_label("Speed, as a number").input_value() == "3"


def test_a_link_that_makes_no_sense_leaves_the_form_usable(visit: Visitor) -> None:
    visited = visit(fragment="#speaker=nobody&lang=xx&speed=99&noise_scale=loud&seed=minus")
    assert visited.page.get_by_label("Speed, as a number").input_value() == "4"
    assert visited.page.get_by_label("Voice variation, as a number").input_value() == "0.667"
    assert visited.page.get_by_label("Seed").input_value() == ""
    visited.speak(HELLO)


def test_without_a_clipboard_the_link_can_be_copied_by_hand(visit: Visitor) -> None:
    page = visit().page
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_label("Link to these settings")).to_have_value(re.compile(r"/#text=Good\+morning"))


# What can go wrong


def test_an_empty_text_is_not_sent(visit: Visitor) -> None:
    visited = visit()
    visited.page.get_by_label("Text", exact=True).fill(" \n")
    visited.page.get_by_role("button", name="Speak").click()
    visited.expect_fault("There is nothing to say yet.")
    assert visited.spoken() == []


def test_the_servers_refusal_is_told_and_goes_with_the_next_text(visit: Visitor) -> None:
    visited = visit()
    visited.page.get_by_label("Text", exact=True).fill("☃")
    visited.page.get_by_role("button", name="Speak").click()
    visited.expect_fault("Nothing in this text can be spoken by this voice.")
    visited.expect_status("Nothing has been spoken yet")
    visited.speak(HELLO)
    expect(visited.page.locator("#fault")).to_be_hidden()


def test_a_busy_server_can_be_asked_again(visit: Visitor, tmp_path: Path) -> None:
    with running_servers(tmp_path, write_models(tmp_path, "max_waiting = 1")) as start:
        server = start()
        first, second = visit(server), visit(server)
        first.speak(LONG)
        second.page.get_by_label("Text", exact=True).fill("Me too.")
        second.page.get_by_role("button", name="Speak").click()
        second.expect_fault("The server is busy with other texts.")
        retry = second.page.locator("#retry")
        expect(retry).to_have_text(re.compile("Try again in . s"))
        expect(retry).to_be_disabled()
        first.page.get_by_role("button", name="Stop").click()
        expect(retry).to_have_text("Try again")
        wait_until(lambda: server.get_json("/health")[1]["waiting"] == 0)
        retry.click()
        second.expect_status("Ready to replay")
        expect(second.page.locator("#fault")).to_be_hidden()


def test_a_server_that_dies_while_it_speaks_and_one_that_is_gone_are_told_apart(
    visit: Visitor, start_server: StartServer
) -> None:
    server = start_server()
    visited = visit(server)
    visited.speak(LONG)
    server.process.kill()
    visited.expect_fault("The connection broke before the end.")
    visited.expect_status("Stopped")
    visited.page.get_by_role("button", name="Speak").click()
    visited.expect_fault("The server cannot be reached.")


def test_a_key_is_asked_for_and_kept_out_of_links(visit: Visitor, start_server: StartServer) -> None:
    visited = visit(start_server(SPEAK_API_KEY="open-sesame"))
    visited.page.get_by_label("Text", exact=True).fill(HELLO)
    visited.page.get_by_role("button", name="Speak").click()
    visited.expect_fault("This server wants an API key.")
    visited.page.get_by_label("API key").fill("wrong")
    visited.page.get_by_role("button", name="Use this key").click()
    visited.expect_fault("This API key is not the right one.")
    visited.page.get_by_label("API key").fill("open-sesame")
    visited.page.keyboard.press("Enter")
    visited.expect_status("Ready to replay")
    assert visited.page.evaluate(PLAY_TO_THE_END)["duration"] > 0.3
    assert not any("open-sesame" in url for url in visited.requests if "stream=true" in url)
    assert "open-sesame" not in visited.page.evaluate("linkToThis()")

    visited.open()
    visited.speak_to_the_end("After a reload the tab still knows it.")
    assert visited.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert visited.page.context.cookies() == []
    other_tab = visited.page.context.new_page()
    other_tab.goto(visited.server.url)
    assert other_tab.evaluate("apiKey") is None


def test_the_policy_lets_text_go_nowhere_else(visit: Visitor) -> None:
    visited = visit()
    elsewhere = visited.server.url.replace("127.0.0.1", "localhost")
    refused = visited.page.evaluate(
        """(url) => new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
            fetch(url).catch(() => {});
        })""",
        f"{elsewhere}/speakers",
    )
    assert refused == "connect-src"
    assert any("Content Security Policy" in text for text in visited.complaints)
    visited.complaints.clear()
    visited.requests[:] = [url for url in visited.requests if not url.startswith(elsewhere)]


# The files and their policy


def open_docs(visited: Visit) -> None:
    """Go to /docs, and wait until it shows the description."""
    visited.page.goto(f"{visited.server.url}{visited.path}/docs")
    expect(visited.page.locator("section.route").last).to_be_visible()


def test_the_page_keeps_to_its_policy_whatever_it_shows(visit: Visitor) -> None:
    visited = visit()
    visited.speak_to_the_end("Snow ☃ here.")
    visited.page.get_by_label("Speed", exact=True).press("ArrowLeft")
    visited.page.get_by_role("button", name="Copy link").click()
    with visited.page.expect_download():
        visited.page.get_by_role("button", name="Download").click()
    visited.page.evaluate("showFault(new Fault('unauthorized'))")
    assert visited.page.evaluate("violations") == []
    assert visited.complaints == []


def test_docs_keeps_to_its_policy(visit: Visitor) -> None:
    visited = visit()
    open_docs(visited)
    assert visited.page.evaluate("violations") == []
    assert visited.complaints == []


@pytest.mark.parametrize(
    ("inline", "violated"),
    [
        ("Object.assign(document.createElement('style'), {textContent: '* { color: red }'})", "style-src-elem"),
        ("Object.assign(document.createElement('script'), {textContent: 'apiKey = 1'})", "script-src-elem"),
        ("Object.assign(document.createElement('script'), {src: 'data:text/javascript,apiKey=1'})", "script-src-elem"),
    ],
)
def test_the_policy_forbids_what_no_file_of_the_server_holds(visit: Visitor, inline: str, violated: str) -> None:
    visited = visit()
    visited.page.evaluate(f"() => {{ document.head.append({inline}); }}")
    wait_until(lambda: visited.page.evaluate("violations") == [violated])
    assert visited.page.evaluate("apiKey") is None
    visited.complaints.clear()


def test_the_pages_load_every_file_that_is_served_and_a_second_time_none(visit: Visitor, server: RunningServer) -> None:
    visited = visit()
    open_docs(visited)
    loaded = {urlsplit(url).path for url in visited.requests if url.startswith(server.url)} - {"/speakers"}
    assert loaded == {*pages.DOCUMENTS, *(f"/web/{name}" for name in pages.ASSETS)}
    for path in sorted(loaded):
        first = answer_to(server, "GET", path)
        again = answer_to(server, "GET", path, {"If-None-Match": first.headers["ETag"]})
        assert (first.status, again.status, again.body) == (200, 304, b""), path
        assert again.headers["ETag"] == first.headers["ETag"]


def test_a_head_request_for_a_file_gets_its_headers_alone(server: RunningServer) -> None:
    for path in (*pages.DOCUMENTS, *(f"/web/{name}" for name in pages.ASSETS)):
        whole, head = answer_to(server, "GET", path), answer_to(server, "HEAD", path)
        assert (head.status, head.body) == (200, b"")
        for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control", "Content-Security-Policy"):
            assert head.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    "path",
    [
        "/web/../pages.py",
        "/web/../../server.py",
        "/web/..%2fpages.py",
        "/web/%2e%2e/pages.py",
        "/web/..%5cpages.py",
        "/web//etc/passwd",
        "/web/%2fetc%2fpasswd",
        "/web/page.css%00",
        "/web/page.css/",
        "/web/page.html",
        "/web/page.png",
        "/web/unknown.js",
        "/web/",
        "/web",
        "/service/web/page.css",
    ],
)
def test_no_other_file_can_be_asked_for(server: RunningServer, path: str) -> None:
    answer = answer_to(server, "GET", path)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (404, "unknown_path")


def test_the_pages_work_under_a_path_of_a_proxy(
    visit: Visitor, server: RunningServer, under_a_path: Callable[[str, int], RunningServer]
) -> None:
    visited = visit(under_a_path("/voice/tts", server.port), path="/voice/tts")
    visited.speak_to_the_end("Behind a path.")
    assert visited.page.evaluate(PLAY_TO_THE_END)["duration"] > 0.3
    assert visited.page.locator("header svg").bounding_box() == {"x": ANY, "y": ANY, "width": 28, "height": 28}
    visited.page.get_by_role("link", name="API").click()
    expect(visited.page.locator("section.route").last).to_be_visible()
    paths = {urlsplit(url).path for url in visited.requests if not url.startswith(("data:", "blob:"))}
    assert {path for path in paths if not path.startswith("/voice/tts/")} == set()
    assert "/voice/tts/web/docs.js" in paths


# Looks and access


def test_the_keyboard_speaks_and_stops(visit: Visitor) -> None:
    visited = visit()
    text = visited.page.get_by_label("Text", exact=True)
    text.fill(LONG + "By hand.")
    text.press("Control+Enter")
    visited.expect_status("Speaking")
    visited.page.keyboard.press("Escape")
    visited.expect_status("Stopped")
    wait_until(lambda: visited.server.get_json("/health")[1]["waiting"] == 0)


def test_everything_that_can_be_used_has_a_name(visit: Visitor) -> None:
    page = visit().page
    controls = page.locator("button:visible, input:visible, select:visible, textarea:visible, a:visible")
    assert controls.count() > 15
    for control in controls.all():
        expect(control).to_have_accessible_name(re.compile(r"\w"))
    assert page.get_by_role("status").count() >= 1


def test_legado_gets_a_link_and_its_code_for_the_chosen_voice(visit: Visitor) -> None:
    visited = visit()
    page = visited.page
    page.get_by_text("Read novels with this voice in Legado").click()
    for voice in ("solo", "trio/bob"):
        page.get_by_label("Voice", exact=True).select_option(voice)
        link = page.get_by_role("link", name="Import into Legado").get_attribute("href")
        source = parse_qs(urlsplit(str(link)).query)["src"][0]
        assert str(link).startswith("legado://import/httpTTS?src=http")
        assert parse_qs(urlsplit(source).query) == {"speaker": [voice]}
        assert json.loads(page.evaluate("(url) => fetch(url).then((answer) => answer.text())", source))["url"]
        page.wait_for_function("document.getElementById('legado-code').naturalWidth > 100")
        assert parse_qs(urlsplit(str(page.locator("#legado-code").get_attribute("src"))).query) == {"speaker": [voice]}
    expect(page.get_by_text("This address works on this machine only.")).to_be_visible()


def test_the_interface_is_chinese_where_the_browser_is(visit: Visitor) -> None:
    english, chinese = visit(), visit(locale="zh-CN")
    expect(chinese.page.get_by_role("button", name="朗读")).to_be_enabled()
    assert english.page.locator("html").get_attribute("lang") == "en"
    assert chinese.page.locator("html").get_attribute("lang") == "zh-CN"
    words = "all => all.map((element) => element.textContent)"
    names = "all => all.map((element) => element.ariaLabel ?? element.placeholder)"
    for selector, read in (("[data-t]", words), ("[data-t-label], [data-t-placeholder]", names)):
        texts = chinese.page.locator(selector).evaluate_all(read)
        assert len(texts) > 3
        assert [text for text in texts if not re.search("[\u4e00-\u9fff]", text)] == []
    assert chinese.page.get_by_label("语言").locator("option").all_inner_texts()[:2] == ["自动", "中文"]


def test_every_message_of_the_page_is_there_in_chinese(visit: Visitor) -> None:
    source = (ROOT / "service/web/page.js").read_text()
    used = set(re.findall(r'\b(?:t|say)\(\s*"([^"]+)"', source)) | set(re.findall(r'\? "([A-Z][^"]+)" : "', source))
    meanings, known = visit().page.evaluate("[Object.values(MEANINGS), Object.keys(CHINESE)]")
    assert len(used) > 10
    assert (used | set(meanings)) - set(known) == set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(visit: Visitor, scheme: str) -> None:
    visited = visit(color_scheme=scheme)
    visited.speak("Snow ☃ in a winter's night.")
    visited.page.get_by_role("button", name="Stop").click()
    visited.page.get_by_label("Text", exact=True).fill("x" * 4097)
    visited.page.get_by_role("button", name="Speak").click()
    visited.page.evaluate("showFault(new Fault('unauthorized'))")
    visited.page.wait_for_timeout(300)  # The buttons' colours take 0.15 s to change.
    ground = visited.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", ground)[0])
    assert red > 200 if scheme == "light" else red < 50
    contrasts = visited.page.evaluate(CONTRASTS)
    assert len(contrasts) > 30
    assert [(element, ratio) for element, ratio in contrasts if ratio < 4.5] == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_a_narrow_screen_has_no_sideways_scroll_and_room_for_fingers(visit: Visitor, width: int) -> None:
    visited = visit(viewport={"width": width, "height": 640}, has_touch=True, locale="en-GB")
    visited.speak_to_the_end("Snow ☃ and " + "a" * 60)
    visited.page.get_by_role("button", name="Copy link").click()
    visited.page.evaluate("showFault(new Fault('busy', '', 2), () => {})")
    assert visited.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visited.page.evaluate(SMALL_TARGETS) == []


def test_nothing_moves_where_motion_is_not_wanted(visit: Visitor) -> None:
    durations = "getComputedStyle(document.querySelector('button')).transitionDuration"
    assert "0.15s" in visit().page.evaluate(durations)
    assert visit(reduced_motion="reduce").page.evaluate(durations) == "0s"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wide", {"viewport": {"width": 1200, "height": 1000}}),
        ("dark", {"viewport": {"width": 1200, "height": 1000}, "color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 320, "height": 640}, "device_scale_factor": 2}),
        ("chinese", {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "locale": "zh-CN"}),
    ],
)
def test_it_can_be_looked_at(visit: Visitor, name: str, options: dict[str, Any]) -> None:
    visited = visit(**options)
    visited.page.locator("#speak").click()
    expect(visited.page.locator("#figures div")).to_have_count(4)
    SCREENSHOTS.mkdir(exist_ok=True)
    visited.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    assert (SCREENSHOTS / f"{name}.png").stat().st_size > 10_000
