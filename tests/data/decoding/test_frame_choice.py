"""The decoded frames are those on the screen at the times that the rule names, whatever stores them."""

import io
from bisect import bisect_right
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.data.decoding import faults
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.videos import decode_video, probe_video

STEP = 10  # grey of frame i is STEP * i
RATE = 10  # ticks a second
CONSTANT = list(range(25))
VARIABLE = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    20,
    21,
    22,
    60,
    61,
    62,
    63,
    64,
    65,
    100,
    130,
    131,
    132,
    160,
    200,
    300,
    400,
]
STORED = [
    ("mp4", "libx264", {"bf": "0"}),
    ("mp4", "libx264", {"bf": "3", "b-adapt": "0"}),
    ("mp4", "libx264", {}),
    ("mov", "mpeg4", {"bf": "2"}),
    ("mp4", "libx265", {"x265-params": "log-level=none"}),
    ("matroska", "libx264", {"bf": "0"}),
    ("matroska", "libx264", {"bf": "3", "b-adapt": "0"}),
    ("webm", "libvpx", {}),
    ("webm", "libvpx-vp9", {}),
    ("avi", "libx264", {"bf": "0"}),
    ("avi", "mpeg4", {}),
]
AVI_WITH_B_FRAMES = [("libx264", {"bf": "3", "b-adapt": "0"}), ("libx264", {}), ("mpeg4", {"bf": "2"})]


@pytest.fixture(autouse=True)
def _no_warning(monkeypatch, caplog):
    monkeypatch.setattr(faults, "WARNED", set())
    yield
    assert not caplog.records


def shade(i, channels=3):
    return np.full((32, 32, channels), STEP * i % 256, np.uint8)


def packed(times, kind, codec, options, gop=6, sound=0):
    """A video whose frame i is shown from `times[i]` ticks on, the last for one tick; `sound` in seconds."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(
            codec, rate=RATE, width=32, height=32, pix_fmt="yuv420p", options=options
        )
        stream.gop_size, stream.codec_context.time_base = gop, Fraction(1, RATE)
        stream.bit_rate = 4_000_000
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono") if sound else None
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(shade(i), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * sound), np.int16), "s16", "mono")
            silence.rate, silence.pts = 8000, 0
            container.mux([*audio.encode(silence), *audio.encode()])
    return file.getvalue()


def animated(kind, lengths, **options):
    """A file by Pillow; `lengths` in milliseconds."""
    frames = [Image.fromarray(shade(i)) for i in range(len(lengths))]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=lengths, **options)
    return file.getvalue()


def wanted(times, end, num):
    middles = [times[0] + (j + 0.5) / num * (end - times[0]) for j in range(num)]
    return [bisect_right(times, time + 1e-6) - 1 for time in middles]


def check(data, times, end, nums=(1, 4, 7, 16, 33)):
    for num in nums:
        clip = decode_video(data, num, (8, 8))
        seen = (clip.float().mean((1, 2, 3)) / STEP).round().int().tolist()
        assert seen == wanted(times, end, num), num


def test_this_pyav_can_write_what_the_tables_name():
    for codec in ("libx264", "libx265", "libvpx", "libvpx-vp9", "libsvtav1", "mpeg4"):
        assert av.codec.Codec(codec, "w").is_encoder


@pytest.mark.parametrize("times", [CONSTANT, VARIABLE], ids=["constant", "variable"])
@pytest.mark.parametrize(("kind", "codec", "options"), STORED)
def test_frames_are_chosen_by_the_time_at_which_they_are_shown(kind, codec, options, times):
    data = packed(times, kind, codec, options)
    check(data, times, times[-1] + 1)
    assert probe_video(data).seconds == pytest.approx((times[-1] + 1) / RATE)


@pytest.mark.parametrize(("codec", "options"), AVI_WITH_B_FRAMES)
def test_avi_stores_no_time_of_presentation_for_the_last_frames_alone(codec, options):
    check(packed(CONSTANT, "avi", codec, options), CONSTANT, 25)
    late = [*VARIABLE[:-3], 161, 162, 163]  # an AVI file with B-frames keeps gaps but the last ones
    check(packed(late, "avi", codec, options), late, 164)


OPEN_GOP = ("libx264", {"x264-params": "open-gop=1:bframes=3:b-adapt=0"})  # B-frames shown before a keyframe


@pytest.mark.parametrize("gop", [4, 300])
@pytest.mark.parametrize(
    ("codec", "options"), [*AVI_WITH_B_FRAMES, OPEN_GOP, ("mpeg2video", {"bf": "2"}), ("msmpeg4v3", {})]
)
def test_seeking_in_avi_with_b_frames_keeps_the_count(codec, options, gop):
    many = list(range(400))
    data = packed_by_index(many, codec, options, gop)
    for num in (3, 7):
        seen = by_index(decode_video(data, num, None))
        assert seen == wanted(many, 400, num)


def packed_by_index(times, codec, options, gop):
    """Frames that bear their number as nine bright or dark squares."""
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream(
            codec, rate=RATE, width=144, height=16, pix_fmt="yuv420p", options=options
        )
        stream.gop_size, stream.bit_rate = gop, 4_000_000
        for i in times:
            bits = np.array([i >> bit & 1 for bit in range(9)], np.uint8) * 220
            frame = av.VideoFrame.from_ndarray(
                np.repeat(np.kron(bits[None], np.ones((16, 16), np.uint8))[..., None], 3, 2), "rgb24"
            )
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def by_index(clip):
    bits = clip.float().mean(1)[:, 8, 8::16] > 110
    return [sum(1 << bit for bit in range(9) if row[bit]) for row in bits]


def test_a_late_end_of_an_mp4_with_b_frames_is_seen():
    times = [*range(101), 200, 300, 400]
    for kind in ("mp4", "matroska"):
        data = packed(times, kind, "libx264", {}, gop=250)
        assert probe_video(data).seconds == pytest.approx(40.1)
        clip = decode_video(data, 8, (8, 8))
        grey = [STEP * wanted(times, 401, 8)[j] % 256 for j in range(8)]
        assert (clip.float().mean((1, 2, 3)) - torch.tensor(grey)).abs().max() < 4


@pytest.mark.parametrize("options", [{"bf": "0"}, {}])
def test_what_an_edit_list_cuts_off_is_not_seen(options):
    data = bytearray(packed(CONSTANT[:20], "mp4", "libx264", options))
    at = data.index(b"elst") + 12  # the duration of the edit, in units of the film
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 2).to_bytes(4, "big")
    check(bytes(data), CONSTANT[:10], 10)


@pytest.mark.parametrize("kind", ["matroska", "mov"])
def test_sound_that_goes_on_does_not_lengthen_the_clip(kind):
    check(packed(CONSTANT, kind, "libx264", {}, sound=4), CONSTANT, 25)


LENGTHS = {"constant": [100] * 12, "variable": [100, 20, 500, 30, 40, 1000, 100, 100, 700, 20, 20, 300]}


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 90, "speed": 10})],
)
def test_frames_of_animations_are_chosen_by_their_own_durations(kind, options, lengths):
    data = animated(kind, lengths, **options)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    check(data, starts, sum(lengths))
    assert probe_video(data).seconds == pytest.approx(sum(lengths) / 1000)


@pytest.mark.slow
@pytest.mark.parametrize("times", [CONSTANT, VARIABLE], ids=["constant", "variable"])
def test_frames_of_av1_are_chosen_by_the_time_at_which_they_are_shown(times):
    data = packed_av1(times)
    check(data, times, times[-1] + 1)


def packed_av1(times):
    """SVT-AV1 takes no picture smaller than 64 x 64."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libsvtav1", rate=RATE, width=64, height=64, pix_fmt="yuv420p")
        stream.codec_context.time_base, stream.options = Fraction(1, RATE), {"preset": "12", "crf": "10"}
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), STEP * i, np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def shape(i):
    """A white square on what is transparent, which moves."""
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[8:24, 4 + 2 * i : 12 + 2 * i] = 255
    return pixels


