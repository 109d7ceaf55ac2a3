from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.data.decoding.audio import decode_audio
from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.forms import as_clip, as_picture, as_sound, encoded
from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.videos import decode_video
from unimodal.types import Waveform

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
CLIP = np.random.default_rng(1).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)


def test_paths_bytes_and_dicts_become_one_form(tmp_path):
    assert encoded("a.png") == encoded({"path": "a.png", "bytes": None}) == Encoded(path="a.png")
    assert encoded(tmp_path, "row 1") == Encoded(path=str(tmp_path), where="row 1")
    assert encoded(b"x") == encoded(bytearray(b"x")) == Encoded(data=b"x")
    assert encoded(Encoded(data=b"x")) == Encoded(data=b"x")


def test_of_bytes_and_path_the_bytes_count_and_the_path_is_named():
    both = encoded({"path": "a.png", "bytes": b"x"}, "row 1")
    assert (both.data, both.path, both.name) == (b"x", None, "row 1: a.png")


@pytest.mark.parametrize("value", [None, 3, {}, {"path": None, "bytes": None}, ["a.png"]])
def test_anything_else_is_refused(value):
    with pytest.raises(BadSample, match=r"^row 1: has "):
        encoded(value, "row 1")


@pytest.mark.parametrize(
    "value",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        PIXELS.astype(np.uint16) * 257,
        torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255,
    ],
    ids=["picture", "array", "tensor", "16 bits", "float"],
)
def test_decoded_images_are_taken(value):
    assert np.array_equal(decode_image(value).permute(1, 2, 0), PIXELS)


def test_grey_and_transparent_arrays_become_rgb():
    assert decode_image(PIXELS[..., 0]).shape == decode_image(PIXELS[..., :1]).shape == (3, 4, 6)
    clear = np.dstack([PIXELS, np.zeros_like(PIXELS[..., :1])])
    assert (decode_image(clear) == 127).all()
    assert decode_image(PIXELS[..., 0] > 127).unique().tolist() == [0, 255]


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((4, 6, 5), np.uint8),
        np.zeros((4, 6, 3)) - 1,
        np.full((4, 6), np.nan),
        np.zeros((0, 6, 3)),
        PIXELS[0, 0],
    ],
    ids=["channels", "range", "nan", "empty", "axes"],
)
def test_arrays_that_are_no_image_are_refused(value):
    with pytest.raises(BadSample, match=r"^row 1: has "):
        decode_image(value, where="row 1")


def test_decoded_clips_are_taken():
    wanted = torch.from_numpy(CLIP).permute(0, 3, 1, 2)
    for value in (wanted, CLIP, [Image.fromarray(frame) for frame in CLIP], wanted.float() / 255):
        assert torch.equal(decode_video(value, 5), wanted)
    assert decode_video(wanted, 2, (2, 2)).shape == (2, 3, 2, 2)
    with pytest.raises(BadSample, match=r"^row 1: has "):
        decode_video(CLIP[..., :2], 5, where="row 1")


def test_decoded_sounds_are_taken():
    wave = torch.rand(2, 100) - 0.5
    for samples in (wave, wave.T, wave.double()):
        heard = decode_audio({"array": samples.numpy(), "sampling_rate": 100})
        torch.testing.assert_close(heard.samples, wave.mean(0))
        assert heard.sample_rate == 100
    assert torch.equal(decode_audio(Waveform(wave[0], 100), max_seconds=0.5).samples, wave[0, :50])
    whole = decode_audio({"array": np.array([-32768, 0, 16384], np.int16), "sampling_rate": 8})
    assert whole.samples.tolist() == [-1, 0, 0.5]


@pytest.mark.parametrize("value", [{"array": [0.0]}, {"array": np.zeros((2, 2, 2)), "sampling_rate": 8}])
def test_sounds_without_rate_or_with_more_axes_are_refused(value):
    with pytest.raises(BadSample, match=r"^row 1: has "):
        decode_audio(value, where="row 1")


class PlayedSound:
    def get_all_samples(self):
        return SimpleNamespace(data=torch.tensor([[0.5, 0.5], [0.0, 0.5]]), sample_rate=8000)


class PlayedVideo:
    metadata = SimpleNamespace(begin_stream_seconds=1.0, end_stream_seconds=3.0)

    def get_frames_played_at(self, seconds):
        return SimpleNamespace(
            data=torch.tensor(seconds).mul(10).byte()[:, None, None, None].expand(-1, 3, 4, 4)
        )


def test_torchcodecs_decoders_are_taken():
    assert decode_audio(PlayedSound()).samples.tolist() == [0.25, 0.5]
    assert decode_video(PlayedVideo(), 2, (4, 4))[:, 0, 0, 0].tolist() == [15, 25]


def test_what_is_encoded_is_not_taken_for_decoded():
    for value in ("a.png", b"x", {"path": "a"}, Encoded(data=b"x")):
        assert as_picture(value) is as_clip(value) is as_sound(value) is None
