import io
import logging
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

from unimodal.data.decoding import faults
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.images import decode_image, probe_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


@pytest.fixture(autouse=True)
def _warn_again(monkeypatch):
    monkeypatch.setattr(faults, "WARNED", set())


def packed(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height=40, width=60):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def quarters():
    """Red, green above; blue, white below; 32 high, 48 wide."""
    image = Image.new("RGB", (48, 32), RED)
    image.paste(GREEN, (24, 0, 48, 16))
    image.paste(BLUE, (0, 16, 24, 32))
    image.paste(WHITE, (24, 16, 48, 32))
    return image


def corners(pixels):
    return [tuple(pixels[:, y, x].tolist()) for y, x in ((3, 3), (3, -3), (-3, 3), (-3, -3))]


def png(width, height, depth=8, colour=2, rows=b"\0" * 100):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def refused(data, *words, **options):
    with pytest.raises(BadSample) as error:
        decode_image(data, where="row 7: cat.jpg", **options)
    assert str(error.value).startswith("row 7: cat.jpg: ")
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_has_channels_first_and_the_files_pixels(kind):
    pixels = decode_image(packed(noise(), kind))
    assert (pixels.shape, pixels.dtype) == ((3, 40, 60), torch.uint8)
    assert pixels.is_contiguous()
    if kind in ("PNG", "BMP", "TIFF"):
        assert np.array_equal(pixels.permute(1, 2, 0), noise())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(kind, share):  # FAULTS 1
    data = packed(noise(), kind)
    refused(data[: int(len(data) * share)])


@pytest.mark.parametrize("place", ["checksum", "data"])
def test_a_png_with_a_bad_checksum_is_refused(place):  # FAULTS 1
    data = bytearray(packed(noise(), "PNG"))
    start = data.index(b"IDAT")
    length = struct.unpack(">I", data[start - 4 : start])[0]
    data[start + 4 + (length if place == "checksum" else length // 2)] ^= 255
    refused(bytes(data), "PNG")


def test_pillow_is_left_as_it_was():  # FAULTS 1
    limit = Image.MAX_IMAGE_PIXELS
    refused(packed(noise(), "JPEG")[:500])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_file_of_zero_bytes_is_refused(tmp_path):  # FAULTS 2
    path = tmp_path / "empty.jpg"
    path.touch()
    with pytest.raises(BadSample, match=r"empty\.jpg: is empty \(0 bytes\)"):
        decode_image(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(BadSample, match=str(path)):
            decode_image(path)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "an HTML page, not an image"),
        (b"%PDF-1.7\n", "a PDF file, not an image"),
        (b"PK\3\4" + b"\0" * 50, "a ZIP archive, not an image"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV file, not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x01\x02\x03" * 40, "cannot be decoded as an image"),
    ],
)
def test_what_is_no_image_is_named_by_its_content(data, name):  # FAULTS 2
    refused(data, name)


def test_a_wrong_extension_does_not_matter(tmp_path):  # FAULTS 2
    for kind, name in (("PNG", "a.jpg"), ("JPEG", "b.png"), ("WEBP", "c.gif"), ("BMP", "d")):
        (tmp_path / name).write_bytes(packed(noise(), kind))
        assert decode_image(tmp_path / name).shape == (3, 40, 60)


@pytest.mark.parametrize("kind", ["PPM", "TGA", "PCX", "EPS", "ICNS"])
def test_formats_beside_the_listed_ones_do_not_reach_a_parser(kind):
    refused(packed(noise(64, 64), kind))


def test_a_cmyk_jpeg_has_the_right_polarity():  # FAULTS 3
    data = packed(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in data[:64]
    assert (decode_image(data).float().mean((1, 2)) - torch.tensor(RED)).abs().max() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_by_its_declared_range(kind, caplog):  # FAULTS 4
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    for _ in range(2):
        assert decode_image(packed(Image.fromarray(values), kind))[0].tolist() == [[0, 1, 128, 255]]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    dark = Image.fromarray(values // 256)
    assert decode_image(packed(dark, kind)).max() == 1  # not stretched to what the image holds


def test_float_and_32_bit_tiff_are_scaled_and_not_clipped():  # FAULTS 4
    unit = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    assert decode_image(packed(unit, "TIFF"))[0].tolist() == [[0, 128, 255]]
    wide = Image.fromarray(np.array([[-100, 0, 155]], np.float32))
    assert decode_image(packed(wide, "TIFF"))[0].tolist() == [[0, 100, 255]]
    whole = Image.fromarray(np.array([[0, 32896, 65535]], np.int32))
    assert decode_image(packed(whole, "TIFF"))[0].tolist() == [[0, 128, 255]]


def test_sixteen_bit_rgb_keeps_its_high_byte():  # FAULTS 4
    row = b"\0" + struct.pack(">6H", 65535, 32896, 0, 257, 65535, 25700)
    assert decode_image(png(2, 1, depth=16, rows=row))[:, 0].T.tolist() == [[255, 128, 0], [1, 255, 100]]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_one_bit_grey_and_palette_become_rgb(mode):  # FAULTS 5, 10
    data = packed(Image.new("RGB", (8, 8), WHITE).convert(mode), "PNG")
    assert (decode_image(data) == 255).all()


def see_through(mode):
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0)).convert("RGBA")
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))  # left black, right transparent
    return image.convert(mode)


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("P", "GIF"), ("RGBA", "WEBP")])
def test_transparency_shows_the_background(mode, kind):  # FAULTS 5
    options = {"lossless": True} if kind == "WEBP" else {}
    data = packed(see_through("RGBA" if kind == "GIF" else mode), kind, **options)
    pixels = decode_image(data, background=(10, 127, 200))
    assert pixels[:, 0, 0].tolist() == [0, 0, 0]
    assert pixels[:, 0, -1].tolist() == [10, 127, 200]
    assert decode_image(data)[:, 0, -1].tolist() == [127, 127, 127]


