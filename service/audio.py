"""The formats of answers: their media types and sample rates, and encoders that work as the samples come."""

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy
import numpy.typing
import soundfile
import soxr

Pcm = numpy.typing.NDArray[numpy.int16]
"""Samples of 16 bits, one channel."""


@dataclass(frozen=True, slots=True)
class Format:
    """One of the formats that an answer can have."""

    media_type: str
    """What an Accept header calls it."""
    container: tuple[str, str] | None = None
    """libsndfile's format and subtype; None: samples as they are, after at most a header."""
    rates_hz: tuple[int, ...] = ()
    """The sample rates that it can have; empty: any."""
    parameters: str = ""
    """Parameters of an answer's media type; they may name the rate."""


FORMATS: Mapping[str, Format] = {
    "wav": Format("audio/wav"),
    "mp3": Format(
        "audio/mpeg", ("MP3", "MPEG_LAYER_III"), (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    ),
    "opus": Format("audio/ogg", ("OGG", "OPUS"), (8000, 12000, 16000, 24000, 48000), "; codecs=opus"),
    "flac": Format("audio/flac", ("FLAC", "PCM_16")),
    "pcm": Format("audio/pcm", parameters=";rate={};channels=1"),
    "pcm24k": Format("audio/pcm", rates_hz=(24000,), parameters=";rate={};channels=1"),
}
"""By the name that a request gives; the first is the default."""

VERSIONS = (soundfile.__libsndfile_version__, soxr.__version__)
"""The versions of the libraries that an encoded file's bytes depend on."""

WAV_HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFFFFFF
"""What a WAV header says while the file is still being made."""
MP3_QUALITY = {"bitrate_mode": "CONSTANT", "compression_level": 0.6}
"""64 kbit/s up to 24 kHz, 160 above. A constant rate tells a player the time in a stream, which has no table of it."""
OGG_PAGE_MS = 200.0
"""How much sound an Ogg page holds: libsndfile's own second would keep a first window back until the next is there."""
OGG_SERIAL = b"vits"
"""The serial number of every Ogg stream. libsndfile draws it at random, but equal requests get equal bytes."""
SET_OGG_PAGE_LATENCY_MS = 0x1302
"""libsndfile's command of that name, which soundfile does not offer."""
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def pcm16(samples: numpy.typing.NDArray[numpy.float32]) -> Pcm:
    """Samples in [-1, 1] as 16-bit ones."""
    return (samples * 32767).round().clip(-32768, 32767).astype(numpy.int16)


def format_rate(name: str, sample_rate_hz: int) -> int:
    """The sample rate that a voice's sound has in a format: its own, else the next higher one, else the highest."""
    rates = FORMATS[name].rates_hz or (sample_rate_hz,)
    return min((rate for rate in rates if rate >= sample_rate_hz), default=max(rates))


def media_type(name: str, sample_rate_hz: int) -> str:
    """The media type of an answer in a format, with its parameters."""
    form = FORMATS[name]
    return form.media_type + form.parameters.format(sample_rate_hz)


def wav_header(sample_rate_hz: int, sound_bytes: int | None = None) -> bytes:
    """The header of a WAV file of 16-bit samples, one channel; None: of one whose size is not known yet."""
    size = UNKNOWN_SIZE if sound_bytes is None else sound_bytes
    riff_size = UNKNOWN_SIZE if sound_bytes is None else sound_bytes + 36
    layout = (b"RIFF", riff_size, b"WAVE", b"fmt ", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *layout)


class Tape:
    """A file for libsndfile to write: what it adds is taken away again, what it writes over is noted.

    It must not raise: cffi would print that and go on.
    """

    def __init__(self) -> None:
        """An empty file."""
        self.position = 0
        self.end = 0
        self.fresh = bytearray()
        self.patches: list[tuple[int, bytes]] = []

    def tell(self) -> int:
        """Where the next bytes go."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go there."""
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.end}[whence]
        return self.position

    def write(self, data: Any) -> int:
        """Add to the end, or note what the file is to have in place of earlier bytes."""
        if self.position == self.end:
            self.fresh += data
            self.end += len(data)
        else:
            self.patches.append((self.position, bytes(data)))
        self.position += len(data)
        return len(data)

    def take(self) -> bytes:
        """What was added since the last time."""
        fresh, self.fresh = bytes(self.fresh), bytearray()
        return fresh


class Encoder:
    """The bytes of one format, as the samples come."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        """The format's name, and the rate of the samples to come."""
        self.name = name
        self.sample_rate_hz = format_rate(name, sample_rate_hz)
        self.n_bytes = 0
        self.tape = Tape()
        self.resampler = None
        self.file = None
        if self.sample_rate_hz != sample_rate_hz:
            self.resampler = soxr.ResampleStream(sample_rate_hz, self.sample_rate_hz, 1, dtype="float32")
        if container := FORMATS[name].container:
            form, subtype = container
            quality = MP3_QUALITY if name == "mp3" else {}
            self.file = soundfile.SoundFile(
                self.tape, "w", self.sample_rate_hz, 1, subtype=subtype, format=form, **quality
            )
            if name == "opus":
                latency_ms = soundfile._ffi.new("double *", OGG_PAGE_MS)
                soundfile._snd.sf_command(self.file._file, SET_OGG_PAGE_LATENCY_MS, latency_ms, 8)

    def encode(self, samples: Pcm, *, last: bool = False) -> bytes:
        """What these samples add to the file; some of it may come with the next."""
        sound: numpy.typing.NDArray[Any] = samples
        if self.resampler is not None:
            sound = self.resampler.resample_chunk((samples / 32768).astype(numpy.float32), last=last)
        if self.file is None:
            header = wav_header(self.sample_rate_hz) if self.name == "wav" and not self.n_bytes else b""
            whole = pcm16(sound) if self.resampler is not None else sound
            encoded = header + whole.astype("<i2").tobytes()
        else:
            self.file.write(sound)
            encoded = self.written()
        self.n_bytes += len(encoded)
        return encoded

    def finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The last bytes, and what the finished file has in place of earlier ones: where, and which."""
        rest = self.encode(numpy.zeros(0, numpy.int16), last=True)
        if self.file is None:
            header = wav_header(self.sample_rate_hz, self.n_bytes - WAV_HEADER_BYTES)
            return rest, [(0, header)] if self.name == "wav" else []
        self.file.close()
        return rest + self.written(), self.tape.patches

    def written(self) -> bytes:
        """What libsndfile has made since the last time."""
        fresh = self.tape.take()
        return with_serial(fresh) if self.name == "opus" else fresh


def with_serial(pages: bytes) -> bytes:
    """Whole Ogg pages with the one serial number that ours have, and the checksums that go with it (RFC 3533)."""
    renumbered = bytearray()
    while pages:
        n_segments = pages[26]
        length = 27 + n_segments + sum(pages[27 : 27 + n_segments])
        page = bytearray(pages[:length])
        page[14:18], page[22:26] = OGG_SERIAL, bytes(4)
        # Ogg's checksum is zlib's with the bits of all bytes and of the result in the other order, and without its
        # inversions.
        reflected = zlib.crc32(page.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
        page[22:26] = reflected.to_bytes(4, "big").translate(REVERSED_BITS)
        renumbered += page
        pages = pages[length:]
    return bytes(renumbered)
