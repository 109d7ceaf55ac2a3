import numpy as np
import pytest
import torch

from unimodal.data.sources.keypad_sequences import PAUSE, KeypadSequences
from unimodal.data.sources.keypad_tones import COLUMNS, KEYS, ROWS


def key_heard(samples, rate):
    """The key whose two frequencies are strongest."""
    time = np.arange(len(samples)) / rate
    power = [[abs(np.exp(2j * np.pi * f * time) @ samples) for f in group] for group in (ROWS, COLUMNS)]
    return KEYS[4 * int(np.argmax(power[0])) + int(np.argmax(power[1]))]


def test_each_stretch_holds_the_key_that_it_is_labelled_with():
    right = total = 0
    for sample in KeypadSequences(val_size=40).split("val"):
        samples, rate = sample["audio"]
        for start, end, key in sample["spans"]:
            right += key_heard(samples[round(start * rate) : round(end * rate)].numpy(), rate) == key
            total += 1
    assert total > 80 and right / total > 0.85  # by the exact frequencies; lines are noisy and keys off pitch


def test_keys_are_apart_and_within_the_clip():
    for sample in KeypadSequences(val_size=100).split("val"):
        edges = [0.0, *(edge for start, end, _ in sample["spans"] for edge in (start, end)), 2.0]
        gaps = np.diff(edges)
        assert 1 <= len(sample["spans"]) <= 5 and len(sample["audio"].samples) == 16_000
        assert (gaps > 0).all() and gaps[::2].min() >= PAUSE - 1e-9


def test_a_clip_is_a_pure_function_of_seed_split_and_index():
    one, again = KeypadSequences().split("train")[3], KeypadSequences().split("train")[3]
    assert torch.equal(one["audio"].samples, again["audio"].samples) and one["spans"] == again["spans"]
    assert one["spans"] != KeypadSequences(seed=1).split("train")[3]["spans"]


def test_a_clip_must_have_room_for_its_keys():
    with pytest.raises(ValueError, match=r"seconds=1\.0 is below 1\.49"):
        KeypadSequences(seconds=1.0)
