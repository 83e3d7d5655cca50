"""The formats of answers."""

import io
import struct

import numpy
import pytest
import soundfile
from starlette.testclient import TestClient

from service import audio
from tests.fakes import (
    recording,
)

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
