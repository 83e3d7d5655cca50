"""A library in a process of its own, by files that stand for it."""

import os
import signal
from pathlib import Path

import pytest

from vits.errors import UnspeakableText
from vits.text import child
from vits.text.child import Child

ECHO = """
import json, os, sys, time
for line in sys.stdin:
    text, voice = json.loads(line)
    if text == "end":
        os._exit(1)
    if text == "hang":
        time.sleep(600)
    print(json.dumps([text, voice, os.getpid()]), flush=True)
"""


@pytest.fixture
def echo(tmp_path: Path) -> Child:
    path = tmp_path / "echo.py"
    path.write_text(ECHO)
    return Child("the library", str(path), lambda: ())


def test_one_process_answers_every_text(echo: Child) -> None:
    first, second = echo.ask("ı\n\u2028", "tr"), echo.ask("b" * 100_000, "en")
    echo.end()
    assert first[:2] == ["ı\n\u2028", "tr"]
    assert second[:2] == ["b" * 100_000, "en"]
    assert first[2] == second[2]


@pytest.mark.parametrize("text", ["end", "hang"])
def test_a_text_that_ends_or_stops_it_is_an_error_and_the_next_one_is_answered(
    echo: Child, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = echo.ask("a", "en")[2]
    monkeypatch.setattr(child, "MAX_SECONDS", 0.2)
    with pytest.raises(UnspeakableText, match="the library fails at this text"):
        echo.ask(text, "en")
    monkeypatch.undo()
    assert echo.ask("b", "en")[2] != before
    echo.end()


def test_a_process_that_ended_between_two_texts_is_started_again(echo: Child) -> None:
    before = echo.ask("a", "en")[2]
    os.kill(before, signal.SIGKILL)
    while Path(f"/proc/{before}/stat").read_text().split()[2] != "Z":
        pass
    assert echo.ask("b", "en")[2] != before
    echo.end()
