"""A library in a process of its own, because there are texts that end it: such a text is an error, and no more.

The process is a Python file that needs no packages. Each line of its stdin is a JSON list of a text and a voice; each
line of its stdout is what the library makes of it, as JSON.
"""

from __future__ import annotations

import atexit
import json
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from vits.errors import UnspeakableText

MAX_SECONDS = 10.0
"""How long an answer may take, the start of the process included. They take milliseconds."""


class Child:
    """One such process, which starts with its first text and again with the next one where a text has ended it."""

    def __init__(self, name: str, file: str, arguments: Callable[[], Sequence[str]]) -> None:
        """Take the library's name for messages, the file beside this one, and what finds the file's arguments."""
        self.name = name
        self.file = file
        self.arguments = arguments
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()
        """The process answers one text at a time."""

    def ask(self, text: str, voice: str) -> Any:
        """What the library makes of a text in a voice.

        Raises:
            UnspeakableText: the text has ended the library, or keeps it busy for too long.

        """
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self.end()  # by something else, such as a lack of memory: this text is not to blame
            answer = self._answer(self._process or self._start(), json.dumps([text, voice]))
            if not answer:
                self.end()
                raise UnspeakableText(f"{self.name} fails at this text: {text[:60]}")
        return json.loads(answer)

    def end(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            atexit.unregister(self.end)
            process.kill()
            process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        arguments = self.arguments()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).parent / self.file), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # Ctrl+C is for the server, at whose end this process ends too
        )
        atexit.register(self.end)
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[str], question: str) -> str:
        """The line that the process answers with; nothing where it ends before, or takes too long."""
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return ""
        waiting = select.poll()  # select() takes no descriptor above 1024
        waiting.register(process.stdout, select.POLLIN)
        return process.stdout.readline() if waiting.poll(MAX_SECONDS * 1000) else ""
