"""What kind of file a sample is stored in: its format, and what transformers may read otherwise."""

from io import BytesIO
from typing import Any

import soundfile
from PIL import ExifTags, Image, ImageCms

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.decoding.faults import guarded
from unimodal.data.decoding.images import opened
from unimodal.data.decoding.sniffing import IMAGE, sniff
from unimodal.data.decoding.videos import probe_video
from unimodal.hub.usage_files import FFMPEG_SOUND, LARGE, LARGE_JPEG, PROFILE, TRANSPARENT, WIDE, Reading

HEAD = 4096  # bytes, by which a file is known


def reading_of(field: str, preprocess: Any, kinds: tuple[str, ...] = ()) -> Reading:
    """What the card's lines have to know of a modality's preprocessing."""
    if field == "image":
        return Reading(image_size=preprocess.image_size, kinds=kinds)
    if field == "video":
        return Reading(num_frames=preprocess.num_frames, kinds=kinds)
    if field == "audio":
        return Reading(max_seconds=preprocess.max_seconds, kinds=kinds)
    return Reading(kinds=kinds)


def kind_of(field: str, source: Encoded, reading: Reading) -> tuple[str, ...]:
    """The format of a file, and names of `KINDS` or other words for what is special about it.

    Raises:
        BadSample: if its header cannot be read.
    """
    if field == "image":
        return _image(source, reading)
    if field == "audio":
        return _sound(source)
    facts, name = probe_video(source), _format(source)
    more = facts.seconds * facts.fps > reading.num_frames + 0.5
    return (name, f"more than {reading.num_frames} frames") if more else (name,)


def _image(source: Encoded, reading: Reading) -> tuple[str, ...]:
    with guarded(source, IMAGE), opened(source) as image:
        found = {
            LARGE_JPEG: image.format == "JPEG" and _is_large(image, reading),
            WIDE: image.mode in ("I", "F") or image.mode.startswith("I;"),
            PROFILE: _has_profile(image),
            TRANSPARENT: image.has_transparency_data,
        }
        return (str(image.format), *(kind.name for kind, is_there in found.items() if is_there))


def _is_large(image: Image.Image, reading: Reading) -> bool:
    height, width = reading.image_size
    if image.getexif().get(ExifTags.Base.Orientation, 1) > 4:  # stored lying
        height, width = width, height
    return image.width >= LARGE * width and image.height >= LARGE * height


def _has_profile(image: Image.Image) -> bool:
    icc = image.info.get("icc_profile")
    if not icc:
        return False
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        return not ImageCms.getProfileDescription(profile).strip().startswith("sRGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False


def _sound(source: Encoded) -> tuple[str, ...]:
    try:
        with soundfile.SoundFile(source.path if source.data is None else BytesIO(source.data)) as file:
            channels = (f"{file.channels} channels",) if file.channels > 1 else ()
            return (f"{file.format} ({file.subtype})", *channels)
    except (soundfile.SoundFileError, TypeError, OSError):
        return _format(source), FFMPEG_SOUND.name


def _format(source: Encoded) -> str:
    known = sniff(source.read(HEAD))
    return known.name.removeprefix("a ").removeprefix("an ").removesuffix(" file") if known else "other files"
