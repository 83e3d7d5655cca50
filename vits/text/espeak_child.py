"""espeak-ng in a process of its own: `python espeak_child.py LIBRARY DATA`, driven by vits/text/espeak_program.py.

An answer is the list of the phonemes of a text's clauses, or null where espeak-ng has no such language. See child.py
for the lines; it needs nothing but Python, for it starts without packages.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

_SYNCHRONOUS, _IPA, _CHARACTERS = 2, 2, 1  # AUDIO_OUTPUT_SYNCHRONOUS, espeakPHONEMES_IPA, POS_CHARACTER
_SYNTH_FLAGS = 0x1 | 0x100 | 0x1000  # espeakCHARS_UTF8, espeakPHONEMES, espeakENDPAUSE: those of the program


class _Voice(ctypes.Structure):
    """espeak_VOICE of speak_lib.h."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _Trace:
    """A stream of the C library's into memory."""

    def __enter__(self) -> _Trace:
        self._libc = ctypes.CDLL(None)
        self._libc.open_memstream.restype = ctypes.c_void_p
        self._libc.fclose.argtypes = self._libc.free.argtypes = (ctypes.c_void_p,)
        self._buffer, self._size = ctypes.c_void_p(), ctypes.c_size_t()
        self.stream = self._libc.open_memstream(ctypes.byref(self._buffer), ctypes.byref(self._size))
        return self

    def __exit__(self, *_: object) -> None:
        self._libc.fclose(self.stream)
        self.text = ctypes.string_at(self._buffer, self._size.value).decode()
        self._libc.free(self._buffer)


def _opened(path: str, data: str) -> Any:
    library = ctypes.CDLL(path)
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_SetPhonemeTrace.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.espeak_Synth.argtypes = (
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    )
    library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), 0)  # it ends the process where it cannot
    return library


def _languages(library: Any) -> dict[str, bytes]:
    """The voices by the code of the language that each is foremost for."""
    voices, index = library.espeak_ListVoices(None), 0
    found: dict[str, bytes] = {}
    while voices[index]:
        voice = voices[index].contents
        found.setdefault(voice.languages[1:].decode(), voice.identifier)  # a byte for its priority comes first
        index += 1
    return found


def _lines(library: Any, text: str, voice: bytes) -> list[str]:
    """The phonemes of each clause.

    The text is spoken to nothing, as the program does: the stress of single words and the tones of Chinese become final
    in that, and differ from what the library's own espeak_TextToPhonemes writes.
    """
    written = text.replace("\0", " ").encode()
    library.espeak_SetVoiceByName(voice)
    with _Trace() as trace:
        library.espeak_SetPhonemeTrace(_IPA, trace.stream)
        library.espeak_Synth(written, len(written) + 1, 0, _CHARACTERS, 0, _SYNTH_FLAGS, None, None)
        library.espeak_SetPhonemeTrace(0, None)
    return trace.text.split("\n")


def main(path: str, data: str) -> None:
    """Answer line by line until stdin ends."""
    library = _opened(path, data)
    voices = _languages(library)
    for line in sys.stdin:
        text, language = json.loads(line)
        answer = _lines(library, text, voices[language]) if language in voices else None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
