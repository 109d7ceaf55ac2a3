from collections import Counter

import torch

from unimodal.data.sources.digits import Digits


def test_an_image_is_grey_uint8_with_full_range():
    images = torch.stack([sample["image"] for sample in Digits().split("val")])
    assert images.shape[1:] == (3, 8, 8)
    assert images.dtype == torch.uint8
    assert (images[:, 0] == images[:, 2]).all()
    assert (images.min(), images.max()) == (0, 255)


def test_every_digit_is_in_exactly_one_split():
    digits = Digits()
    train, val = (set(digits.indices[name]) for name in ("train", "val"))
    assert train.isdisjoint(val)
    assert train | val == set(range(1797))
    assert len(digits.split("val")) == len(val)


def test_both_splits_are_balanced():
    digits = Digits()
    for name, low, high in (("train", 0.09, 0.11), ("val", 0.065, 0.14)):
        counts = Counter(sample["label"] for sample in digits.split(name))
        shares = [counts[label] / counts.total() for label in range(10)]
        assert low < min(shares)
        assert max(shares) < high


def test_class_names_are_the_digits():
    assert Digits().class_names == list("0123456789")
