"""Mask files to class indices: one class a pixel, never a colour, never a mixture of two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.faults import guarded
from unimodal.data.decoding.forms import encoded
from unimodal.data.decoding.images import opened
from unimodal.data.decoding.sniffing import IMAGE
from unimodal.data.decoding.stored import raw_mode, stored_values

NOT_COUNTED = 255  # the pixel belongs to no class that is asked for
LOSSLESS = ("PNG", "BMP", "TIFF")
MODES = ("P", "L", "1", "I;16", "I;16B", "I")


def decode_mask(value: Any, size: Sequence[int] | None = None, num_classes: int = NOT_COUNTED) -> Tensor:
    """The class of each pixel, uint8 [H, W]; `NOT_COUNTED` = of none.

    Args:
        value: a palette, grey or bilevel PNG, BMP or TIFF file whose stored values are the classes; or
            such values as a tensor or an array [H, W].
        size: (height, width) to resize to; each pixel takes the value of the nearest.
        num_classes: other values are an error.

    Raises:
        BadSample: for a colour picture, a format whose compression changes values, or a value of no class.
    """
    if isinstance(value, Tensor | np.ndarray):
        name, values = "a mask", np.asarray(value)
    else:
        name, values = encoded(value).name, _stored(encoded(value))
    mask = _classes(values, name, num_classes)
    if size is None or tuple(mask.shape) == tuple(size):
        return mask
    return tv.resize(mask[None], list(size), InterpolationMode.NEAREST_EXACT)[0]


def mask_picture(mask: Tensor) -> Image.Image:
    """Uint8 [H, W] as a palette picture that stores the very values, each shown in a colour of its own."""
    picture = Image.fromarray(mask.numpy(), mode="L")
    picture.putpalette([channel for value in range(256) for channel in _colour(value)])
    return picture


def _colour(value: int) -> tuple[int, int, int]:
    """Pascal VOC's: 0 is black, neighbours differ much. Bit 3i + c of the value is bit 7 - i of channel c."""
    red, green, blue = (
        sum((value >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)
    )
    return red, green, blue


def _stored(source: Encoded) -> np.ndarray:
    with guarded(source, IMAGE), opened(source) as image:
        if image.format not in LOSSLESS:
            raise source.bad(f"is {image.format}, which may change values; save the mask as PNG")
        if image.mode not in MODES:
            raise source.bad(
                f"is a colour picture (mode {image.mode}); a mask has one value a pixel, its class: "
                "save it as a palette or grey PNG"
            )
        raw = raw_mode(image)
        image.load()
        return stored_values(image, raw)


def _classes(values: np.ndarray, name: str, num_classes: int) -> Tensor:
    if values.ndim != 2 or values.dtype.kind not in "bui" or not values.size:
        raise BadSample(f"{name}: has {values.dtype} {list(values.shape)}; whole numbers [H, W] are wanted")
    wrong = values[((values < 0) | (values >= num_classes)) & (values != NOT_COUNTED)]
    if wrong.size:
        raise BadSample(
            f"{name}: has the value {wrong.max()}; there are {num_classes} classes, 0 to {num_classes - 1}, "
            f"and {NOT_COUNTED} does not count"
        )
    return torch.from_numpy(values.astype(np.uint8))
