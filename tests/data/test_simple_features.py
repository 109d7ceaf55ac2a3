import math

import numpy as np
import pytest
import torch

from unimodal.data.simple_features import FEATURES, read_audio, read_image, read_video
from unimodal.tokenizers.mel import LogMel
from unimodal.types import Waveform


def test_each_pixel_of_a_small_picture_is_the_mean_of_its_area():
    pixels = torch.randint(0, 256, (3, 64, 48), dtype=torch.uint8)
    expected = pixels.float().reshape(3, 16, 4, 16, 3).mean((2, 4))
    np.testing.assert_allclose(read_image(pixels), expected.flatten().numpy(), rtol=1e-6)


def test_a_clip_becomes_eight_grey_frames_that_are_spread_evenly():
    pixels = torch.arange(15, dtype=torch.uint8).reshape(15, 1, 1, 1).expand(15, 3, 16, 16)
    frames = read_video(pixels).reshape(8, 16, 16)
    assert frames[:, 0, 0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize("shape", [(1, 3, 5, 7), (3, 3, 40, 8)])
def test_a_clip_of_any_size_and_length_has_as_many_features(shape):
    assert read_video(torch.zeros(shape, dtype=torch.uint8)).shape == (2048,)


@pytest.mark.parametrize("num_samples", [1, 100, 1600, 40_001])
def test_a_sound_of_any_length_has_as_many_features(num_samples):
    assert read_audio(Waveform(torch.randn(num_samples), 16_000)).shape == (400,)


def test_the_mean_of_a_sound_is_that_of_the_log_mel_frames_of_the_model():
    samples = torch.randn(8000, generator=torch.Generator().manual_seed(0)) / 10
    mel = LogMel(8000, 40, window_length=200, hop_length=200, mean=0.0, std=1.0)
    frames = mel(samples[None])[0, 1:-1]
    assert np.corrcoef(read_audio(Waveform(samples, 8000))[:40], frames.mean(0).numpy())[0, 1] > 0.9


def test_the_parts_of_a_sound_tell_when_it_is_loud():
    samples = torch.zeros(16_000)
    samples[:8000] = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    parts = read_audio(Waveform(samples, 16_000))[80:].reshape(8, 40).mean(1)
    assert parts[:4].min() > parts[4:].max()


@pytest.mark.parametrize("field", FEATURES)
def test_a_sample_may_lack_the_field(field):
    values = ["a bee", "a sea", None] if field == "text" else [np.ones(9), np.arange(9.0), None]
    rows = FEATURES[field].encoder(values).fit_transform(values)
    assert rows.shape[0] == 3 and math.isfinite(rows.sum())
