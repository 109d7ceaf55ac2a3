"""Kinds of file that stock processors read otherwise than training, and the lines of Python that do not."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

BACKGROUND = (127, 127, 127)  # RGB, which training shows where a picture is transparent
LARGE = 4  # times the model's size: from there on training decodes a JPEG at a fraction of its size


@dataclass(frozen=True)
class Reading:
    """What the lines that read a file have to know of the run.

    Attributes:
        image_size: height and width of the pictures that the model reads.
        num_frames: that the model reads of a clip.
        max_seconds: that the model reads of a sound; 0 for all.
        kinds: names of `KINDS` that the run's held-out files have; the lines must read these as training.
    """

    image_size: tuple[int, int] = (224, 224)
    num_frames: int = 16
    max_seconds: float = 0.0
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A kind of file that transformers reads otherwise than training.

    Attributes:
        name: as the card and the console call it.
        stock: what transformers does with it.
        imports: that `lines` need.
        lines: that make it equal, of a function that has the opened file.
    """

    name: str
    stock: str
    imports: tuple[str, ...]
    lines: tuple[str, ...]


LARGE_JPEG = Kind(
    f"JPEG of {LARGE} times the model's size or more",
    "It is decoded at its full size; training decodes it at a fraction of that.",
    (),
    (
        "twice = {twice}[:: -1 if image.getexif().get(274, 1) > 4 else 1]  # as stored",
        "image.draft(None, twice)  # a large JPEG is decoded at a fraction of its size",
    ),
)
WIDE = Kind(
    "more than 8 bits a value",
    "Values above 255 become 255; training scales the range that the file declares to 0 to 255 (0 to 65535 "
    "for 16 bits, 0 to 1 for floats, else from the least value to the greatest).",
    ("import numpy",),
    (
        "tags = dict(getattr(image, 'tag_v2', {}))  # of a TIFF",
        "if image.mode[0] in 'IF':  # more than 8 bits a value",
        "    values = numpy.nan_to_num(numpy.asarray(image, float), posinf=0, neginf=0)",
        "    bits, form, grey = (numpy.ravel(tags.get(*one))[0] for one in ((258, 16), (339, 1), (262, 1)))",
        "    low, high = 0, 1 if image.mode == 'F' else 2 ** min(int(bits), 16) - 1",
        "    if form == 2 and bits <= 16:  # values with a sign",
        "        low, high = -(2 ** int(bits - 1)), 2 ** int(bits - 1) - 1",
        "    if 340 in tags and 341 in tags:  # limits of its own",
        "        low, high = (numpy.ravel(tags[tag])[0] for tag in (340, 341))",
        "    if values.min() < low or values.max() > high:",
        "        low, high = values.min(), values.max()",
        "    values = ((values - low) * (255 / max(high - low, 1e-300))).round().astype('uint8')",
        "    return Image.fromarray(values if grey else 255 - values).convert('RGB')  # 0 may be white",
    ),
)
PROFILE = Kind(
    "colour profile other than sRGB",
    "The embedded profile is ignored; training converts to sRGB.",
    ("from contextlib import suppress", "from io import BytesIO"),
    (
        "with suppress(KeyError, OSError, ValueError, TypeError, ImageCms.PyCMSError):  # a profile, to sRGB",
        "    profile = ImageCms.ImageCmsProfile(BytesIO(image.info['icc_profile']))",
        "    if not ImageCms.getProfileDescription(profile).strip().startswith('sRGB'):",
        "        mode = 'RGBA' if image.has_transparency_data else 'RGB'",
        "        if mode == 'RGBA' or image.mode not in ('L', 'CMYK'):",
        "            image = image.convert(mode)",
        "        srgb = ImageCms.createProfile('sRGB')",
        "        image = ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)",
    ),
)
TRANSPARENT = Kind(
    "transparency",
    f"The colours below transparent pixels show; training shows the grey {BACKGROUND[0]} there.",
    (),
    (
        "if image.has_transparency_data:",
        f"    ground = Image.new('RGBA', image.size, {(*BACKGROUND, 255)})",
        "    image = Image.alpha_composite(ground, image.convert('RGBA'))",
    ),
)
FFMPEG_SOUND = Kind(
    "sound that libsndfile does not read",
    "M4A, MP4, WebM and WMA need FFmpeg.",
    ("import av", "import numpy"),
    (
        "except soundfile.LibsndfileError:  # M4A, MP4, WebM ...",
        "    with av.open(path) as file:",
        "        floats, stream = av.AudioResampler('fltp'), file.streams.audio[0]",
        "        parts = [part for frame in file.decode(audio=0) for part in floats.resample(frame)]",
        "        is_mp4, seconds = 'mp4' in file.format.name, (stream.duration or 0) * stream.time_base",
        "    samples = numpy.concatenate([part.to_ndarray() for part in parts], 1).T",
        "    end = round(seconds * stream.rate) if is_mp4 and seconds else None  # the rest is padding",
        "    return samples[:end], stream.rate",
    ),
)
IMAGE_KINDS = (LARGE_JPEG, WIDE, PROFILE, TRANSPARENT)
KINDS = {"image": IMAGE_KINDS, "audio": (FFMPEG_SOUND,), "video": (), "text": ()}
"""By modality."""
RARE = {
    "image": (
        "Save rarer kinds as PNG files of 8 bits first: TIFF files of signed 8-bit or unsigned 32-bit "
        "values, of premultiplied grey, or of 12-bit or signed values of which 0 is white; 16-bit PNG files "
        "of which one value is transparent; animated WebP files with empty parts."
    ),
    "video": (
        "Convert some kinds of clips to MP4 files first: GIF, APNG and WebM with transparency, animated WebP "
        "and AVIF, and AVI files of H.264."
    ),
}
"""Kinds for which a card has no lines, by modality."""
BY_NAME = {  # what becomes of a file's name, of any kind
    "audio": (
        "Pass samples, as above, rather than the name of a file: pipe('sound.wav') needs the program "
        "ffmpeg, mixes two channels to 0.7071 x (left + right), which is 3 dB above the mean that training "
        "takes, resamples by another filter, and leaves samples above full scale, where training divides by "
        "the peak."
    ),
    "image": (
        "Pass a picture, as above, rather than the name of a file: processor('photo.jpg') decodes with "
        "torchvision or torchcodec, which read no BMP and no TIFF and give other values for some kinds."
    ),
    "video": (
        "Pass frames, as above, rather than the name of a file: pipe('clip.mp4') needs the package "
        "torchcodec, and chooses frames by their number, not all processors in the middles of equal shares. "
        "Training chooses the frames that are shown in the middles of equal shares of the duration."
    ),
}


