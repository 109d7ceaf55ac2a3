import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from unimodal.data.decoding import faults
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.videos import decode_video, probe_video

STEP = 10  # grey of frame i is STEP * i


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch):
    monkeypatch.setattr(faults, "WARNED", set())


def grey(i, height, width):
    return np.full((height, width, 3), STEP * i % 256, np.uint8)


def packed(
    times=range(10),
    kind="mp4",
    codec="libx264",
    size=(48, 64),
    rate=25,
    gop=12,
    pixels="yuv420p",
    draw=grey,
    **mux,
):
    """A video whose frame i is drawn by `draw(i, height, width)` and shown from `times[i] / rate` seconds."""
    file, (height, width) = io.BytesIO(), size
    with av.open(file, "w", format=kind, container_options=mux) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, pixels, gop
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(i, height, width), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def seen(data, num, **options):
    """Which frames a clip has, by their grey."""
    clip = decode_video(data, num, (8, 8), **options)
    assert (clip.shape, clip.dtype) == ((num, 3, 8, 8), torch.uint8)
    return (clip.float().mean((1, 2, 3)) / STEP).round().int().tolist()


def refused(data, *words):
    with pytest.raises(BadSample) as error:
        decode_video(data, 4, (8, 8), where="row 7: a.mp4")
    assert str(error.value).startswith("row 7: a.mp4: ")
    assert all(word in str(error.value) for word in words), str(error.value)


KINDS = [
    ("mp4", "libx264"),
    ("matroska", "libx264"),
    ("webm", "libvpx"),
    ("mpegts", "libx264"),
    ("avi", "mpeg4"),
    ("h264", "libx264"),
]


@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_frames_are_the_middles_of_equal_shares(kind, codec, tmp_path):
    path = tmp_path / "clip"
    path.write_bytes(packed(kind=kind, codec=codec))
    assert seen(path, 5) == [1, 3, 5, 7, 9]
    assert seen(path, 10) == list(range(10))
    assert seen(path, 1) == [5]


@pytest.mark.parametrize(("kind", "codec"), KINDS)
def test_a_clip_of_one_frame_repeats_it(kind, codec):  # FAULTS 22
    assert seen(packed(range(1, 2), kind, codec, draw=lambda i, h, w: grey(7, h, w)), 4) == [7] * 4


def test_a_clip_of_too_few_frames_repeats_them_in_order():  # FAULTS 22
    assert seen(packed(range(3)), 6) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_a_variable_frame_rate_is_sampled_by_time(kind):  # FAULTS 23
    data = packed(
        [0, 1, 2, 3, 4, 10, 20, 30, 32], kind, "mpeg4"
    )  # half of the frames within the first eighth
    assert seen(data, 4) == [4, 5, 6, 6]


@pytest.mark.parametrize(("kind", "codec"), [pair for pair in KINDS if pair[0] not in ("avi", "h264")])
def test_time_stamps_need_not_begin_at_zero(kind, codec, caplog):  # FAULTS 23
    assert seen(packed(range(125, 135), kind, codec), 5) == [1, 3, 5, 7, 9]
    assert not caplog.records


