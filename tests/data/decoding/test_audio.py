import io
import logging
import struct
import sys

import av
import numpy as np
import pytest
import soundfile
import torch

from unimodal.data.decoding import audio, faults
from unimodal.data.decoding.audio import decode_audio, is_silent, probe_audio
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.isolated import Isolated
from unimodal.types import Waveform

RATE = 16_000
TONE = (np.sin(np.arange(RATE) * 0.1) * 0.5).astype(np.float32)


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch):
    monkeypatch.setattr(faults, "WARNED", set())


def packed(samples=TONE, rate=RATE, kind="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def patched(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def wav(data, code, channels, bits, rate=8000):
    """A WAV file of raw bytes; `code` is the format tag."""
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", code, channels, rate, rate * frame, frame, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def m4a(channels=2, seconds=1.0, rate=44_100):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo" if channels == 2 else "mono")
        tone = np.sin(np.arange(int(seconds * rate)) * 0.05).astype(np.float32) * 0.5
        frame = av.AudioFrame.from_ndarray(np.stack([tone] * channels), "fltp", stream.layout.name)
        frame.rate = rate
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    return file.getvalue()


def refused(data, *words):
    with pytest.raises(BadSample) as error:
        decode_audio(data, where="row 7: dog.wav")
    assert str(error.value).startswith("row 7: dog.wav: ")
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_sound_is_mono_float_at_its_own_rate(kind, subtype, tmp_path):
    path = tmp_path / "a.bin"  # the name does not matter
    path.write_bytes(packed(kind=kind, subtype=subtype))
    samples, rate = decode_audio(path)
    assert (samples.dtype, len(samples), rate) == (torch.float32, RATE, RATE)
    assert (samples - torch.from_numpy(TONE)).abs().max() < (1e-4 if kind != "OGG" else 0.2)


@pytest.mark.parametrize("data", [packed()[:44], packed(TONE[:0])], ids=["header", "no samples"])
def test_a_header_without_samples_is_refused(data):  # FAULTS 13
    refused(data, "has no samples")


def test_an_empty_file_is_refused():  # FAULTS 13
    refused(b"", "is empty (0 bytes)")


@pytest.mark.parametrize("length", [0xFFFFFFFF, 10**6], ids=["streamed", "too long"])
def test_a_data_chunk_longer_than_the_file_gives_the_samples_that_are_there(length):  # FAULTS 13
    data = patched(packed(), 40, struct.pack("<I", length))
    assert torch.equal(decode_audio(data).samples, decode_audio(packed()).samples)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(value):  # FAULTS 14
    samples = TONE.copy()
    samples[99] = value
    refused(packed(samples, subtype="FLOAT"), "NaN")


def test_samples_out_of_range_are_divided_by_the_peak_with_one_warning(caplog):  # FAULTS 14
    for _ in range(2):
        samples = decode_audio(packed(TONE * 8, subtype="FLOAT")).samples
        assert samples.abs().max() == 1
        torch.testing.assert_close(samples, torch.from_numpy(TONE / np.abs(TONE).max()))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("level", [0.0, 0.3, -1.0])
def test_silence_and_a_constant_offset_are_decoded_and_told(level):  # FAULTS 14
    assert is_silent(decode_audio(packed(np.full(800, level))))
    assert not is_silent(decode_audio(packed()))
    assert is_silent(Waveform(torch.zeros(0), RATE))


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000, 96_000])
def test_the_files_rate_is_kept(rate):  # FAULTS 15
    assert decode_audio(packed(rate=rate)).sample_rate == rate
    assert probe_audio(packed(rate=rate)) == audio.AudioFacts(RATE / rate, rate, 1)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_become_their_mean(channels):  # FAULTS 16
    levels = np.linspace(-0.5, 0.75, channels, dtype=np.float32)
    data = packed(np.tile(levels, (100, 1)), subtype="FLOAT")
    torch.testing.assert_close(decode_audio(data).samples, torch.full((100,), float(levels.mean())))


def test_no_channels_are_refused():  # FAULTS 16
    refused(patched(packed(), 22, b"\0\0"))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (wav(bytes([0, 128, 255]), 1, 1, 8), [-1, 0, 127 / 128]),
        (wav(b"\0\0\x80" + b"\0\0\0" + b"\xff\xff\x7f", 1, 1, 24), [-1, 0, 1 - 2**-23]),
        (wav(struct.pack("<3d", -1, 0.25, 1), 3, 1, 64), [-1, 0.25, 1]),
        (wav(bytes([0x2A, 0xD5, 0xAA]), 6, 1, 8), [-32256 / 32768, 8 / 32768, 32256 / 32768]),
        (wav(bytes([0x00, 0xFF, 0x80]), 7, 1, 8), [-32124 / 32768, 0, 32124 / 32768]),
    ],
    ids=["unsigned 8", "24", "float64", "A-law", "mu-law"],
)
def test_every_width_is_scaled_exactly(data, wanted):  # FAULTS 17
    assert decode_audio(data).samples.tolist() == wanted


