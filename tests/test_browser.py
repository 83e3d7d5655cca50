"""What a browser makes of it: a page of one <audio> tag in a real, headless Chromium."""

import io
from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest
import soundfile
from playwright.sync_api import Page, sync_playwright

from tests.conftest import RunningServer, StartServer

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)
PLAY_TO_THE_END = """() => new Promise((resolve, reject) => {
    const audio = document.querySelector("audio");
    audio.onended = () => resolve({duration: audio.duration, position: audio.currentTime});
    audio.onerror = () => reject(new Error(audio.error.message));
    audio.play().catch(reject);
})"""


@pytest.fixture
def page(needs_program: Callable[[str, str], str]) -> Iterator[Page]:
    """An empty page in Chromium."""
    chromium = needs_program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser.new_page()
        browser.close()


def test_an_audio_tag_plays_the_speech_to_its_end(page: Page, start_server: StartServer) -> None:
    server: RunningServer = start_server()
    url = f"{server.url}/speak?text=Hello+from+two+small+cores.&speaker=solo"
    with urlopen(url) as response:
        expected_s = soundfile.info(io.BytesIO(response.read())).duration
    page.set_content(f'<audio src="{url.replace("&", "&amp;")}"></audio>')
    played = page.evaluate(PLAY_TO_THE_END)
    assert expected_s > 0.3
    assert played["duration"] == pytest.approx(expected_s, abs=0.05)
    assert played["position"] == pytest.approx(expected_s, abs=0.05)
