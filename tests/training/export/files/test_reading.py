"""The lines of a model card read every kind of file as training does, without a model."""

import numpy as np
import pytest
import torch
from transformers.image_utils import load_image

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.media import FIT
from unimodal.hub.usage_files import IMAGE_KINDS, KINDS, Reading
from unimodal.hub.usage_inputs import RESAMPLED, input_of
from unimodal.training.export.files import stored
from unimodal.training.export.kinds import kind_of
from unimodal.types import Waveform

SIZE, NUM_FRAMES, RATE, SECONDS = (24, 40), 8, 16_000, 1.0
LEVELS = 1  # of 255, by which two ways of resizing may differ


class Fit:
    """What fitting has to know of a model."""

    image_size, num_frames, sample_rate, max_seconds = SIZE, NUM_FRAMES, RATE, SECONDS


def reading(field, kinds=()):
    return Reading(SIZE, NUM_FRAMES, SECONDS, tuple(kinds))


def read_by_lines(field, path, kinds):
    """What the lines of a card make of a file."""
    given, names = input_of(field, reading(field, kinds)), {}
    lines = "\n".join((*given.imports, *given.function, *given.lines)).replace(given.given, repr(str(path)))
    exec(compile(lines, "README.md", "exec"), names)
    return names


NAMES = {
    "image": [
        "bilevel.png",
        "broken_profile.jpg",
        "clear.gif",
        "cmyk.jpg",
        "float.tif",
        "float_beyond.tif",
        "grey.jpg",
        "grey.png",
        "la.png",
        "large.jpg",
        "palette.png",
        "profile.jpg",
        "profile.png",
        "rgb.bmp",
        "rgb.gif",
        "rgb.jpg",
        "rgb.png",
        "rgb.tif",
        "rgb.webp",
        "rgba.png",
        "rgba.webp",
        "srgb.jpg",
        "turned.jpg",
        "turned_large.jpg",
        "wide.png",
        "wide.tif",
    ],
    "audio": [
        "beyond.wav",
        "float.wav",
        "int16.wav",
        "int24.wav",
        "long.wav",
        "other_rate.wav",
        "stereo.flac",
        "stereo.wav",
        "stereo_beyond.wav",
        "tone.flac",
        "tone.m4a",
        "tone.mp3",
        "tone.ogg",
        "uint8.wav",
    ],
    "video": [
        "constant.mp4",
        "long.avi",
        "long.mkv",
        "long.mp4",
        "short.mp4",
        "variable.mkv",
        "variable.mp4",
    ],
}


def test_every_kind_of_file_has_its_test(files):
    for field, names in NAMES.items():
        assert sorted(path.name for path in files(field).iterdir()) == sorted(names)
    found = {name for field in NAMES for path in files(field).iterdir() for name in kinds(field, path)}
    assert {kind.name for field in KINDS for kind in KINDS[field]} <= found


def kinds(field, path):
    return kind_of(field, Encoded(path=str(path)), reading(field))


@pytest.mark.parametrize("name", NAMES["image"])
def test_the_lines_read_pictures_as_training_does(files, name):
    path = files("image") / name
    ours = FIT["image"]({"image": Encoded(path=str(path))}, Fit)["image"]
    special = set(kinds("image", path)) & {kind.name for kind in IMAGE_KINDS}
    whole = [kind.name for kind in IMAGE_KINDS]
    for wanted in (special, whole) if special else (whole,):
        image = read_by_lines("image", path, wanted)["image"]
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        resized = FIT["image"]({"image": pixels}, Fit)["image"]
        assert (resized.int() - ours.int()).abs().max() == 0


@pytest.mark.parametrize("name", NAMES["image"])
def test_a_picture_of_no_named_kind_needs_no_lines(files, name):
    path = files("image") / name
    ours = FIT["image"]({"image": Encoded(path=str(path))}, Fit)["image"]
    plain = torch.from_numpy(np.array(load_image(str(path)))).permute(2, 0, 1)
    theirs = FIT["image"]({"image": plain}, Fit)["image"]
    named = len(kinds("image", path)) > 1
    assert named == bool((theirs.int() - ours.int()).abs().max() > 0)


@pytest.mark.parametrize("name", NAMES["audio"])
def test_the_lines_read_sounds_as_training_does(files, name):
    path = files("audio") / name
    ours = FIT["audio"]({"audio": Encoded(path=str(path))}, Fit)["audio"].samples
    names = read_by_lines("audio", path, kinds("audio", path))
    names["processor"] = type("Extractor", (), {"sampling_rate": RATE})
    exec("import torch, torchaudio\n" + "\n".join(RESAMPLED), names)
    assert len(names["samples"]) == len(ours)
    assert np.abs(names["samples"] - ours.numpy()).max() < 1e-5


@pytest.mark.parametrize("name", NAMES["video"])
def test_the_lines_choose_the_frames_that_training_does(files, name):
    path = files("video") / name
    ours = FIT["video"]({"video": Encoded(path=str(path))}, Fit)["video"]
    clip = read_by_lines("video", path, ())["clip"]
    theirs = FIT["video"]({"video": torch.from_numpy(clip).permute(0, 3, 1, 2)}, Fit)["video"]
    assert (theirs.int() - ours.int()).abs().max() <= LEVELS


class Rate:
    """As much as `stored` asks of an audio tokenizer's preprocessing."""

    sample_rate, max_seconds = RATE, SECONDS


@pytest.mark.parametrize("field", ["image", "audio", "video"])
def test_decoded_samples_are_written_to_files_without_loss(tmp_path, field):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (NUM_FRAMES, 3, 46, 62), generator=generator, dtype=torch.uint8)
    sound = Waveform(torch.randn(5000, generator=generator) / 5, 22_050)
    value = {"image": pixels[0], "audio": sound, "video": pixels}[field]
    one = stored(field, value, Rate, reading(field), tmp_path / "file")
    again, ours = (FIT[field]({field: given}, Fit)[field] for given in (Encoded(path=one.value), value))
    assert one.kind == ("decoded samples",)
    if field == "audio":
        assert torch.equal(again.samples, ours.samples)
    else:  # clips of files are resized by Pillow
        assert (again.int() - ours.int()).abs().max() <= (LEVELS if field == "video" else 0)
