"""The lines of a model card read every kind of file as training and `predict` do."""

import csv
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image, ImageCms
from transformers.image_utils import load_image

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.media import FIT
from unimodal.hub.usage_files import IMAGE_KINDS, KINDS, Reading
from unimodal.hub.usage_inputs import RESAMPLED, input_of
from unimodal.training.export.files import stored
from unimodal.training.export.kinds import kind_of, reading_of
from unimodal.training.predict import predict
from unimodal.types import Waveform

SIZE, NUM_FRAMES, RATE, SECONDS = (32, 32), 8, 16_000, 1.0
EXIF_LEFT = 6  # the picture lies on its side
LEVELS = 1  # of 255, by which two ways of resizing may differ
MORE = {"image": "'photo.png'", "audio": "'sound.m4a'"}
ANSWERS = {  # a run of each modality, and one whose code the folder brings
    "image": "image",
    "modern_audio": "audio",
    "video": "video",
    "modern_video": "video",
}


class Fit:
    """What fitting has to know of a model."""

    image_size, num_frames, sample_rate, max_seconds = SIZE, NUM_FRAMES, RATE, SECONDS


def smooth(seed, height=48, width=64, channels=3):
    """Slopes and a disc, 0 to 1, [H, W, C]."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = [
        0.5 + 0.5 * np.sin(generator.uniform(2, 9) * x + generator.uniform(2, 9) * y) for _ in range(channels)
    ]
    return np.stack(planes, -1)


def eight(values):
    return (values * 255).round().astype(np.uint8)


def write_images(folder):
    """One file of each kind; returns them by name."""
    rgb, grey = eight(smooth(1)), eight(smooth(2))[..., 0]
    alpha = eight(smooth(3))[..., 0]
    wide = (smooth(4)[..., 0] * 65535).astype(np.uint16)
    made = {
        "grey.png": Image.fromarray(grey),
        "wide.png": Image.fromarray(wide),
        "rgb.png": Image.fromarray(rgb),
        "rgba.png": Image.fromarray(np.dstack((rgb, alpha))),
        "la.png": Image.fromarray(np.dstack((grey, alpha))),
        "grey.jpg": Image.fromarray(grey),
        "rgb.jpg": Image.fromarray(rgb),
        "cmyk.jpg": Image.fromarray(rgb).convert("CMYK"),
        "large.jpg": Image.fromarray(eight(smooth(5, 300, 400))),
        "wide.tif": Image.fromarray(wide),
        "float.tif": Image.fromarray(smooth(6)[..., 0].astype(np.float32)),
        "float_beyond.tif": Image.fromarray((smooth(6)[..., 0] * 9 - 4).astype(np.float32)),
        "rgb.tif": Image.fromarray(rgb),
        "rgb.gif": Image.fromarray(rgb).quantize(16),
        "rgb.webp": Image.fromarray(rgb),
        "rgba.webp": Image.fromarray(np.dstack((rgb, alpha))),
        "rgb.bmp": Image.fromarray(rgb),
        "bilevel.png": Image.fromarray(grey > 127),
    }
    for name, image in made.items():
        image.save(folder / name)
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(folder / "palette.png", transparency=3)
    palette.save(folder / "clear.gif", transparency=3)
    exif = Image.Exif()
    exif[274] = EXIF_LEFT
    Image.fromarray(rgb).save(folder / "turned.jpg", exif=exif)
    Image.fromarray(eight(smooth(5, 300, 400))).save(folder / "turned_large.jpg", exif=exif)
    profile = wide_gamut()
    Image.fromarray(rgb).save(folder / "profile.jpg", icc_profile=profile)
    Image.fromarray(np.dstack((rgb, alpha))).save(folder / "profile.png", icc_profile=profile)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(rgb).save(folder / "srgb.jpg", icc_profile=srgb)
    Image.fromarray(rgb).save(folder / "broken_profile.jpg", icc_profile=b"no profile")


def wide_gamut():
    """sRGB with red and green swapped, and another name: a profile that no one can overlook."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(icc[128:132], "big")
    tags = {bytes(icc[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    i, j = tags[b"rXYZ"] + 4, tags[b"gXYZ"] + 4
    icc[i : i + 8], icc[j : j + 8] = icc[j : j + 8], icc[i : i + 8]
    return (
        bytes(icc).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")
    )


def write_sounds(folder):
    """One file of each format that is read, and what is special about sounds."""
    time = np.arange(int(0.8 * RATE)) / RATE
    tone = 0.4 * np.sin(2 * np.pi * 440 * time) + 0.1 * np.sin(2 * np.pi * 1300 * time)
    stereo = np.stack([tone, 0.3 * tone[::-1]], 1)
    soundfile.write(folder / "int16.wav", tone, RATE, "PCM_16")
    soundfile.write(folder / "int24.wav", tone, RATE, "PCM_24")
    soundfile.write(folder / "uint8.wav", tone, RATE, "PCM_U8")
    soundfile.write(folder / "float.wav", tone, RATE, "FLOAT")
    soundfile.write(folder / "beyond.wav", 3 * tone, RATE, "FLOAT")
    soundfile.write(folder / "stereo.wav", stereo, RATE, "PCM_16")
    soundfile.write(folder / "stereo_beyond.wav", 4 * stereo, RATE, "FLOAT")
    soundfile.write(folder / "long.wav", np.tile(tone, 4), RATE, "PCM_16")
    soundfile.write(folder / "other_rate.wav", stereo, 22_050, "PCM_16")
    soundfile.write(folder / "tone.flac", tone, RATE)
    soundfile.write(folder / "stereo.flac", stereo, RATE)
    soundfile.write(folder / "tone.mp3", stereo, RATE)
    soundfile.write(folder / "tone.ogg", stereo, RATE)
    with av.open(str(folder / "tone.m4a"), "w") as file:
        stream = file.add_stream("aac", rate=RATE, layout="stereo")
        samples = np.tile(stereo, (4, 1)).T.astype(np.float32)
        for start in range(0, samples.shape[1], 1024):
            part = np.ascontiguousarray(samples[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(part, "fltp", "stereo")
            frame.sample_rate, frame.pts = RATE, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_clip(path, stamps, codec="libx264", bframes=True, rotation=0):
    """Frames of their own shade, shown at `stamps` tenths of a second; the last for a tenth."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=10, width=64, height=48)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        if codec == "libx264" and not bframes:
            stream.options = {"bf": "0"}
        for number, stamp in enumerate(stamps):
            shade = 20 + 200 * number // len(stamps)
            pixels = eight(smooth(number)) // 4 + shade * 3 // 4
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_clips(folder):
    """Constant and variable rates, longer and shorter than the model's clips."""
    write_clip(folder / "constant.mp4", range(NUM_FRAMES), bframes=False)
    write_clip(folder / "long.mp4", range(37), bframes=False)
    write_clip(folder / "long.mkv", range(37), bframes=False)
    write_clip(folder / "long.avi", range(37), "mpeg4")
    write_clip(folder / "short.mp4", range(3), bframes=False)
    write_clip(folder / "variable.mp4", [*range(11), 20, 30, 40], bframes=False)
    write_clip(folder / "variable.mkv", [*range(11), 20, 30, 40], bframes=False)


WRITE = {"image": write_images, "audio": write_sounds, "video": write_clips}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of each modality's kinds of file."""

    def _files(field):
        folder = tmp_path_factory.getbasetemp() / f"kinds of {field}"
        if not folder.exists():
            folder.mkdir()
            WRITE[field](folder)
        return folder

    return _files


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


def printed(folder, field, path, special):
    """What the lines of a folder's card print about a file: the pipeline's answer and the model's outputs."""
    use, *more = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    use = use.replace(f"path = {folder.name!r}", f"path = {str(folder)!r}")
    if special:  # what the lines of that kind return takes the place of what the first ones read
        use = more[0].replace(MORE[field], repr(str(path))) + use.replace(
            input_of(field, Reading()).lines[0], ""
        )
    said = []
    lines = use.replace(input_of(field, Reading()).given, repr(str(path)))
    exec(compile(lines, "README.md", "exec"), {"print": said.append})
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_the_pipeline_says_of_files_what_predict_says(configure, trained, exported, files, tmp_path, name):
    run, folder, field = trained(name), exported(name), ANSWERS[name]
    names = run.config["task"]["class_names"]
    asked = configure(
        f"checkpoint={run.path}",
        f"inputs={files(field)}",
        f"output={tmp_path / 'answers.csv'}",
        f"top_k={len(names)}",
        "trainer=cpu",
        "trainer.precision=32-true",
        verb="predict",
    )
    with predict(asked).open() as file:
        rows = {Path(row["input"]).name: row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(NAMES[field])
    reads = reading_of(field, run.preprocess)
    card = (folder / "README.md").read_text()
    for file, row in rows.items():
        path = files(field) / file
        ours = {row[f"top_{i}"]: float(row[f"probability_{i}"]) for i in range(1, len(names) + 1)}
        special = [one for one in kind_of(field, Encoded(path=str(path)), reads) if one in named(field)]
        assert all(one in card for one in special)
        [piped, outputs] = printed(folder, field, path, special)
        assert all(abs(ours[one["label"]] - one["score"]) < 1e-3 for one in piped), file
        assert piped[0]["label"] == row["top_1"] or ours[row["top_1"]] - piped[0]["score"] < 1e-3
        scores = outputs.logits[0].softmax(0).tolist()
        assert max(abs(ours[one] - p) for one, p in zip(names, scores, strict=True)) < 1e-3, file


def named(field):
    return {kind.name for kind in KINDS[field]}


SIXTEEN = ("tokenizer.image_size=32", "tokenizer.patch_size=8", "block=classic")


@pytest.mark.slow
def test_a_folder_of_16_bit_pictures_says_what_their_names_alone_would_give(trained, exported, tmp_path):
    generator = np.random.default_rng(0)
    for part, num in (("train", 40), ("val", 12)):
        for name, low in (("dark", 2000), ("light", 30000)):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for i in range(num):
                values = generator.integers(low, low + 20000, (32, 32)).astype(np.uint16)
                Image.fromarray(values).save(folder / f"{i}.png")
    trained("wide", "modality=image", "data=folder", f"data.path={tmp_path / 'photos'}", *SIXTEEN)
    card = rendered((exported("wide", "num_samples=2") / "README.md").read_text())
    said = re.search(r"accuracy: (.*) by predict, (.*) by the card's lines, (.*) by pipeline", card)
    ours, lines, names = map(float, said.groups())
    assert ours == lines == 1 and names < 0.6 and "24 held-out samples; they differ" in card
    assert "PNG, more than 8 bits a value: the card's lines differ from predict by up to" in card
    assert "read such files by the card's lines" in card and "image = read_image('photo.jpg')" in card


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "label", "metrics"),
    [
        ("number", "data.columns.label=size", ["mae", "r2"]),
        ("tags", "data.labels.kind=multilabel", ["micro_f1"]),
    ],
)
def test_numbers_and_tags_have_their_metrics_beside_ours(trained, exported, tmp_path, name, label, metrics):
    words, rows = ["red", "green", "blue"], []
    for i in range(90):
        there = [word for j, word in enumerate(words) if i >> j & 1]
        rows.append(
            {"text": " ".join([*there, str(i)]), "label": "|".join(there), "size": 10.0 * len(there) + i % 7}
        )
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([row for row in rows if row["label"]])
    task = "regression" if name == "number" else "classification"
    table = ("modality=text", "data=table", f"data.path={tmp_path / 'table.csv'}", f"task={task}", label)
    trained(name, *table, "tokenizer.max_len=32", "data.columns.text=text")
    card = (exported(name, "num_samples=2") / "README.md").read_text()
    for metric in metrics:
        ours, lines = re.search(rf"{metric}: (\S+) by predict, (\S+) by the card", rendered(card)).groups()
        assert ours == lines
    assert "differ" not in re.search(r"r2: .*|micro_f1: .*", rendered(card))[0]


def rendered(card):
    """Backslashes of markdown undone."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", card)


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
