"""espeak-ng as its program prints phonemes, `espeak-ng -q --ipa -v VOICE`: one line for each clause of a text.

The library and its data are inside the espeakng-loader package (GPL-3.0), which is optional; it is a release, 1.52.0.
vits.text.espeak_ng drives Piper's own build, which writes many sounds of German, Italian and Portuguese differently.
"""

from __future__ import annotations

import ctypes
import importlib.util
from functools import cache
from threading import Lock
from typing import Any

from vits.errors import TextError
from vits.text.libraries import PACKAGES, load

NEEDED_FOR = "Text in the phonemes of espeak-ng 1.52"
_SYNCHRONOUS, _IPA, _CHARACTERS = 2, 2, 1  # AUDIO_OUTPUT_SYNCHRONOUS, espeakPHONEMES_IPA, POS_CHARACTER
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: the library would end the process where its data is missing
_SYNTH_FLAGS = 0x1 | 0x100 | 0x1000  # espeakCHARS_UTF8, espeakPHONEMES, espeakENDPAUSE: those of the program
_lock = Lock()
"""The library has one voice at a time."""


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


def missing_packages() -> tuple[str, ...]:
    """The packages to install, as pip takes them, where espeak-ng is not there."""
    return () if importlib.util.find_spec("espeakng_loader") else PACKAGES[NEEDED_FOR]


@cache
def _library() -> Any:
    files = load("espeakng_loader", NEEDED_FOR)
    library = ctypes.CDLL(str(files.get_library_path()))
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    library.espeak_SetPhonemeTrace.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.espeak_Synth.argtypes = (
        *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
        *(ctypes.c_void_p, ctypes.c_void_p),
    )
    data = str(files.get_data_path())
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DO_NOT_EXIT) <= 0:
        raise TextError(f"espeak-ng cannot read its data in {data}")
    return library


@cache
def _languages() -> dict[str, bytes]:
    """espeak-ng's voices by the code of the language that each is foremost for."""
    voices, index = _library().espeak_ListVoices(None), 0
    found: dict[str, bytes] = {}
    while voices[index]:
        voice = voices[index].contents
        found.setdefault(voice.languages[1:].decode(), voice.identifier)  # a byte for its priority comes first
        index += 1
    return found


def lines(text: str, language: str) -> list[str]:
    """The phonemes of each clause. Raises MissingLibrary, and TextError where espeak-ng does not speak the language.

    The text is spoken to nothing, as the program does: the stress of single words and the tones of Chinese become final
    in that, and differ from what the library's own espeak_TextToPhonemes writes.
    """
    written = text.replace("\0", " ").encode()
    with _lock:
        library = _library()
        if language not in _languages():
            raise TextError(f"espeak-ng has no voice {language!r}, which this model needs")
        library.espeak_SetVoiceByName(_languages()[language])
        with _Trace() as trace:
            library.espeak_SetPhonemeTrace(_IPA, trace.stream)
            library.espeak_Synth(written, len(written) + 1, 0, _CHARACTERS, 0, _SYNTH_FLAGS, None, None)
            library.espeak_SetPhonemeTrace(0, None)
    return trace.text.split("\n")


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