def read_image(reading: Reading, kinds: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The imports and the lines of a function `read_image(path)` that reads `kinds` as training does."""
    height, width = reading.image_size
    wanted = [kind for kind in IMAGE_KINDS if kind.name in kinds]
    steps = [
        line.replace("{twice}", f"({2 * width}, {2 * height})") for kind in wanted for line in kind.lines
    ]
    first = [line for line in steps if line.startswith(("twice = ", "image.draft(", "tags = "))]
    body = (
        "image = Image.open(path)",
        *first,
        "image = ImageOps.exif_transpose(image)",
        *(line for line in steps if line not in first),
        "return image.convert('RGB')",
    )
    pillow = (
        "from PIL import Image, ImageCms, ImageOps"
        if PROFILE in wanted
        else "from PIL import Image, ImageOps"
    )
    imports = {pillow, *(line for kind in wanted for line in kind.imports)}
    return tuple(imports), (
        "def read_image(path):",
        *(f"    {line}" for line in body),
        "",
    )


def read_sound() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The imports and the lines of a function `read_sound(path)`: samples [S, C] and their rate."""
    body = (
        "try:",
        "    return soundfile.read(path, dtype='float32', always_2d=True)",
        *FFMPEG_SOUND.lines,
    )
    lines = ("def read_sound(path):", *(f"    {line}" for line in body), "")
    return ("import soundfile", *FFMPEG_SOUND.imports), lines


def other_kinds(modality: str, reading: Reading) -> tuple[tuple[Kind, ...], str]:
    """The kinds that a card's lines do not read as training does, and lines that do; "" where all do.

    The lines define a function that reads every kind: pass what it returns in place of the file's name.
    """
    others = tuple(kind for kind in KINDS[modality] if kind.name not in reading.kinds)
    if not others:
        return (), ""
    if modality == "image":
        imports, function = read_image(reading, [kind.name for kind in IMAGE_KINDS])
        called = "image = read_image('photo.png')"
    else:
        imports, function = read_sound()
        called = "samples, rate = read_sound('sound.m4a')"
    return others, "\n".join((*ordered(imports), "", *function, called))


def ordered(imports: Iterable[str]) -> list[str]:
    """Lines that import, each once: modules, then names, those of transformers last."""
    return sorted(
        set(imports), key=lambda line: (line.startswith("from"), "transformers" in line, line.lower())
    )
