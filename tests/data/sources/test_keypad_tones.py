from collections import Counter

import numpy as np
import pytest
import torch

from unimodal.data.sources.keypad_tones import BAND, COLUMNS, KEYS, ROWS, KeypadTones


@pytest.fixture(scope="module")
def val():
    return list(KeypadTones().split("val"))


def loudest(spectrum, frequencies, nominal):
    """Index of the nominal frequency with most power within 2 percent of it, and that power."""
    powers = [spectrum[abs(frequencies / f - 1) < 0.02].max() for f in nominal]
    return int(np.argmax(powers)), max(powers)


def decode(samples):
    """The key's label: the best window of 60 ms, every 10 ms, of a plain FFT."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, 480)[::80] * np.hanning(480)
    spectra, frequencies = abs(np.fft.rfft(windows, 2048)) ** 2, np.fft.rfftfreq(2048, 1 / 8000)
    found = []
    for spectrum in spectra:
        (row, low), (column, high) = (loudest(spectrum, frequencies, group) for group in (ROWS, COLUMNS))
        found.append((low * high, 4 * row + column))
    return max(found)[1]


def test_a_clip_is_float32_within_one(val):
    audio = val[0]["audio"]
    assert audio.sample_rate == 8000
    samples = torch.stack([sample["audio"].samples for sample in val])
    assert samples.shape == (800, 3200)
    assert samples.dtype == torch.float32
    assert samples.abs().max() <= 1


def test_keys_are_balanced(val):
    assert Counter(sample["label"] for sample in val) == dict.fromkeys(range(16), 50)
    train = Counter(sample["label"] for sample in KeypadTones(train_size=320).split("train"))
    assert train == dict.fromkeys(range(16), 20)


def test_a_plain_decoder_finds_nearly_every_key(val):
    found = [decode(sample["audio"].samples.numpy()) for sample in val[:400]]
    assert np.mean([label == s["label"] for label, s in zip(found, val, strict=False)]) > 0.95


def test_nothing_is_left_outside_the_telephone_band(val):
    spectrum = abs(np.fft.rfft(val[0]["audio"].samples.numpy()))
    frequencies = np.fft.rfftfreq(3200, 1 / 8000)
    outside = (frequencies < BAND[0]) | (frequencies > BAND[1])
    assert spectrum[outside].max() < 1e-4 * spectrum.max()


def test_another_rate_keeps_the_seconds():
    samples, rate = KeypadTones(sample_rate=16000).split("val")[0]["audio"]
    assert (len(samples), rate) == (6400, 16000)


def test_class_names_are_the_keys():
    assert KeypadTones().class_names == list(KEYS)
    assert len(set(KEYS)) == 16


@pytest.mark.parametrize("knob", [{"seconds": 0.1}, {"sample_rate": 3000}, {"val_size": 0}])
def test_a_knob_that_is_too_small_is_named(knob):
    with pytest.raises(ValueError, match=f"{next(iter(knob))}="):
        KeypadTones(**knob)
