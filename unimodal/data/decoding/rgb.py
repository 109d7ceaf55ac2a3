"""Pillow's modes to 8-bit sRGB: wide values scaled, embedded profiles applied, transparency composited."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from unimodal.data.decoding.stored import wide_values

GREY = (127, 127, 127)  # RGB, what is seen through transparent pixels


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any image as mode RGB.

    Values wider than a byte are scaled by the range that the file declares (`eight_bits`). A profile that
    cannot be used is ignored.

    Args:
        image: of any mode.
        background: RGB, shown where it is transparent.
    """
    wide = wide_values(image)
    if wide is not None:
        return _grey(*wide, image.info.get("transparency"), background)
    if image.mode == "LAB":  # whose numbers Pillow's own conversion takes for other colours
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.mode == "La":  # premultiplied, from which Pillow converts nothing
        grey, alpha = image.getchannel(0), image.getchannel(1)
        image = Image.merge("RGBa", (grey, grey, grey, alpha)).convert("RGBA")
    image = _srgb(image)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("RGB")


def _grey(
    values: np.ndarray,
    limits: tuple[float, float] | None,
    white_is_zero: bool,
    clear: Any,
    background: tuple[int, int, int],
) -> Image.Image:
    """`clear` is the value that is transparent."""
    grey = eight_bits(values, limits)
    image = Image.fromarray(255 - grey if white_is_zero else grey).convert("RGB")
    if isinstance(clear, int):
        image.paste(background, mask=Image.fromarray(values == clear))
    return image


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation wants it shown."""
    return image if orientation(image) == 1 else ImageOps.exif_transpose(image)


def orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF counts them; 1 where there is none, or EXIF data that cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever a broken block makes the parser raise
        return 1
    return value if value in range(2, 9) else 1


def eight_bits(values: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
    """Grey values [H, W] as uint8, the whole of the range `limits` kept.

    Without limits, or with values beyond them: whole numbers in 0 to 65535 and floats in 0 to 1 as such, all
    else from least to greatest.
    """
    wide = values if values.dtype.kind in "ui" else np.nan_to_num(values, posinf=0, neginf=0)
    low, high = limits or (0.0, 65535.0 if values.dtype.kind in "ui" else 1.0)
    if wide.min() < low or wide.max() > high:
        low, high = float(wide.min()), float(wide.max())
    scaled = (wide - np.float64(low)) * (255 / max(high - low, np.finfo(np.float64).tiny))
    return np.round(scaled, out=scaled).astype(np.uint8)


def _srgb(image: Image.Image) -> Image.Image:
    icc = image.info.get("icc_profile")
    if not icc:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        if ImageCms.getProfileDescription(profile).strip().startswith("sRGB"):
            return image
        has_alpha = image.has_transparency_data
        if image.mode not in ("L", "CMYK", "RGB", "RGBA") or has_alpha:
            image = image.convert("RGBA" if has_alpha else "RGB")
        changed = ImageCms.profileToProfile(
            image, profile, ImageCms.createProfile("sRGB"), outputMode="RGBA" if has_alpha else "RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if changed is None else changed
