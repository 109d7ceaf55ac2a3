"""Image files to pixels: JPEG, PNG, WebP, BMP, GIF, TIFF and, where Pillow has it, AVIF."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError, features
from torch import Tensor

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.faults import guarded, warn_once, why
from unimodal.data.decoding.forms import as_picture, encoded
from unimodal.data.decoding.resizing import Size
from unimodal.data.decoding.rgb import GREY, orientation, to_rgb, upright
from unimodal.data.decoding.sniffing import IMAGE
from unimodal.data.decoding.stored import described, mend, reopened, wide_values

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # no other parser is reachable
TIFF = (b"II*\0", b"MM\0*")
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class ImageFacts:
    """What an image's header says; `width` and `height` in pixels as stored, `mode` as Pillow calls it."""

    width: int
    height: int
    mode: str


def decode_image(
    value: Any,
    where: str = "",
    size: Size | None = None,
    background: tuple[int, int, int] = GREY,
    max_pixels: int = MAX_PIXELS,
) -> Tensor:
    """An image, upright and in sRGB, as uint8 [3, H, W]; of several frames or pages the first.

    Args:
        value: an encoded file, or any decoded form (`forms.as_picture`).
        where: what messages call it.
        size: (height, width) that it will be resized to, or a function of its own; lets a large JPEG be
            decoded at a fraction of its size, never below twice this. The result is not of this size.
        background: RGB, for what is transparent.
        max_pixels: more than this in the header is refused before anything is decoded.

    Raises:
        BadSample: with the file's name and the reason.
    """
    if isinstance(value, Tensor) and value.dtype == torch.uint8 and value.ndim == 3 and len(value) == 3:
        return value
    picture = as_picture(value, where)
    if picture is not None:
        with guarded(Encoded(data=b"", where=where or "an image"), IMAGE):
            return _pixels(to_rgb(upright(picture), background))
    source = encoded(value, where)
    with guarded(source, IMAGE), opened(source, max_pixels) as image:
        if size is not None:
            _shrink(image, size)
        image.load()
        wide = wide_values(image)
        if wide is not None:
            warn_once(
                source, f"has more than 8 bits a value, or a sign (mode {image.mode}); {_scaling(*wide[:2])}"
            )
        return _pixels(to_rgb(upright(image), background))


def probe_image(value: Any, where: str = "", max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """What the header says, without decoding; raises BadSample as `decode_image` does."""
    picture = as_picture(value, where)
    if picture is not None:
        return ImageFacts(*picture.size, picture.mode)
    source = encoded(value, where)
    with guarded(source, IMAGE), opened(source, max_pixels) as image:
        return ImageFacts(*image.size, image.mode)


@contextmanager
def opened(source: Encoded, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The file with nothing but its header read; raises BadSample for what is no image, or too large."""
    source.size()  # it is there, a file and not empty
    file: Any = source.path if source.data is None else BytesIO(source.data)
    formats = [*FORMATS, "AVIF"] if features.check("avif") else FORMATS
    try:
        image: Image.Image = Image.open(file, formats=formats)
        if image.format == "PNG":  # whose checksums Pillow leaves unread in decoding
            image.verify()
            image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        raise source.bad(f"is too large (max_pixels={max_pixels}): {error}") from error
    except UnidentifiedImageError as error:
        data = source.read() if source.read(4) in TIFF else b""
        again = reopened(data)
        if again is None:
            reason = described(data) or "its header is of no known format, or broken"
            raise source.bad(why(source, IMAGE, reason)) from error
        image = again
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise source.bad(
                f"has {width} x {height} pixels, more than max_pixels={max_pixels}; it is not decoded"
            )
        if _has_more(image):  # which looks for the second frame, so that Pillow reads the header again
            warn_once(source, "has more than one frame or page; the first is used")
        try:
            notes = mend(image, source.read(64))
        except ValueError as error:
            raise source.bad(why(source, IMAGE, str(error))) from error
        for note in notes:
            warn_once(source, note)
        yield image


def _shrink(image: Image.Image, size: Size) -> None:
    """By Pillow's draft mode, which only JPEG has: its blocks of 8 x 8 come out smaller, never coarser."""
    lying = orientation(image) >= 5  # stored so
    if callable(size):
        size = size(*(image.size if lying else image.size[::-1]))
    height, width = size[::-1] if lying else size
    image.draft(None, (2 * width, 2 * height))


def _has_more(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except (EOFError, ValueError, OSError, SyntaxError):
        return False
    finally:
        image.seek(0)
    return True


def _scaling(values: np.ndarray, limits: tuple[float, float] | None) -> str:
    if limits is None:
        return "the file declares no range for them; 0 to 1 or 65535 is taken, else from least to greatest"
    if values.min() < limits[0] or values.max() > limits[1]:
        return "some are beyond the range that the file declares; they are scaled from least to greatest"
    return f"they are scaled to 8 bits from the declared range, {limits[0]:g} to {limits[1]:g}"


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
