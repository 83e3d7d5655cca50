"""The formats of answers."""

import io
import struct
import subprocess
import sys

import av
import numpy
import pysilk
import pytest
import soundfile
from starlette.testclient import TestClient

from service import audio
from service.errors import Refusal
from tests.fakes import recording

FORMATS = [("wav", "WAV"), ("mp3", "MP3"), ("opus", "OGG"), ("flac", "FLAC")]


LONGEST_HEAD = 500
"""What a finished file may have otherwise than its stream: the length in its head."""


@pytest.mark.parametrize("speaker", ["solo", "trio/alice"])
@pytest.mark.parametrize(("name", "container"), FORMATS)
def test_each_format_is_a_whole_file_of_the_same_sound(
    client: TestClient, name: str, container: str, speaker: str
) -> None:
    parameters = {"text": "Hello from two small cores.", "speaker": speaker}
    expected, voice_rate_hz = recording(client.get("/speak", params=parameters).content)
    response = client.get("/speak", params=parameters | {"format": name})
    with soundfile.SoundFile(io.BytesIO(response.content)) as file:
        samples, info = file.read(dtype="int16"), file
        assert info.format == container
    assert int(response.headers["x-sample-rate"]) == info.samplerate
    assert len(samples) == round(len(expected) * info.samplerate / voice_rate_hz)
    assert float(response.headers["x-duration"]) == pytest.approx(len(expected) / voice_rate_hz, abs=0.001)
    if name == "flac":
        assert samples.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac", "pcm"])
def test_a_stream_is_the_file_but_for_the_sizes_in_its_head(client: TestClient, name: str) -> None:
    parameters = {"text": f"A stream of {name}.", "speaker": "trio", "format": name}
    streamed = client.get("/speak", params=parameters | {"stream": "true"})
    assert (streamed.headers["x-cache"], streamed.headers["accept-ranges"]) == ("miss", "none")
    assert "content-length" not in streamed.headers
    whole = client.get("/speak", params=parameters | {"stream": "true"})
    assert (whole.headers["x-cache"], whole.headers["accept-ranges"]) == ("hit", "bytes")
    assert len(streamed.content) == len(whole.content) == int(whole.headers["content-length"])
    assert streamed.content[LONGEST_HEAD:] == whole.content[LONGEST_HEAD:]
    if name == "wav":
        assert struct.unpack("<4sI4s", streamed.content[:12]) == (b"RIFF", 0xFFFFFFFF, b"WAVE")
        assert struct.unpack("<4sI", streamed.content[36:44]) == (b"data", 0xFFFFFFFF)


@pytest.mark.parametrize(("name", "sample_rate_hz"), [("opus", 22050), ("opus", 44100), ("mp3", 20000), ("mp3", 96000)])
def test_another_rate_keeps_pitch_and_length(name: str, sample_rate_hz: int) -> None:
    seconds, pitch_hz = 2, 440
    times = numpy.arange(seconds * sample_rate_hz) / sample_rate_hz
    sound = audio.pcm16(0.5 * numpy.sin(2 * numpy.pi * pitch_hz * times).astype(numpy.float32))
    encoder = audio.Encoder(name, sample_rate_hz)
    parts = [encoder.encode(part) for part in numpy.array_split(sound, 7)]
    rest, patches = encoder.finish()
    file = bytearray(b"".join((*parts, rest)))
    for start, patch in patches:
        file[start : start + len(patch)] = patch
    samples, rate_hz = recording(bytes(file))
    assert rate_hz == encoder.sample_rate_hz != sample_rate_hz
    assert len(samples) == seconds * rate_hz
    spectrum = numpy.abs(numpy.fft.rfft(samples))
    assert spectrum.argmax() == seconds * pitch_hz
    near = slice(seconds * pitch_hz - 20, seconds * pitch_hz + 21)
    assert (spectrum[near] ** 2).sum() > 0.99 * (spectrum**2).sum()


def test_pcm_is_the_samples_alone(client: TestClient) -> None:
    parameters = {"text": "Hello.", "speaker": "solo"}
    samples, _ = recording(client.get("/speak", params=parameters).content)
    response = client.get("/speak", params=parameters | {"format": "pcm"})
    assert response.headers["content-type"] == "audio/pcm;rate=16000;channels=1"
    assert response.content == samples.astype("<i2").tobytes()


def test_loud_samples_do_not_wrap_around() -> None:
    samples = numpy.array([-1.5, -1.0, 0.0, 1.0, 1.5], numpy.float32)
    assert audio.pcm16(samples).tolist() == [-32768, -32767, 0, 32767, 32767]


# Formats of optional packages


def tone(seconds: int, pitch_hz: int, sample_rate_hz: int) -> audio.Pcm:
    times = numpy.arange(seconds * sample_rate_hz) / sample_rate_hz
    return audio.pcm16(0.5 * numpy.sin(2 * numpy.pi * pitch_hz * times).astype(numpy.float32))


def encoded(name: str, sound: audio.Pcm, sample_rate_hz: int) -> list[bytes]:
    """What an encoder makes of each of seven parts of the sound, and of its end."""
    encoder = audio.Encoder(name, sample_rate_hz)
    parts = [encoder.encode(part) for part in numpy.array_split(sound, 7)]
    rest, patches = encoder.finish()
    assert patches == []
    return [*parts, rest]


@pytest.mark.parametrize(("name", "codec", "rate_hz"), [("aac", "aac", 22050), ("amr", "amrnb", 8000)])
def test_what_ffmpeg_makes_has_the_pitch_and_length_of_the_sound(name: str, codec: str, rate_hz: int) -> None:
    content = b"".join(encoded(name, tone(2, 440, 22050), 22050))
    with av.open(io.BytesIO(content), "r") as file:
        (stream,) = file.streams.audio
        assert (stream.codec_context.name, stream.codec_context.sample_rate) == (codec, rate_hz)
        assert stream.codec_context.channels == 1
        decoded = numpy.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)])
    assert len(decoded) / rate_hz == pytest.approx(2, abs=0.15)
    middle = decoded[len(decoded) // 4 :][:rate_hz]
    assert numpy.abs(numpy.fft.rfft(middle)).argmax() == 440


def test_silk_is_that_of_chat_programs_with_the_length_of_the_sound() -> None:
    *parts, end = encoded("silk", tone(2, 440, 22050), 22050)
    assert not any(parts), "its encoder takes all samples at once"
    assert end.startswith(b"\x02#!SILK_V3")
    decoded = io.BytesIO()
    pysilk.decode(io.BytesIO(end), decoded, 24000)
    samples = numpy.frombuffer(decoded.getvalue(), "<i2")
    assert len(samples) / 24000 == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("name", ["aac", "amr"])
def test_ffmpegs_bytes_come_with_every_window_and_are_always_the_same(name: str) -> None:
    sound = tone(3, 440, 22050)
    parts = encoded(name, sound, 22050)
    assert all(parts)
    assert len(parts[0]) > len(b"".join(parts)) / 20
    assert encoded(name, sound, 22050) == parts


def test_a_format_whose_package_is_missing_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "find_spec", lambda module: None)
    with pytest.raises(Refusal, match=r"aac needs the Python package av: pip install -r service/req"):
        audio.require_package("aac")
    audio.require_package("mp3")


def test_the_optional_packages_are_imported_at_first_use() -> None:
    script = "import sys, service.audio; assert not {'av', 'pysilk'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