def test_a_long_file_is_read_no_further_than_wanted(tmp_path):  # FAULTS 18
    path = tmp_path / "long.wav"
    hours = 10 * 3600 * RATE * 2  # bytes, of which the disk holds none
    with open(path, "wb") as file:
        file.write(
            patched(patched(packed(TONE[:0]), 4, struct.pack("<I", hours + 36)), 40, struct.pack("<I", hours))
        )
        file.truncate(44 + hours)
    assert probe_audio(path).seconds == 36_000
    assert len(decode_audio(path, max_seconds=2.5).samples) == 2.5 * RATE
    assert len(decode_audio(m4a(seconds=3), max_seconds=0.5).samples) == 22_050


def test_a_clip_shorter_than_wanted_stays_short():  # FAULTS 18
    assert len(decode_audio(packed(TONE[:10]), max_seconds=5).samples) == 10


def test_a_truncated_mp3_gives_what_exists_with_a_warning(caplog):  # FAULTS 19
    data = packed(kind="MP3", subtype="MPEG_LAYER_III")
    heard = decode_audio(data[: len(data) // 2], where="a.mp3")
    assert 0 < len(heard.samples) < RATE
    assert "a.mp3: is cut off" in caplog.text


def test_an_mp3_of_nothing_but_its_cover_is_refused():  # FAULTS 19
    refused(b"ID3\4\0\0\0\0\x0f\x76" + b"\0" * 2038, "MP3")


def test_mp3_data_under_a_wrong_name_is_sniffed(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(packed(kind="MP3", subtype="MPEG_LAYER_III"))
    assert decode_audio(path).sample_rate == RATE
    refused(b"<html><body>404", "an HTML page, not sound")


def test_aac_is_decoded_by_ffmpeg():  # FAULTS 20
    samples, rate = decode_audio(m4a())
    assert rate == 44_100 and abs(len(samples) / rate - 1) < 0.05
    assert 0.45 < samples[10_000:30_000].abs().max() < 0.55
    assert probe_audio(m4a()).channels == 2


def test_without_pyav_wav_still_works_and_others_say_what_to_install(monkeypatch):  # FAULTS 20
    code = "import sys; sys.modules['av'] = None; from unimodal.data.decoding.av_worker import main; main()"
    without = Isolated([sys.executable, "-c", code])
    monkeypatch.setattr(audio, "DECODER", without)
    assert len(decode_audio(packed()).samples) == RATE
    refused(m4a(), "pip install av")
    without.close()


def test_the_rate_in_the_header_counts_and_another_is_warned_of(caplog):  # FAULTS 21
    heard = decode_audio({"bytes": packed(), "path": "a.wav", "sampling_rate": 8000})
    assert heard.sample_rate == RATE
    assert "a.wav: has a sampling_rate of 8000" in caplog.text


def test_a_wrong_type_of_sample_is_refused():
    with pytest.raises(BadSample, match="row 3: has int where a path"):
        decode_audio(3, where="row 3")


PADDED = [  # container, codec, samples beyond those that were encoded, which the file does not tell apart
    ("mp4", "aac", 0),
    ("ipod", "aac", 0),
    ("mov", "aac", 0),
    ("mp4", "libmp3lame", 0),
    ("mp4", "libopus", 0),
    ("mp4", "alac", 0),
    ("mp4", "flac", 0),
    ("mp4", "pcm_s16le", 0),
    ("mp3", "libmp3lame", 0),
    ("ogg", "libopus", 0),
    ("webm", "libopus", 0),
    ("matroska", "libopus", 0),
    ("matroska", "libmp3lame", 0),
    ("matroska", "flac", 0),
    ("matroska", "pcm_s16le", 0),
    ("flac", "flac", 0),
    ("aiff", "pcm_s16be", 0),
    (
        "matroska",
        "aac",
        -48_000 % 1024,
    ),  # the file stores the encoder's delay, but not the padding at the end
    ("adts", "aac", 1024 + -48_000 % 1024),  # a stream of packets, nothing else; likewise the next three
    ("mpegts", "aac", 1024 + -48_000 % 1024),
    ("avi", "aac", 1024 + -48_000 % 1024),
    ("mp2", "mp2", -48_000 % 1152),
]


@pytest.mark.parametrize(("kind", "codec", "excess"), PADDED)
def test_padding_is_left_out_where_the_file_says_how_long_it_is(kind, codec, excess):
    file, rate = io.BytesIO(), 48_000
    tone = (np.sin(np.arange(rate) * 0.05) * 0.5).astype(np.float32)
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        sound = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
        sound.rate, sound.pts = rate, 0
        blocks = av.AudioResampler(stream.format, "mono", rate, stream.frame_size or None)
        for frame in [*blocks.resample(sound), *blocks.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    heard = decode_audio(file.getvalue()).samples
    assert len(heard) == rate + excess
    start = excess // 1024 * 1024 if codec == "aac" and kind != "matroska" else 0
    if codec not in ("libopus", "mp2"):  # whose decoded waves are further from the encoded ones
        assert (heard[start + 1000 :][:40_000] - torch.from_numpy(tone[1000:41_000])).abs().max() < 0.05


def test_a_duration_that_is_wrong_cuts_nothing():
    data = bytearray(m4a(1, 1.0, 16_000))
    at = data.index(b"elst") + 12  # the segment's duration, in units of the film
    data[at : at + 4] = struct.pack(">I", int.from_bytes(data[at : at + 4], "big") // 2)
    assert len(decode_audio(bytes(data)).samples) >= 8000
