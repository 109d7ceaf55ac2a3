"""What image files declare about their values, and where Pillow reads these otherwise or wrong."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
from PIL import BmpImagePlugin, Image, ImageFile, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

BITS, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, FORMAT = 258, 262, 277, 284, 338, 339  # tags of TIFF
LEAST, GREATEST, SUBSAMPLING = 340, 341, 530
WHITE_IS_ZERO, RGB, CMYK, YCBCR = 0, 2, 5, 6  # values of PHOTOMETRIC
PHOTOMETRICS = {
    0: "WhiteIsZero",
    1: "BlackIsZero",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
}
FORMATS = {1: "unsigned", 2: "signed", 3: "float"}
SHORT = 3  # a type of values in TIFF
NATIVE = {"F;32BF": "F;32NF", "I;16BS": "I;16NS", "I;32BS": "I;32NS"}  # libtiff swaps bytes, and Pillow again
PALETTE_SCALE = {"L;2": 85, "L;4": 17}  # Pillow's value of a grey of 1
CONVERT = "convert it, for instance to an 8-bit or 16-bit PNG"


def mend(image: Image.Image, head: bytes) -> list[str]:
    """Correct how Pillow will read an image that is open but not loaded; returns what to warn of.

    Args:
        image: as it was opened.
        head: the first bytes of the file.

    Raises:
        ValueError: if Pillow would read it wrong.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _mend_tiff(image)
    if isinstance(image, BmpImagePlugin.BmpImageFile):
        _mend_bmp(image, head)
    if isinstance(image, PngImagePlugin.PngImageFile):
        _mend_png(image)
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        keep_transparency(image)
    return []


def keep_transparency(image: Image.Image) -> None:
    """Make Pillow hand over the transparency of an animated WebP file's canvas; called before loading.

    Pillow takes such a file for opaque if each frame is, though frames may leave parts of the canvas empty.
    """
    if isinstance(image, WebPImagePlugin.WebPImageFile) and image.is_animated and image.mode == "RGB":
        image._mode = image.rawmode = "RGBA"


def raw_mode(image: Image.Image) -> str:
    """How values lie in the file, as Pillow calls it; of an image that is not loaded yet, else nothing."""
    tiles: list[Any] = getattr(image, "tile", [])
    args = tiles[0][3] if tiles else ""
    return str(args[0]) if isinstance(args, tuple) else str(args)


def _set_raw_mode(image: ImageFile.ImageFile, raw: str) -> None:
    tiles: list[Any] = image.tile
    image.tile = [tile._replace(args=(raw, *tile.args[1:])) for tile in tiles]


def stored_values(image: Image.Image, raw: str) -> np.ndarray:
    """Grey or palette values as the file stores them: not scaled to a byte, not inverted.

    Args:
        image: loaded, of one band.
        raw: its `raw_mode` before it was loaded.
    """
    values = np.array(image)
    if raw.startswith("1"):
        return values ^ ("I" in raw)
    if not raw.startswith("L"):
        return _typed(values, image)
    values = values // PALETTE_SCALE.get(raw[:3], 1)
    if "I" in raw:
        values = 255 // PALETTE_SCALE.get(raw[:3], 1) - values
    return _typed(values, image)


def wide_values(image: Image.Image) -> tuple[np.ndarray, tuple[float, float] | None, bool] | None:
    """Values that Pillow keeps wider than a byte, or signed: they, their declared range, whether 0 is white.

    The range is None where the file declares none that means anything: floats and 32 bits without limits.
    Returns None for an image of bytes.
    """
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    kind, bits = _first(tags, FORMAT, 1), _first(tags, BITS, 16)
    if (
        image.mode not in ("I", "F")
        and not image.mode.startswith("I;")
        and not (image.mode == "L" and kind == 2)
    ):
        return None
    values = _typed(np.asarray(image), image)
    limits: tuple[float, float] | None = None
    if LEAST in tags and GREATEST in tags and _first(tags, LEAST, 0) < _first(tags, GREATEST, 0):
        limits = float(_first(tags, LEAST, 0)), float(_first(tags, GREATEST, 0))
    elif bits <= 16 and (tags or image.mode.startswith("I;")):
        limits = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if kind == 2 else (0.0, 2.0**bits - 1)
    white = image.info.get("white_is_zero", bool(tags) and _first(tags, PHOTOMETRIC, 0) == WHITE_IS_ZERO)
    return values, limits, bool(white)


