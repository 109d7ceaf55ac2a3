"""Values of any depth, sign, band layout or photometric tag are read by their declared range, or refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from unimodal.data.decoding import faults
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.masks import decode_mask

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR, LAB = 0, 1, 2, 3, 4, 5, 6, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
RAW, DEFLATE = 1, 8
LITTLE, BIG = "<", ">"
CODES = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f"}  # of TIFF's types of tag values


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch):
    monkeypatch.setattr(faults, "WARNED", set())


def tiff(
    values,
    bits=8,
    photometric=BLACK_IS_ZERO,
    kind=UNSIGNED,
    order=LITTLE,
    planar=1,
    extra=(),
    more=None,
    packing=RAW,
):
    """A TIFF file of [H, W] or [H, W, C] values, in one strip (a strip for each band if `planar` is 2)."""
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    height, width, bands = values.shape
    parts = [values[..., i] for i in range(bands)] if planar == 2 else [values.reshape(height, -1)]
    strips = [packed(part, bits, kind, order) for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if packing == DEFLATE else strips
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * bands), 259: (3, [packing])}
    tags |= {262: (3, [photometric]), 277: (3, [bands]), 278: (4, [height]), 284: (3, [planar])}
    tags |= {
        339: (3, [kind] * bands),
        273: (4, [0] * len(strips)),
        279: (4, [len(strip) for strip in strips]),
    }
    tags |= ({338: (3, list(extra))} if extra else {}) | (more or {})
    start = len(directory(tags, order))
    ends = np.cumsum([0] + [len(strip) for strip in strips])
    tags[273] = (4, [start + int(end) for end in ends[:-1]])
    return directory(tags, order) + b"".join(strips)


def packed(values, bits, kind, order):
    if bits in (8, 16, 32, 64):
        letter = {UNSIGNED: "u", SIGNED: "i", FLOAT: "f"}[kind]
        return values.astype(f"{order}{letter}{bits // 8}").tobytes()
    rows = ["".join(format(int(value), f"0{bits}b") for value in row) for row in values]
    rows = [row + "0" * (-len(row) % 8) for row in rows]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)


def directory(tags, order):
    """Header, directory and the values that do not fit in it."""
    entries, body = b"", b""
    after = 8 + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = struct.pack(f"{order}{len(values)}{CODES[kind]}", *values)
        if len(data) > 4:
            body, data = body + data + b"\0" * (len(data) % 2), struct.pack(f"{order}I", after + len(body))
        entries += struct.pack(f"{order}HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    magic = b"II*\0" if order == LITTLE else b"MM\0*"
    return magic + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4) + body


def limits(kind, low, high):
    """Return the TIFF tags SMinSampleValue and SMaxSampleValue."""
    return {340: (kind, [low]), 341: (kind, [high])}


def grey(data):
    pixels = decode_image(data)
    assert pixels.eq(pixels[:1]).all()
    return pixels[0, 0].tolist()


DEPTHS = [1, 2, 4, 8, 12, 16]
READ = [  # name, values, arguments, greys
    *(
        (f"{bits} bits", [0, 1, 2**bits - 1], {"bits": bits}, [0, round(255 / (2**bits - 1)), 255])
        for bits in DEPTHS
    ),
    *(
        (
            f"{bits} bits, 0 is white",
            [0, 1, 2**bits - 1],
            {"bits": bits, "photometric": 0},
            [255, 255 - round(255 / (2**bits - 1)), 0],
        )
        for bits in DEPTHS
    ),
    ("16 bits half", [0, 32896, 65535], {"bits": 16, "photometric": 0}, [255, 127, 0]),
    ("signed 8", [-128, 0, 127], {"kind": SIGNED}, [0, 128, 255]),
    ("signed 16", [-32768, 0, 32767], {"bits": 16, "kind": SIGNED}, [0, 128, 255]),
    (
        "signed 16, 0 is white",
        [-32768, 0, 32767],
        {"bits": 16, "kind": SIGNED, "photometric": 0},
        [255, 127, 0],
    ),
    ("unsigned 32", [0, 2**31, 2**32 - 1], {"bits": 32}, [0, 128, 255]),
    ("unsigned 32, small", [0, 32896, 65535], {"bits": 32}, [0, 128, 255]),
    ("signed 32", [-100, 0, 155], {"bits": 32, "kind": SIGNED}, [0, 100, 255]),
    (
        "signed 32 with limits",
        [-100, 0, 900],
        {"bits": 32, "kind": SIGNED, "more": limits(9, -1000, 1000)},
        [115, 128, 242],
    ),
    ("float", [0, 0.5, 1], {"bits": 32, "kind": FLOAT}, [0, 128, 255]),
    ("float, 0 is white", [0, 0.2, 1], {"bits": 32, "kind": FLOAT, "photometric": 0}, [255, 204, 0]),
    (
        "float with limits",
        [0, 2, 4],
        {"bits": 32, "kind": FLOAT, "more": limits(11, 0.0, 10.0)},
        [0, 51, 102],
    ),
    ("16 bits with limits", [0, 819, 4095], {"bits": 16, "more": limits(3, 0, 4095)}, [0, 51, 255]),
]
ONE_ORDER = {
    ("12 bits", BIG),
    ("unsigned 32", BIG),
    ("unsigned 32, small", BIG),
    ("12 bits, 0 is white", BIG),
}


@pytest.mark.parametrize("packing", [RAW, DEFLATE], ids=["raw", "deflate"])
@pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])
@pytest.mark.parametrize(("name", "values", "options", "greys"), READ, ids=[row[0] for row in READ])
def test_grey_tiff_is_read_by_its_declared_range_or_refused(name, values, options, greys, order, packing):
    data = tiff([values], order=order, packing=packing, **options)
    if (name, order) in ONE_ORDER:
        with pytest.raises(
            BadSample, match=r"TIFF file that cannot be decoded \(it has 1 x (12|32) bits, unsigned"
        ):
            decode_image(data)
    else:
        assert grey(data) == greys


PIXELS = np.array([[[10, 20, 30], [250, 240, 230]]])
FOUR = np.concatenate([PIXELS, [[[255], [255]]]], 2)
LEFT_OUT = "bands of no declared meaning (ExtraSamples=0, 1 of"
BANDS = ("name", "values", "options", "pixel", "words")
COLOURS = [  # name, values, arguments, RGB of the first pixel, words of the warning
    ("RGB", PIXELS, {"photometric": RGB}, [10, 20, 30], ""),
    ("RGB of 16 bits", PIXELS * 257, {"photometric": RGB, "bits": 16}, [10, 20, 30], ""),
    ("RGBA", FOUR, {"photometric": RGB, "extra": [2]}, [10, 20, 30], ""),
    ("RGBA, premultiplied", FOUR, {"photometric": RGB, "extra": [1]}, [10, 20, 30], ""),
    ("RGB and one more", FOUR, {"photometric": RGB, "extra": [0]}, [10, 20, 30], LEFT_OUT),
    ("grey and one more", FOUR[..., :2], {"extra": [0]}, [10] * 3, LEFT_OUT),
    ("grey, alpha", FOUR[..., ::3], {"extra": [2]}, [10] * 3, ""),
    ("grey, alpha, premultiplied", FOUR[..., ::3], {"extra": [1]}, [10] * 3, ""),
    ("CMYK", FOUR * 0, {"photometric": CMYK}, [255] * 3, ""),
    ("CMYK of 16 bits", FOUR * 0 + [0, 65535, 65535, 0], {"photometric": CMYK, "bits": 16}, [255, 0, 0], ""),
    ("YCbCr", [[[76, 85, 255]] * 2], {"photometric": YCBCR, "more": {530: (3, [1, 1])}}, [254, 0, 0], ""),
    ("Lab", np.array([[[136, 80, 67]] * 2]), {"photometric": LAB}, [250, 3, 11], ""),
    ("Lab grey", np.array([[[255, 0, 0]] * 2]), {"photometric": LAB}, [255, 255, 255], ""),
]


@pytest.mark.parametrize("packing", [RAW, DEFLATE], ids=["raw", "deflate"])
@pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])
@pytest.mark.parametrize(BANDS, COLOURS, ids=[row[0] for row in COLOURS])
def test_tiff_of_several_bands(name, values, options, pixel, words, order, packing, caplog):
    pixels = decode_image(tiff(values, order=order, packing=packing, **options))
    assert np.abs(pixels[:, 0, 0].numpy().astype(int) - pixel).max() <= 2
    assert words in caplog.text and bool(caplog.records) == bool(words)


@pytest.mark.parametrize("packing", [RAW, DEFLATE], ids=["raw", "deflate"])
@pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])
@pytest.mark.parametrize(BANDS, COLOURS, ids=[row[0] for row in COLOURS])
def test_bands_that_are_stored_apart_are_read_alike_or_refused(
    name, values, options, pixel, words, order, packing
):
    try:
        pixels = decode_image(tiff(values, order=order, packing=packing, planar=2, **options))
    except BadSample as error:
        assert "TIFF file that cannot be decoded" in str(error)
        assert name not in ("RGB", "CMYK")
    else:
        assert np.abs(pixels[:, 0, 0].numpy().astype(int) - pixel).max() <= 2


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_has_16_bits_a_colour(bits):
    table = np.linspace(0, 65535, 2**bits).round().astype(int).tolist()
    data = tiff([[0, 1, 2**bits - 1]], bits, PALETTE, more={320: (3, table + table[::-1] + table)})
    assert decode_image(data)[:, 0].T.tolist()[::2] == [[0, 255, 0], [255, 0, 255]]


REFUSED = [
    ("10 bits", tiff([[0, 1023]], 10), "1 x 10 bits, unsigned, photometric interpretation BlackIsZero"),
    ("14 bits", tiff([[0, 1023]], 14), "1 x 14 bits"),
    ("half floats", tiff([[0, 1]], 16, kind=FLOAT), "1 x 16 bits, float"),
    ("doubles", tiff([[0, 1]], 64, kind=FLOAT), "1 x 64 bits, float"),
    ("64 bits", tiff([[0, 1]], 64), "1 x 64 bits, unsigned"),
    ("a mask", tiff([[0, 1]], 1, MASK), "photometric interpretation mask"),
    (
        "float colours",
        tiff(PIXELS / 255, 32, RGB, FLOAT),
        "3 x 32 bits, float, photometric interpretation RGB",
    ),
    ("signed colours", tiff(PIXELS * 0, 8, RGB, SIGNED), "3 x 8 bits, signed"),
    ("five bands", tiff(np.zeros((1, 2, 5)), 8, extra=[0] * 4), "5 x 8 bits"),
    ("two bands", tiff(np.zeros((1, 2, 2)), 8), "2 x 8 bits"),
    ("grey of 16 bits and alpha", tiff(np.zeros((1, 2, 2)), 16, extra=[2]), "2 x 16 bits"),
    ("Lab of 16 bits", tiff(PIXELS, 16, LAB), "3 x 16 bits, unsigned, photometric interpretation Lab"),
    ("YCbCr of half the colours", tiff(PIXELS, 8, YCBCR), "YCbCr of reduced resolution"),
]


@pytest.mark.parametrize(("data", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_read_is_refused_with_its_layout(data, words):
    with pytest.raises(BadSample) as error:
        decode_image(data, where="a.tif")
    assert str(error.value).startswith("a.tif: is a TIFF file that cannot be decoded (it ")
    assert words in str(error.value) and "convert it" in str(error.value)


def test_a_range_that_is_not_declared_is_said_once(caplog):
    decode_image(tiff([[-3.0, 9.0]], 32, kind=FLOAT), where="a.tif")
    assert (
        "a.tif: has more than 8 bits a value, or a sign (mode F); the file declares no range" in caplog.text
    )


def png(depth, colour, row, clear=b""):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    width = 8 * len(row) // (depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour])
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(48))) if colour == 3 else b""
    middle = palette + (chunk(b"tRNS", clear) if clear else b"")
    data = chunk(b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + data + chunk(b"IEND", b"")


WIDE = struct.pack(">6H", 0x0102, 0x0304, 0x0506, 0xFFFF, 0x8000, 0)
PNGS = [  # depth, colour type, row, transparent value, RGB of each pixel
    (1, 0, b"\x40", b"", [[0] * 3, [255] * 3] + [[0] * 3] * 6),
    (2, 0, b"\x1b", b"", [[0] * 3, [85] * 3, [170] * 3, [255] * 3]),
    (4, 0, b"\x1f", b"", [[17] * 3, [255] * 3]),
    (16, 0, b"\0\0\x80\x80\xff\xff", b"", [[0] * 3, [128] * 3, [255] * 3]),
    (1, 0, b"\x40", b"\0\1", [[0] * 3, [127] * 3] + [[0] * 3] * 6),
    (2, 0, b"\x1b", b"\0\2", [[0] * 3, [85] * 3, [127] * 3, [255] * 3]),
    (4, 0, b"\x1f", b"\0\x0f", [[17] * 3, [127] * 3]),
    (8, 0, b"\1\xff", b"\0\xff", [[1] * 3, [127] * 3]),
    (16, 0, b"\0\0\x80\x80\xff\xff", b"\xff\xff", [[0] * 3, [128] * 3, [127] * 3]),
    (8, 2, b"\1\2\3\4\5\6", b"\0\1\0\2\0\3", [[127] * 3, [4, 5, 6]]),
    (16, 2, WIDE, b"", [[1, 3, 5], [255, 128, 0]]),
    (16, 2, WIDE, WIDE[:6], [[127] * 3, [255, 128, 0]]),
    (2, 3, b"\x1b", b"", [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]),
    (4, 3, b"\x1f", b"\xff\0", [[127] * 3, [45, 46, 47]]),
    (8, 4, b"\x64\xff\x64\0", b"", [[100] * 3, [127] * 3]),
    (16, 4, b"\x64\0\xff\xff\x64\0\0\0", b"", [[100] * 3, [127] * 3]),
    (8, 6, b"\1\2\3\xff\1\2\3\0", b"", [[1, 2, 3], [127] * 3]),
    (16, 6, WIDE[:6] + b"\xff\xff", b"", [[1, 3, 5]]),
]


@pytest.mark.parametrize(("depth", "colour", "row", "clear", "pixels"), PNGS)
def test_png_of_every_depth_and_colour_type(depth, colour, row, clear, pixels):
    assert decode_image(png(depth, colour, row, clear))[:, 0].T.tolist() == pixels


def bmp(bits, greys, row):
    """A BMP file of one row, its palette the grey values `greys`."""
    palette = b"".join(bytes([value, value, value, 0]) for value in greys)
    start, width = 14 + 40 + len(palette), 8 * len(row) // bits
    row += b"\0" * (-len(row) % 4)
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, bits, 0, len(row), 0, 0, len(greys), 0)
    return b"BM" + struct.pack("<IHHI", start + len(row), 0, 0, start) + header + palette + row


def test_bmp_with_a_palette_of_black_and_white_is_read_at_its_depth():
    assert grey(bmp(1, [0, 255], b"\x60"))[:4] == [0, 255, 255, 0]
    assert grey(bmp(1, [255, 0], b"\x60"))[:4] == [255, 0, 0, 255]
    assert grey(bmp(8, [0, 255], b"\0\1\1\0")) == [0, 255, 255, 0]
    assert grey(bmp(8, range(256), b"\0\1\xff\7")) == [0, 1, 255, 7]
    assert decode_mask(bmp(8, [0, 255], b"\0\1\1\0")).tolist() == [[0, 1, 1, 0]]
    for data in (bmp(4, [0, 255], b"\x01\x10"), bmp(4, range(16), b"\x12\x34")):
        with pytest.raises(BadSample, match="4 bits a pixel and a palette of few greys"):
            decode_image(data)


@pytest.mark.parametrize(
    ("mode", "value", "pixel"),
    [
        ("1", 1, [255] * 3),
        ("L", 9, [9] * 3),
        ("LA", (9, 0), [127] * 3),
        ("La", (100, 255), [100] * 3),
        ("La", (0, 0), [127] * 3),
        ("PA", (0, 255), [0] * 3),
        ("RGBa", (0, 0, 0, 0), [127] * 3),
        ("RGBX", (1, 2, 3, 0), [1, 2, 3]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("YCbCr", (76, 85, 255), [254, 0, 0]),
        ("HSV", (0, 255, 255), [255, 0, 0]),
        ("LAB", (255, 128, 128), [255, 255, 255]),
        ("I;16", 32896, [128] * 3),
        ("I;16B", 32896, [128] * 3),
        ("I;16L", 32896, [128] * 3),
        ("I", 32896, [128] * 3),
        ("F", 0.2, [51] * 3),
    ],
)
def test_every_mode_of_a_decoded_picture(mode, value, pixel):
    assert (
        np.abs(decode_image(Image.new(mode, (2, 1), value))[:, 0, 0].numpy().astype(int) - pixel).max() <= 1
    )


@pytest.mark.parametrize(
    "header", [b"P2\n2 1\n1000\n0 1000\n", b"P5\n2 1\n1023\n\0\0\3\xff", b"P6\n1 1\n255\n\1\2\3"]
)
def test_pgm_and_ppm_of_any_range_are_refused_by_name(header):
    with pytest.raises(
        BadSample, match="a PBM, PGM or PPM file that cannot be decoded; convert it to PNG first"
    ):
        decode_image(header)


CLASSES = [[0, 1, 2, 3]]


@pytest.mark.parametrize("order", [LITTLE, BIG], ids=["little", "big"])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_stored_values_of_a_tiff_mask_are_the_classes(bits, photometric, order):
    assert decode_mask(tiff(CLASSES, bits, photometric, order=order)).tolist() == CLASSES


@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_the_stored_values_of_a_bilevel_tiff_mask_are_the_classes(photometric):
    assert decode_mask(tiff([[0, 1, 1, 0]], 1, photometric)).tolist() == [[0, 1, 1, 0]]


def test_the_stored_values_of_other_masks_are_the_classes():
    assert decode_mask(tiff([[0, 200]], 32)).tolist() == [[0, 200]]
    assert decode_mask(tiff([[0, 100]], 8, kind=SIGNED)).tolist() == [[0, 100]]
    for depth, row in ((2, b"\x1b"), (4, b"\x01\x23"), (8, b"\0\1\2\3"), (16, b"\0\0\0\1\0\2\0\3")):
        assert decode_mask(png(depth, 0, row)).tolist() == CLASSES
    with pytest.raises(BadSample, match="has the value"):
        decode_mask(tiff([[0, -1]], 8, kind=SIGNED))


def two_pages(first):
    """The TIFF file with a second directory, of the same values."""
    order = LITTLE if first[:2] == b"II" else BIG
    end = 10 + 12 * struct.unpack_from(f"{order}H", first, 8)[0]  # where the next directory's place stands
    first += b"\0" * (len(first) % 2)
    return first[:end] + struct.pack(f"{order}I", len(first)) + first[end + 4 :] + first[8:end] + bytes(4)


def test_a_second_page_changes_nothing_of_the_first():
    first = tiff([[0.0, 0.5, 1.0]], 32, kind=FLOAT, order=BIG, packing=DEFLATE)
    assert decode_image(first)[0].tolist() == [[0, 128, 255]]
    assert decode_image(two_pages(first))[0].tolist() == [[0, 128, 255]]
