"""One way of resizing pixels, for whatever was decoded."""

from collections.abc import Callable

from torch import Tensor
from torchvision.transforms.v2 import functional as tv

Size = tuple[int, int] | Callable[[int, int], tuple[int, int]]
"""(height, width), or what it is of a picture of such height and width."""


def resized(pixels: Tensor, size: Size | None) -> Tensor:
    """uint8 [..., H, W] at (height, width), bilinear and antialiased; as it is where it fits, or for None."""
    size = size(*pixels.shape[-2:]) if callable(size) else size
    if size is None or tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    return tv.resize(pixels, list(size), antialias=True)