def reopened(data: bytes) -> Image.Image | None:
    """A TIFF file of a depth that Pillow reads with 0 as black only, though here it is white; else None."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    at = _tag_at(data, order, PHOTOMETRIC) if order else None
    if at is None or struct.unpack_from(f"{order}HIH", data, at + 2) != (SHORT, 1, WHITE_IS_ZERO):
        return None
    patched = data[: at + 8] + struct.pack(f"{order}H", 1) + data[at + 10 :]
    try:
        image = Image.open(BytesIO(patched), formats=("TIFF",))
    except Image.UnidentifiedImageError:
        return None
    image.info["white_is_zero"] = True
    return image


def described(data: bytes) -> str:
    """What the tags of a TIFF file say that Pillow cannot open; nothing if they cannot be read."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        samples, bits = _first(tags, SAMPLES, 1), _first(tags, BITS, 1)
    except Exception:  # whatever a broken block makes the parser raise
        return ""
    kind = FORMATS.get(_first(tags, FORMAT, 1), "undefined")
    photometric = _first(tags, PHOTOMETRIC, 0)
    return (
        f"it has {samples} x {bits} bits, {kind}, photometric interpretation "
        f"{PHOTOMETRICS.get(photometric, photometric)}, which cannot be read; {CONVERT}"
    )


def _mend_tiff(image: TiffImagePlugin.TiffImageFile) -> list[str]:
    tags = image.tag_v2
    photometric, planes = (
        _first(tags, PHOTOMETRIC, 0),
        _first(tags, PLANAR, 1) == 2 and _first(tags, SAMPLES, 1) > 1,
    )
    codec, raw = image.tile[0][0], raw_mode(image)
    extra = tags.get(EXTRA, ())
    if planes and (
        photometric not in (RGB, CMYK, WHITE_IS_ZERO, 1)
        or any(extra)
        or image.mode in ("RGBA", "LA", "La", "PA")
        or (codec != "libtiff" and _first(tags, BITS, 8) != 8)
    ):
        raise ValueError(
            f"it stores its bands apart (PlanarConfiguration=2), which is not supported for mode "
            f"{image.mode} of {_first(tags, BITS, 8)} bits; save it with PlanarConfiguration=1"
        )
    if photometric == YCBCR and codec == "raw" and tuple(tags.get(SUBSAMPLING, (2, 2))) != (1, 1):
        raise ValueError(f"it stores YCbCr of reduced resolution without compression; {CONVERT}")
    if codec == "libtiff" and raw in NATIVE:
        _set_raw_mode(image, NATIVE[raw])
    left_out = sum(meaning == 0 for meaning in extra)
    if not left_out:
        return []
    num = _first(tags, SAMPLES, 1)
    return [f"has bands of no declared meaning (ExtraSamples=0, {left_out} of {num}); they are left out"]


def _mend_bmp(image: BmpImagePlugin.BmpImageFile, head: bytes) -> None:
    """A palette of greys makes Pillow forget how many bits a pixel has."""
    (bits,) = struct.unpack_from("<H", head, 28) if len(head) >= 30 else (0,)
    if image.mode == "1" and bits == 8 and image.tile[0][0] == "raw":
        _set_raw_mode(image, "1;8")
    elif (image.mode, bits) in (("1", 4), ("1", 8), ("L", 4), ("L", 1)):
        raise ValueError(
            f"it has {bits} bits a pixel and a palette of few greys, which is not supported; {CONVERT}"
        )


def _mend_png(image: PngImagePlugin.PngImageFile) -> None:
    """A transparent value stands in the file as wide as its pixels, whereas Pillow compares scaled pixels."""
    clear, raw = image.info.get("transparency"), raw_mode(image)
    if raw in PALETTE_SCALE and isinstance(clear, int):
        image.info["transparency"] = clear * PALETTE_SCALE[raw]
    elif raw == "RGB;16B" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _typed(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """With the sign that the file declares: Pillow has no unsigned type of 32 bits, and no signed of 8."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    kind, bits = _first(tags, FORMAT, 1), _first(tags, BITS, 0)
    if values.dtype == np.uint8 and kind == 2:
        return values.view(np.int8)
    if values.dtype == np.int32 and kind == 1 and bits == 32:
        return values.view(np.uint32)
    return values


def _first(tags: Any, tag: int, default: Any) -> Any:
    value = tags.get(tag, default)
    return value[0] if isinstance(value, tuple) and value else value


def _tag_at(data: bytes, order: str | None, wanted: int) -> int | None:
    """Where the entry of a tag begins in the first directory of a TIFF file."""
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (num,) = struct.unpack_from(f"{order}H", data, at)
        entries = range(at + 2, at + 2 + 12 * num, 12)
        return next((at for at in entries if struct.unpack_from(f"{order}H", data, at) == (wanted,)), None)
    except struct.error:
        return None