def test_frames_stored_out_of_order_are_shown_in_order():  # FAULTS 23
    data = packed(range(20))
    with av.open(io.BytesIO(data)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stamps != sorted(stamps)  # there are B-frames
    assert seen(data, 20) == list(range(20))


def test_seeking_finds_the_frames_that_decoding_on_finds():  # FAULTS 27
    for kind, gop in (("mp4", 10), ("matroska", 250), ("mpegts", 10)):
        data = packed(range(0, 250, 10), kind, gop=gop, size=(16, 16))
        assert seen(data, 4) == [3, 9, 15, 21]


def test_a_missing_moov_is_refused():  # FAULTS 24
    data = packed()
    refused(data[: data.index(b"moov") - 4], "MP4", "moov atom not found")


def test_junk_and_a_page_are_refused():  # FAULTS 24
    refused(b"junk" * 1000, "cannot be decoded as a video")
    refused(b"<!doctype html><html></html>", "an HTML page, not a video")
    refused(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "cannot be decoded as a video")


@pytest.mark.parametrize(("kind", "codec"), [("matroska", "mpeg4"), ("mpegts", "mpeg2video")])
def test_of_a_cut_file_the_prefix_is_decoded(kind, codec, caplog):  # FAULTS 24
    data = packed(range(20), kind, codec, gop=1, size=(16, 16))
    clip = decode_video(data[: len(data) // 2], 4, (8, 8), where="a.mkv").float().mean((1, 2, 3))
    assert (clip.diff() > 5).all() and clip[-1] < 150
    if kind == "matroska":  # the other has no duration in its header
        assert "a.mkv: has its last picture at" in caplog.text


def test_a_change_of_resolution_is_taken_frame_by_frame():  # FAULTS 24
    data = packed(range(5), "h264") + packed(range(5), "h264", size=(32, 96))
    assert seen(data, 10) == [0, 1, 2, 3, 4] * 2


def rotated(data, matrix):
    """The mp4 file with another display matrix in its track header."""
    at = data.index(b"tkhd") + 4 + 40
    fixed = [round(value * (2**30 if i % 3 == 2 else 2**16)) for i, value in enumerate(matrix)]
    return data[:at] + struct.pack(">9i", *fixed) + data[at + 36 :]


def halves(i, height, width):
    """White above, black below."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2] = 255
    return pixels


@pytest.mark.parametrize(
    ("matrix", "bright"),
    [
        ((1, 0, 0, 0, 1, 0, 0, 0, 1), "top"),
        ((0, 1, 0, -1, 0, 0, 0, 0, 1), "right"),  # turned clockwise, as phones held upright store it
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), "bottom"),
        ((0, -1, 0, 1, 0, 0, 0, 0, 1), "left"),
    ],
)
def test_rotation_metadata_is_applied(matrix, bright):  # FAULTS 25
    data = rotated(packed(draw=halves), matrix)
    clip = decode_video(data, 2)
    assert clip.shape == ((2, 3, 48, 64) if bright in ("top", "bottom") else (2, 3, 64, 48))
    frame = decode_video(data, 2, (16, 8))[0].float().mean(0)
    sides = {"top": frame[:4], "bottom": frame[-4:], "left": frame[:, :2], "right": frame[:, -2:]}
    assert max(sides, key=lambda side: sides[side].mean().item()) == bright


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv444p"])
def test_ten_bits_become_eight(pixels):  # FAULTS 25
    assert seen(packed(pixels=pixels), 5) == [1, 3, 5, 7, 9]


def test_odd_sizes_are_decoded():  # FAULTS 25
    data = packed(size=(35, 51), codec="ffv1", kind="matroska", pixels="yuv444p")
    assert decode_video(data, 3).shape == (3, 3, 35, 51)
    assert seen(data, 5) == [1, 3, 5, 7, 9]


def sound_only(cover=False):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.width = picture.height = 16
            picture.pix_fmt = "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
        if picture is not None:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(grey(9, 16, 16), "rgb24")))
            container.mux(picture.encode())
    return file.getvalue()


@pytest.mark.parametrize("cover", [False, True])
def test_sound_alone_or_with_a_cover_is_no_video(cover):  # FAULTS 26
    refused(sound_only(cover), "has no video stream")


def test_a_video_without_frames_is_refused():  # FAULTS 26
    refused(packed(range(0), movflags="frag_keyframe+empty_moov"))


def test_a_thousand_frames_a_second_are_refused():  # FAULTS 26
    refused(packed(rate=1000, kind="avi", codec="mpeg4"), "1000 frames a second")


def test_where_the_clock_stands_still_frames_are_counted():
    data = bytearray(packed([*range(9), 12], codec="mpeg4"))
    table = data.index(b"stts") + 8  # number of entries, then for each a count of frames and their length
    entries = int.from_bytes(data[table : table + 4], "big")
    for entry in range(entries - 1):
        data[table + 8 + 8 * entry : table + 12 + 8 * entry] = bytes(4)
    assert seen(bytes(data), 5) == [1, 3, 5, 7, 9]


def test_a_stream_without_duration_is_measured_by_its_packets():  # FAULTS 26
    data = packed(kind="webm", codec="libvpx", live="1")
    assert seen(data, 5) == [1, 3, 5, 7, 9]
    assert probe_video(data).seconds == pytest.approx(0.4)


def test_a_long_file_is_decoded_only_where_frames_are_wanted():  # FAULTS 27
    hours = packed(range(0, 36_000, 1800), rate=1, size=(32, 32), gop=1, kind="mp4", codec="mpeg4")
    assert probe_video(hours).seconds > 30_000
    assert seen(hours, 4) == [2, 7, 11, 16]


def test_a_gif_is_a_video_too():
    data = packed(kind="gif", codec="gif", pixels="rgb8")
    assert np.abs(np.subtract(seen(data, 5), [1, 3, 5, 7, 9])).max() <= 1


def test_the_headers_tell_duration_rate_and_size():
    facts = probe_video(packed())
    assert (facts.seconds, facts.fps, facts.width, facts.height) == (pytest.approx(0.4), 25, 64, 48)


def test_the_decoder_may_take_no_longer_than_asked():  # FAULTS 27
    with pytest.raises(BadSample, match=r"took longer than 0\.001 s"):
        decode_video(packed(), 4, timeout=0.001)
    assert seen(packed(), 5) == [1, 3, 5, 7, 9]
