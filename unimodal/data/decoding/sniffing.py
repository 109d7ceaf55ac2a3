"""What a file is by its first bytes, whatever its name says; for messages, not for choosing a decoder."""

from typing import NamedTuple


class Kind(NamedTuple):
    """A type of file: `name` with its article, what it `holds`, a `hint` where it takes another tool."""

    name: str
    holds: tuple[str, ...] = ()
    hint: str = ""


HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
IMAGE, SOUND, VIDEO, TEXT = "an image", "sound", "a video", "text"

HTML = Kind("an HTML page", hint="what was downloaded is likely an error page")
SVG = Kind("an SVG drawing", hint="render it to PNG first, for instance with the package cairosvg")
HEIC = Kind("a HEIC image", (IMAGE,), "convert it to JPEG or PNG first, with the package pillow-heif")
AVIF = Kind("an AVIF image", (IMAGE, VIDEO))
MP4 = Kind("an MP4 or MOV file", (SOUND, VIDEO))
XML = Kind("an XML file")

MAGIC = (
    (b"\xff\xd8\xff", Kind("a JPEG file", (IMAGE,))),
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG file", (IMAGE,))),
    (b"GIF8", Kind("a GIF file", (IMAGE, VIDEO))),
    (b"BM", Kind("a BMP file", (IMAGE,))),
    (b"II*\0", Kind("a TIFF file", (IMAGE,))),
    (b"MM\0*", Kind("a TIFF file", (IMAGE,))),
    (b"ID3", Kind("an MP3 file", (SOUND,))),
    (b"\xff\xfb", Kind("an MP3 file", (SOUND,))),
    (b"fLaC", Kind("a FLAC file", (SOUND,))),
    (b"OggS", Kind("an Ogg file", (SOUND, VIDEO))),
    (b"\x1aE\xdf\xa3", Kind("a WebM or Matroska file", (SOUND, VIDEO))),
    *(
        (b"P%d\n" % kind, Kind("a PBM, PGM or PPM file", (IMAGE,), "convert it to PNG first"))
        for kind in range(1, 8)
    ),
    (b"\0\0\0\x0cjP  ", Kind("a JPEG 2000 file", (IMAGE,), "convert it to PNG first")),
    (b"%PDF", Kind("a PDF file")),
    (b"%!PS", Kind("a PostScript file")),
    (b"8BPS", Kind("a Photoshop file")),
    (b"PK\3\4", Kind("a ZIP archive")),
    (b"\x1f\x8b", Kind("a gzip archive")),
    (b"\x93NUMPY", Kind("a NumPy array")),
    (b"version https://git-lfs", Kind("a Git LFS pointer", hint="fetch the file itself with git lfs pull")),
)
RIFF = {
    b"WAVE": Kind("a WAV file", (SOUND,)),
    b"AVI ": Kind("an AVI file", (SOUND, VIDEO)),
    b"WEBP": Kind("a WebP file", (IMAGE, VIDEO)),
}


def sniff(head: bytes) -> Kind | None:
    """The type of a file that begins with `head`, of which 4096 bytes are enough; None if it is not known."""
    if head[:4] == b"RIFF":
        return RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _iso(head)
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), None) or _markup(head)


def _iso(head: bytes) -> Kind:
    if b"avif" in head[8:64] or b"avis" in head[8:64]:
        return AVIF
    return HEIC if head[8:12] in HEIC_BRANDS else MP4


def _markup(head: bytes) -> Kind | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<svg", b"<?xml", b"<!--")) and b"<svg" in text:
        return SVG
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text[:1024]:
        return HTML
    return XML if text.startswith(b"<?xml") else None
