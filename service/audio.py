"""The formats of answers: their media types and sample rates, and encoders that work as the samples come."""

import io
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Protocol

import numpy
import numpy.typing
import soundfile
import soxr

from service.errors import Refusal

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
    codec: tuple[str, str, int] | None = None
    """The container, codec and bits per second of FFmpeg, for a format that libsndfile does not write."""
    package: tuple[str, str] | None = None
    """The optional package that it needs: the name to import and the name to install."""


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
"""What /speak offers, by the name that a request gives; the first is the default."""
PYAV = ("av", "av")
"""FFmpeg's encoders. Optional, because they take 104 MB on disk; see service/requirements-formats.txt."""
EVERY_FORMAT: Mapping[str, Format] = {
    **FORMATS,
    "aac": Format(
        "audio/aac",
        rates_hz=(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
        codec=("adts", "aac", 64_000),
        package=PYAV,
    ),
    "amr": Format("audio/amr", rates_hz=(8000,), codec=("amr", "libopencore_amrnb", 12_200), package=PYAV),
    "silk": Format("audio/silk", rates_hz=(8000, 12000, 16000, 24000), package=("pysilk", "silk-python")),
}
"""Those too that only the clients of other protocols ask for."""
PACKAGES = {form.package for form in EVERY_FORMAT.values() if form.package}

VERSIONS = (
    soundfile.__libsndfile_version__,
    soxr.__version__,
    *sorted(f"{name} {version(name)}" for module, name in PACKAGES if find_spec(module)),
)
"""The versions of the libraries that an encoded file's bytes depend on."""

WAV_HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFFFFFF
"""What a WAV header says while the file is still being made."""
MP3_QUALITY = {"bitrate_mode": "CONSTANT", "compression_level": 0.6}
"""64 kbit/s up to 24 kHz, 160 above. A constant rate tells a player the time in a stream, which has no table of it."""
SILK_BITS_PER_S = 24_000
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


def require_package(name: str) -> None:
    """Raise where a format needs a package that is not installed."""
    package = EVERY_FORMAT[name].package
    if package and not find_spec(package[0]):
        message = f"{name} needs the Python package {package[1]}: pip install -r service/requirements-formats.txt"
        raise Refusal("missing_library", message, parameter="format")


def format_rate(name: str, sample_rate_hz: int) -> int:
    """The sample rate that a voice's sound has in a format: its own, else the next higher one, else the highest."""
    rates = EVERY_FORMAT[name].rates_hz or (sample_rate_hz,)
    return min((rate for rate in rates if rate >= sample_rate_hz), default=max(rates))


def media_type(name: str, sample_rate_hz: int) -> str:
    """The media type of an answer in a format, with its parameters."""
    form = EVERY_FORMAT[name]
    return form.media_type + form.parameters.format(sample_rate_hz)


def wav_header(sample_rate_hz: int, sound_bytes: int | None = None) -> bytes:
    """The header of a WAV file of 16-bit samples with one channel; `sound_bytes` is None while that is unknown."""
    size = UNKNOWN_SIZE if sound_bytes is None else sound_bytes
    riff_size = UNKNOWN_SIZE if sound_bytes is None else sound_bytes + 36
    layout = (b"RIFF", riff_size, b"WAVE", b"fmt ", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *layout)


class Tape:
    """A file in memory that libsndfile or FFmpeg writes.

    New bytes at its end can be taken at once; changes of earlier bytes are listed for the time when it is finished.
    Its methods must not raise: cffi would print the error and continue.
    """

    def __init__(self) -> None:
        """An empty file."""
        self.position = 0
        self.end = 0
        self.fresh = bytearray()
        self.patches: list[tuple[int, bytes]] = []

    def tell(self) -> int:
        """The position at which the next bytes are written."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Change that position."""
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.end}[whence]
        return self.position

    def write(self, data: Any) -> int:
        """Add bytes to the end, or list them as a change of earlier bytes."""
        if self.position == self.end:
            self.fresh += data
            self.end += len(data)
        else:
            self.patches.append((self.position, bytes(data)))
        self.position += len(data)
        return len(data)

    def take(self) -> bytes:
        """The bytes that were added since the last call."""
        fresh, self.fresh = bytes(self.fresh), bytearray()
        return fresh


