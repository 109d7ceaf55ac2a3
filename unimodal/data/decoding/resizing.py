"""One way of resizing pixels, for whatever was decoded."""

from torch import Tensor
from torchvision.transforms.v2 import functional as tv


def resized(pixels: Tensor, size: tuple[int, int] | None) -> Tensor:
    """uint8 [..., H, W] at (height, width), bilinear and antialiased; as it is where it fits, or for None."""
    if size is None or tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    return tv.resize(pixels, list(size), antialias=True)