def test_a_transparent_colour_of_a_palette_shows_the_background():  # FAULTS 5
    data = packed(Image.new("RGB", (8, 8), RED).quantize(4), "PNG", transparency=0)
    assert (decode_image(data) == 127).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_used_with_one_warning(kind, caplog):  # FAULTS 6
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = packed(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    for _ in range(2):
        assert corners(decode_image(data)) == [RED] * 4
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation, kind):  # FAULTS 7
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # stored so; viewers turn it by 270 degrees
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters() if orientation == 1 else quarters().transpose(turned[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode_image(packed(stored, kind, exif=exif), size=(8, 12))
    assert pixels.shape[1:] == ((16, 24) if kind == "JPEG" else (32, 48))
    for seen, wanted in zip(corners(pixels), (RED, GREEN, BLUE, WHITE), strict=True):
        assert np.abs(np.subtract(seen, wanted)).max() < 50  # JPEG and WebP are lossy


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_data_is_ignored():
    data = packed(noise(), "JPEG", exif=b"Exif\0\0" + b"MM\0*\xff\xff\xff\xff" + b"\xff" * 20)
    assert decode_image(data).shape == (3, 40, 60)


@pytest.mark.parametrize("side", [60_000, 9_000])
@pytest.mark.filterwarnings("error")
def test_a_decompression_bomb_is_refused_by_its_header(side):  # FAULTS 8
    refused(png(side, side), "max_pixels=64000000")


def test_the_limit_of_pixels_is_a_knob():  # FAULTS 8
    assert decode_image(packed(noise(10, 10), "PNG"), max_pixels=100).shape == (3, 10, 10)
    refused(packed(noise(10, 11), "PNG"), "11 x 10 pixels", "max_pixels=100", max_pixels=100)


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (7, 333)])
def test_any_aspect_ratio_is_decoded(size):  # FAULTS 8, 9
    assert decode_image(packed(Image.new("RGB", size[::-1], RED), "PNG"), size=(16, 16)).shape[1:] == size


def test_a_wide_gamut_profile_is_converted_to_srgb():  # FAULTS 10
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = decode_image(packed(noise(), "PNG", icc_profile=srgb))
    assert np.array_equal(plain.permute(1, 2, 0), noise())
    swapped = swapped_profile(srgb)
    assert corners(decode_image(packed(quarters(), "PNG", icc_profile=swapped)))[0] != RED
    assert (
        corners(decode_image(packed(quarters(), "PNG", icc_profile=lab.tobytes())))[0] == RED
    )  # does not fit


def swapped_profile(icc):
    """sRGB with the red and blue primaries exchanged, under another name."""
    red, blue = icc.index(b"rXYZ"), icc.index(b"bXYZ")
    data = bytearray(icc)
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return (
        bytes(data).replace(b"sRGB", b"odd ").replace("sRGB".encode("utf-16-be"), "odd ".encode("utf-16-be"))
    )


def test_a_broken_profile_is_ignored():  # FAULTS 10
    assert corners(decode_image(packed(quarters(), "PNG", icc_profile=b"no profile")))[0] == RED


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', ("SVG", "cairosvg")),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99, ("HEIC", "pillow-heif")),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1miaf" + b"\0" * 99, ("AVIF",)),
    ],
)
def test_formats_without_a_decoder_name_the_package(data, words):  # FAULTS 11
    refused(data, *words)


def test_a_large_jpeg_is_decoded_small_but_never_below_twice_the_size():
    data = packed(Image.new("RGB", (1600, 1000), RED), "JPEG")
    assert decode_image(data, size=(100, 100)).shape[1:] == (250, 400)
    assert decode_image(data, size=(600, 600)).shape[1:] == (1000, 1600)


def test_the_header_tells_size_and_mode():
    facts = probe_image(packed(noise(), "JPEG"))
    assert (facts.width, facts.height, facts.mode) == (60, 40, "RGB")
