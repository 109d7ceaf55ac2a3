import pytest
import torch

from unimodal.data.sources.digit_scenes import INK, DigitScenes
from unimodal.data.sources.digits import Digits


def test_a_scene_is_a_grey_image_and_the_class_of_each_pixel():
    sample = DigitScenes(val_size=4).split("val")[0]
    assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == torch.uint8
    assert sample["mask"].shape == (32, 32) and sample["mask"].dtype == torch.uint8
    assert torch.equal(sample["image"][0], sample["image"][2])


def test_a_scene_is_a_pure_function_of_seed_split_and_index():
    one, again = DigitScenes().split("train")[7], DigitScenes().split("train")[7]
    assert torch.equal(one["image"], again["image"]) and torch.equal(one["mask"], again["mask"])
    others = (
        DigitScenes(seed=1).split("train")[7],
        DigitScenes().split("val")[7],
        DigitScenes().split("train")[8],
    )
    assert not any(torch.equal(one["mask"], other["mask"]) for other in others)


def test_classes_are_where_ink_is():
    source = DigitScenes()
    assert source.region_names == ["paper", *Digits().class_names]
    for sample in source.split("val")[:50]:
        assert torch.equal(sample["mask"] > 0, sample["image"][0] >= INK)


def test_every_digit_occurs_and_most_is_paper():
    masks = torch.stack([sample["mask"] for sample in DigitScenes().split("val")[:200]])
    shares = masks.flatten().long().bincount(minlength=11) / masks.numel()
    assert len(shares) == 11 and shares[1:].min() > 0.005 and 0.7 < shares[0] < 0.95


def test_digits_keep_apart_where_there_is_room():
    """Four times as many digits, four times as much ink: none hides another."""
    ink = []
    for num in (1, 4):
        source = DigitScenes(size=64, min_digits=num, max_digits=num, min_digit_size=8, max_digit_size=8)
        ink.append(sum(sample["mask"].count_nonzero().item() for sample in source.split("val")[:200]))
    assert ink[1] == pytest.approx(4 * ink[0], rel=0.05)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="max_digit_size=40 does not fit into size=32"):
        DigitScenes(max_digit_size=40)
    with pytest.raises(ValueError, match="max_digits=1 is below 2"):
        DigitScenes(min_digits=2, max_digits=1)
    with pytest.raises(ValueError, match="no split 'test'"):
        DigitScenes().split("test")
