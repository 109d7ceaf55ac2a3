from collections import Counter

import numpy as np
import pytest
import torch

from unimodal.data.sources.digits import Digits
from unimodal.data.sources.four_digits import MODALITIES, REMARKS, WORDS, FourDigits

SOURCE = FourDigits(train_size=400, val_size=200)


def fields(sample):
    return [field for part in sample["parts"] for field in part]


def values(sample, field):
    return [part[field] for part in sample["parts"] if field in part]


def sentences(sample):
    return [text for text in values(sample, "text") if text not in REMARKS]


def written(sample):
    return sum(WORDS.index(word) for text in sentences(sample) for word in text[:-1].split() if word in WORDS)


def moving(clip):
    """How many of the three lanes differ between the first two frames."""
    lanes = clip[:, 0, 1:31].unflatten(1, (3, 10)).int()
    return int((lanes[0] != lanes[1]).flatten(1).any(1).sum())


def plain(sample):
    """A sample as values that compare."""
    parts = [(field, value) for part in sample["parts"] for field, value in part.items()]
    arrays = [value.samples if field == "audio" else value for field, value in parts if field != "text"]
    return fields(sample), values(sample, "text"), [array.tolist() for array in arrays], sample["label"]


def test_a_val_sample_holds_all_four_and_up_to_two_remarks_in_any_order():
    orders = Counter()
    for sample in SOURCE.split("val"):
        kinds = Counter(fields(sample))
        assert kinds["image"] == kinds["audio"] == kinds["video"] == 1 and 1 <= kinds["text"] <= 3
        assert len(sentences(sample)) == 1
        orders[tuple(field for field in fields(sample) if field != "text")] += 1
    assert len(orders) == 6 and max(orders.values()) < 60


def test_parts_have_the_stated_shapes():
    sample = SOURCE.split("val")[0]
    [image], [video], [audio] = (values(sample, field) for field in ("image", "video", "audio"))
    assert image.shape == (3, 8, 8) and image.dtype == torch.uint8
    assert video.shape == (4, 3, 32, 32) and video.dtype == torch.uint8
    assert audio.samples.shape == (3200,) and audio.sample_rate == 8000


def test_the_label_is_the_sum_of_what_is_there():
    digits = Digits()
    known = {
        image.numpy().tobytes(): label for image, label in zip(digits.images, digits.labels, strict=True)
    }
    silent = 0
    for sample in SOURCE.split("train"):
        if "audio" in fields(sample):
            continue
        silent += 1
        shown = sum(known[image[0].numpy().tobytes()] for image in values(sample, "image"))
        assert sample["label"] == shown + written(sample) + sum(map(moving, values(sample, "video")))
    assert silent > 50


def test_the_key_that_sounds_is_counted():
    digits = Digits()
    known = {
        image.numpy().tobytes(): label for image, label in zip(digits.images, digits.labels, strict=True)
    }
    keys = Counter()
    for sample in SOURCE.split("val"):
        [image], [video] = values(sample, "image"), values(sample, "video")
        keys[sample["label"] - known[image[0].numpy().tobytes()] - written(sample) - moving(video)] += 1
    assert set(keys) == {0, 1, 2, 3} and min(keys.values()) > 30


def test_each_share_of_training_samples_lacks_some():
    kinds = Counter(
        len(set(fields(sample)) - {"text"}) + bool(sentences(sample)) for sample in SOURCE.split("train")
    )
    assert set(kinds) == {1, 2, 3, 4} and abs(kinds[4] / 400 - 0.25) < 0.07
    whole = FourDigits(train_size=50, missing=0).split("train")
    assert all(sentences(sample) and set(fields(sample)) == set(MODALITIES) for sample in whole)


@pytest.mark.parametrize("withhold", ["audio", ["image", "text"]])
def test_what_is_withheld_is_gone_and_still_counts(withhold):
    gone = {withhold} if isinstance(withhold, str) else set(withhold)
    less = FourDigits(train_size=400, val_size=200, withhold=withhold).split("val")
    for whole, sample in zip(SOURCE.split("val"), less, strict=True):
        kept = [part for part in whole["parts"] if not part.keys() & gone]
        assert plain(sample) == plain({"parts": kept, "label": whole["label"]})
        assert not gone & set(fields(sample))


@pytest.mark.parametrize("withhold", ["audio", ["image", "text", "video"]])
def test_something_is_left_of_every_training_sample(withhold):
    rows = FourDigits(train_size=200, val_size=1, missing=1.0, withhold=withhold).split("train")
    left = [set(fields(sample)) - {"text"} or sentences(sample) for sample in rows]
    assert all(left)


def test_val_shows_unseen_handwriting():
    digits = Digits()
    for split in ("train", "val"):
        rows = {image.numpy().tobytes() for image in digits.images[digits.indices[split]]}
        assert all(
            image[0].numpy().tobytes() in rows for s in SOURCE.split(split) for image in values(s, "image")
        )


def test_a_single_frame_holds_three_digits_whatever_moves():
    for sample in list(SOURCE.split("val"))[:40]:
        [clip] = values(sample, "video")
        ink = clip[:, 0].float().sum((1, 2))
        assert torch.equal(ink, ink[:1].expand(4))


def test_samples_depend_on_seed_split_and_index_alone():
    again = FourDigits(train_size=9, val_size=9)
    assert all(plain(again.split("val")[i]) == plain(SOURCE.split("val")[i]) for i in range(9))
    labels = [
        [s["label"] for s in source.split(split)][:40]
        for source in (SOURCE, FourDigits(seed=1, train_size=40, val_size=40))
        for split in ("train", "val")
    ]
    assert len(np.unique(labels, axis=0)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": 1.5}, "data.missing=1.5"),
        ({"withhold": "smell"}, "data.withhold=smell"),
        ({"withhold": list(MODALITIES)}, "must leave something of"),
        ({"val_size": 0}, "val_size=0"),
    ],
)
def test_a_wrong_knob_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        FourDigits(**options)
