"""Pillow's modes to 8-bit sRGB: wide values scaled, embedded profiles applied, transparency composited."""

from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, WebPImagePlugin

GREY = (127, 127, 127)  # RGB, what is seen through transparent pixels
TIFF_BITS = 258  # the tag BitsPerSample


def to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Any image as mode RGB.

    Values wider than a byte are scaled by the range that the file declares (`eight_bits`). A profile that
    cannot be used is ignored.

    Args:
        image: of any mode.
        background: RGB, shown where it is transparent.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(eight_bits(np.asarray(image), _bits(image))).convert("RGB")
    image = _srgb(image)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA"))
    return image.convert("RGB")


def keep_transparency(image: Image.Image) -> None:
    """Makes Pillow hand over the transparency of an animated WebP file's canvas; called before loading.

    Pillow takes such a file for opaque if each frame is, though frames may leave parts of the canvas empty.
    """
    if isinstance(image, WebPImagePlugin.WebPImageFile) and image.is_animated and image.mode == "RGB":
        image._mode = image.rawmode = "RGBA"


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


def eight_bits(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """Grey values [H, W] as uint8, the whole declared range kept.

    Unsigned `bits` wide where they fit that, floats in 0 to 1 as such, all else from least to greatest.
    """
    wide = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = 0.0, float(2**bits - 1) if values.dtype.kind in "ui" else 1.0
    if wide.min() < low or wide.max() > high:
        low, high = wide.min(), wide.max()
    return np.round((wide - low) * (255 / max(high - low, np.finfo(np.float64).tiny))).astype(np.uint8)


def _bits(image: Image.Image) -> int:
    """That a value has by declaration: 12 in some TIFF files, else 16."""
    bits = image.getexif().get(TIFF_BITS, 16) if image.format == "TIFF" else 16
    bits = bits[0] if isinstance(bits, tuple) else bits
    return bits if bits in range(9, 17) else 16


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