def transparent(kind):
    file = io.BytesIO()
    if kind in ("libvpx", "libvpx-vp9"):
        with av.open(file, "w", format="webm") as container:
            stream = container.add_stream(kind, rate=RATE, width=32, height=32, pix_fmt="yuva420p")
            stream.metadata["alpha_mode"] = "1"
            if kind == "libvpx":
                stream.options = {"auto-alt-ref": "0"}
            for i in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(shape(i), "rgba")))
            container.mux(stream.encode())
        return file.getvalue()
    frames = [Image.fromarray(shape(i)) for i in range(4)]
    options = {"lossless": True} if kind == "WEBP" else {"disposal": 2} if kind == "GIF" else {}
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF", "libvpx", "libvpx-vp9"])
def test_transparency_shows_the_same_background_as_in_images(kind):
    clip = decode_video(transparent(kind), 4).float()
    for i in range(4):
        inside, outside = clip[i, :, 12:20, 6 + 2 * i : 10 + 2 * i], clip[i, :, :4]
        assert (inside - 255).abs().max() < 12 and (outside - 127).abs().max() < 12


def test_an_image_has_the_background_of_the_canvas_that_its_first_frame_leaves_empty(caplog):
    pixels = decode_image(transparent("WEBP")).float()
    assert (pixels[:, 12:20, 6:10] - 255).abs().max() < 3 and (pixels[:, :4] - 127).abs().max() < 3
    caplog.clear()  # that it has more frames


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_an_animation_that_is_cut_off_is_refused_by_name(kind):
    data = animated(kind, [100] * 5)
    with pytest.raises(BadSample, match=r"a\.webp: is a.* that cannot be decoded \("):
        decode_video(data[: len(data) // 2], 4, where="a.webp")


def test_a_still_picture_of_webp_is_a_clip_of_one_frame():
    file = io.BytesIO()
    Image.fromarray(shade(7)).save(file, "WEBP", lossless=True)
    assert (decode_video(file.getvalue(), 3, (8, 8)) == 7 * STEP).all()
