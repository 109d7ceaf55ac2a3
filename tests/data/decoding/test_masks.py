import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.masks import NOT_COUNTED, decode_mask, mask_picture

VALUES = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def saved(path, picture, **options):
    picture.save(path, **options)
    return Encoded(path=str(path))


def palette(values=VALUES):
    picture = Image.fromarray(values, mode="L")
    picture.putpalette([255 - value // 3 for value in range(768)])
    return picture


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_stored_values_are_the_classes_whatever_colours_they_have(tmp_path, suffix):
    assert decode_mask(saved(tmp_path / f"a.{suffix}", palette())).tolist() == VALUES.tolist()


def test_grey_bilevel_and_16_bit_files_are_read_as_they_are(tmp_path):
    assert decode_mask(saved(tmp_path / "a.png", Image.fromarray(VALUES))).tolist() == VALUES.tolist()
    assert (
        decode_mask(saved(tmp_path / "b.png", Image.fromarray(VALUES.astype(np.uint16)))).tolist()
        == VALUES.tolist()
    )
    assert (
        decode_mask(saved(tmp_path / "c.png", Image.fromarray(VALUES > 1))).tolist() == (VALUES > 1).tolist()
    )


def test_resizing_mixes_no_classes():
    mask = torch.from_numpy(np.kron(np.array([[0, 7], [9, 255]], np.uint8), np.ones((5, 5), np.uint8)))
    small = decode_mask(mask, (4, 4))
    assert small.tolist() == np.kron([[0, 7], [9, 255]], np.ones((2, 2), int)).tolist()
    assert set(decode_mask(mask, (33, 17)).unique().tolist()) == {0, 7, 9, 255}


def test_arrays_and_tensors_are_taken_as_they_are():
    assert (
        decode_mask(VALUES).tolist()
        == decode_mask(torch.from_numpy(VALUES).long()).tolist()
        == VALUES.tolist()
    )


@pytest.mark.parametrize(
    ("name", "picture", "reason"),
    [
        ("a.png", Image.new("RGB", (3, 2)), "a.png: is a colour picture .mode RGB."),
        ("a.jpg", Image.new("L", (3, 2)), "a.jpg: is JPEG, which may change values; save the mask as PNG"),
        (
            "a.png",
            Image.fromarray(VALUES + 3),
            "a.png: has the value 5; there are 3 classes, 0 to 2, and 255",
        ),
    ],
)
def test_what_is_no_mask_is_named_with_its_file(tmp_path, name, picture, reason):
    with pytest.raises(BadSample, match=reason):
        decode_mask(saved(tmp_path / name, picture), num_classes=3)


def test_numbers_of_another_shape_are_refused():
    with pytest.raises(BadSample, match="whole numbers"):
        decode_mask(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(BadSample, match="whole numbers"):
        decode_mask(np.zeros((2, 2)))


def test_what_does_not_count_is_no_class_of_any_number():
    assert decode_mask(np.full((1, 1), NOT_COUNTED), num_classes=2).item() == NOT_COUNTED


def test_a_picture_of_a_mask_is_read_back(tmp_path):
    mask = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    picture = mask_picture(mask)
    assert torch.equal(decode_mask(saved(tmp_path / "a.png", picture)), mask)
    colours = np.asarray(picture.convert("RGB")).reshape(256, 3).tolist()
    assert len(set(map(tuple, colours))) == 256
    assert colours[1] == [128, 0, 0] and colours[15] == [192, 128, 128]  # Pascal VOC's
