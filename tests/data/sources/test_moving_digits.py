from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from unimodal.data.sources.digits import Digits
from unimodal.data.sources.moving_digits import DIRECTIONS, MovingDigits


@pytest.fixture(scope="module")
def clips():
    """Videos float [n, T, H, W], one channel, and labels [n], of train and val."""
    source = MovingDigits(train_size=2000, val_size=1200)
    samples = {name: list(source.split(name)) for name in ("train", "val")}
    return {
        name: (
            np.stack([s["video"][:, 0].numpy() for s in rows]) / 255.0,
            np.array([s["label"] for s in rows]),
        )
        for name, rows in samples.items()
    }


def direction_of(first, second):
    """The label, from the peak of the circular cross-correlation of two frames [H, W]."""
    spectrum = np.fft.rfft2(second) * np.fft.rfft2(first).conj()
    peak = np.unravel_index(np.fft.irfft2(spectrum, first.shape).argmax(), first.shape)
    signs = tuple(int(np.sign((p + n // 2) % n - n // 2)) for p, n in zip(peak, first.shape, strict=True))
    return list(DIRECTIONS.values()).index(signs) if signs in DIRECTIONS.values() else -1


def test_a_clip_is_uint8_frames_first():
    video = MovingDigits(num_frames=5, size=24, digit_size=8, val_size=4).split("val")[0]["video"]
    assert video.shape == (5, 3, 24, 24)
    assert video.dtype == torch.uint8
    assert video.is_contiguous()


def test_brightness_varies_and_the_digit_is_never_faint(clips):
    peaks = clips["val"][0].max((1, 2, 3))
    assert peaks.min() > 0.3
    assert peaks.max() <= 1.0
    assert peaks.std() > 0.05


def test_directions_are_balanced():
    source = MovingDigits()
    for name, size in (("train", 2000), ("val", 400)):
        assert Counter(s["label"] for s in source.split(name)) == dict.fromkeys(range(8), size // 8)


def test_val_clips_show_val_digits():
    source, digits = MovingDigits(digit_size=8), Digits()
    for name in ("train", "val"):
        assert np.array_equal(source.digits[name], digits.images[digits.indices[name]].numpy())


def test_all_frames_of_a_clip_are_shifts_of_the_first(clips):
    videos, _ = clips["val"]
    ordered = np.sort(videos[:50].reshape(50, 8, -1))
    assert (ordered == ordered[:, :1]).all()


def test_another_seed_makes_other_clips():
    first, second = (MovingDigits(seed=seed).split("train")[0]["video"] for seed in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("frame", [0, 7])
def test_a_single_frame_does_not_tell_the_direction(clips, frame):
    (train, train_labels), (val, val_labels) = clips["train"], clips["val"]
    train, val = (videos[:, frame, ::2, ::2].reshape(len(videos), -1) for videos in (train, val))
    for model in (LogisticRegression(max_iter=300), KNeighborsClassifier(10)):
        accuracy = model.fit(train, train_labels).score(val, val_labels)
        assert abs(accuracy - 0.125) < 0.05


def test_two_frames_tell_the_direction(clips):
    videos, labels = clips["val"]
    found = np.array([direction_of(video[0], video[1]) for video in videos[:400]])
    assert (found == labels[:400]).mean() > 0.9


def test_a_step_as_long_as_the_way_round_is_refused():
    with pytest.raises(ValueError, match="max_speed=8 is not below a quarter of size=32"):
        MovingDigits(max_speed=8)


def test_a_digit_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="digit_size=40 does not fit into size=32"):
        MovingDigits(digit_size=40)