class Writer(Protocol):
    """An encoder: samples in, the bytes of a file out."""

    def write(self, samples: numpy.typing.NDArray[Any]) -> bytes:
        """What these samples, 16-bit or in [-1, 1], add to the file; some of it may come with the next."""

    def close(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The last bytes, and what the finished file has in place of earlier ones: where, and which."""


class LibsndfileWriter:
    """A file that libsndfile makes."""

    def __init__(self, name: str, container: tuple[str, str], sample_rate_hz: int) -> None:
        """An empty file of the format of that name."""
        form, subtype = container
        self.is_ogg = form == "OGG"
        self.tape = Tape()
        quality = MP3_QUALITY if name == "mp3" else {}
        self.file = soundfile.SoundFile(self.tape, "w", sample_rate_hz, 1, subtype=subtype, format=form, **quality)
        if self.is_ogg:
            latency_ms = soundfile._ffi.new("double *", OGG_PAGE_MS)
            soundfile._snd.sf_command(self.file._file, SET_OGG_PAGE_LATENCY_MS, latency_ms, 8)

    def write(self, samples: numpy.typing.NDArray[Any]) -> bytes:
        """What libsndfile makes of these samples."""
        self.file.write(samples)
        return self.written()

    def close(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The end of the file, and its patches."""
        self.file.close()
        return self.written(), self.tape.patches

    def written(self) -> bytes:
        """What libsndfile has made since the last time."""
        fresh = self.tape.take()
        return with_serial(fresh) if self.is_ogg else fresh


class FfmpegWriter:
    """A file that FFmpeg makes, by PyAV; it is imported here, at first use."""

    def __init__(self, codec: tuple[str, str, int], sample_rate_hz: int) -> None:
        """An empty file."""
        import av

        container, name, bits_per_s = codec
        self.new_frame = av.AudioFrame.from_ndarray
        self.tape = Tape()
        # Each packet is written at once. FFmpeg's own buffer of 32 kB would keep back the first seconds.
        self.file = av.open(self.tape, "w", format=container, options={"flush_packets": "1"})
        stream = self.file.add_stream(name, rate=sample_rate_hz, layout="mono", bit_rate=bits_per_s)
        assert isinstance(stream, av.AudioStream)
        self.stream = stream
        self.n_samples = 0

    def write(self, samples: numpy.typing.NDArray[Any]) -> bytes:
        """What FFmpeg makes of these samples."""
        if len(samples):
            whole = samples if samples.dtype == numpy.int16 else pcm16(samples)
            frame = self.new_frame(whole[None], format="s16", layout="mono")
            frame.sample_rate = self.stream.codec_context.sample_rate
            frame.pts = self.n_samples
            self.n_samples += len(samples)
            self.file.mux(self.stream.encode(frame))
        return self.tape.take()

    def close(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The end of the file."""
        self.file.mux(self.stream.encode(None))
        self.file.close()
        return self.tape.take(), self.tape.patches


class SilkWriter:
    """A file of SILK with Tencent's mark, as chat programs send voices; its encoder takes all samples at once."""

    def __init__(self, sample_rate_hz: int) -> None:
        """An empty file."""
        self.sample_rate_hz = sample_rate_hz
        self.samples = io.BytesIO()

    def write(self, samples: numpy.typing.NDArray[Any]) -> bytes:
        """Nothing yet."""
        whole = samples if samples.dtype == numpy.int16 else pcm16(samples)
        self.samples.write(whole.astype("<i2").tobytes())
        return b""

    def close(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The whole file."""
        import pysilk

        self.samples.seek(0)
        encoded = io.BytesIO()
        pysilk.encode(self.samples, encoded, self.sample_rate_hz, SILK_BITS_PER_S)
        return encoded.getvalue(), []


class Encoder:
    """The bytes of one format, as the samples come."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        """The format's name, and the rate of the samples to come."""
        self.name = name
        self.sample_rate_hz = format_rate(name, sample_rate_hz)
        self.n_bytes = 0
        self.resampler = None
        if self.sample_rate_hz != sample_rate_hz:
            self.resampler = soxr.ResampleStream(sample_rate_hz, self.sample_rate_hz, 1, dtype="float32")
        self.writer = self.new_writer()

    def new_writer(self) -> Writer | None:
        """What makes the file; None where it is samples as they are, after at most a header."""
        form = EVERY_FORMAT[self.name]
        if form.container:
            return LibsndfileWriter(self.name, form.container, self.sample_rate_hz)
        if form.codec:
            return FfmpegWriter(form.codec, self.sample_rate_hz)
        return SilkWriter(self.sample_rate_hz) if self.name == "silk" else None

    def encode(self, samples: Pcm, *, last: bool = False) -> bytes:
        """What these samples add to the file; some of it may come with the next."""
        sound: numpy.typing.NDArray[Any] = samples
        if self.resampler is not None:
            sound = self.resampler.resample_chunk((samples / 32768).astype(numpy.float32), last=last)
        if self.writer is not None:
            return self.writer.write(sound)
        header = wav_header(self.sample_rate_hz) if self.name == "wav" and not self.n_bytes else b""
        whole = pcm16(sound) if self.resampler is not None else sound
        encoded = header + whole.astype("<i2").tobytes()
        self.n_bytes += len(encoded)
        return encoded

    def finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The last bytes, and what the finished file has in place of earlier ones: where, and which."""
        rest = self.encode(numpy.zeros(0, numpy.int16), last=True)
        if self.writer is not None:
            end, patches = self.writer.close()
            return rest + end, patches
        header = wav_header(self.sample_rate_hz, self.n_bytes - WAV_HEADER_BYTES)
        return rest, [(0, header)] if self.name == "wav" else []


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
