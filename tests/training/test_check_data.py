"""What `check-data` finds in folders with faults in them."""

import json
import struct

import numpy as np
import pytest
import soundfile
from PIL import Image

from unimodal.training import build
from unimodal.training.advice import advise
from unimodal.training.check_data import check_data


def picture(path, seed=0, size=(24, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    for place, name in enumerate(("cat", "dog")):
        for i in range(20):
            picture(tmp_path / "photos" / name / f"{i}.jpg", 100 * place + i)
    return tmp_path / "photos"


@pytest.fixture
def checked(configure, tmp_path, capsys):
    """Run the command; returns whether the data is good, the report, and what was printed."""

    def _checked(*overrides):
        config = configure(f"output={tmp_path / 'out'}", "loader.batch_size=8", *overrides, verb="check-data")
        good = check_data(config, tmp_path / "out")
        return good, json.loads((tmp_path / "out" / "report.json").read_text()), capsys.readouterr().out

    return _checked


def of_photos(photos):
    return ["modality=image", "data=folder", f"data.path={photos}"]


def test_good_data_is_good(checked, photos, tmp_path):
    good, report, said = checked(*of_photos(photos))
    assert good and not report["errors"] and "the data can be trained on" in said
    assert sum(report["counts"][split]["cat"] for split in report["counts"]) == 20
    assert report["sizes"]["width (pixels)"]["max"] == 24
    sheet = Image.open(tmp_path / "out" / "contact-sheet.png")
    assert sheet.width > 1000 and len(sheet.convert("RGB").getcolors(1 << 24)) > 1000


def plant(photos):
    """Twelve faults; returns the file and a word of the reason for each."""
    jpeg = (photos / "cat" / "0.jpg").read_bytes()
    (photos / "cat" / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (photos / "cat" / "empty.jpg").write_bytes(b"")
    (photos / "cat" / "page.jpg").write_bytes(b"<!DOCTYPE html><html><body>404</body></html>")
    (photos / "dog" / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    (photos / "dog" / "sound.jpg").write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20))
    png = picture(photos / "dog" / "crc.png", 77).read_bytes()
    place = png.index(b"IDAT") + 40
    (photos / "dog" / "crc.png").write_bytes(png[:place] + bytes([png[place] ^ 255]) + png[place + 1 :])
    bomb = bytearray(picture(photos / "dog" / "bomb.bmp", 5).read_bytes())
    bomb[18:26] = struct.pack("<ii", 60_000, 60_000)
    (photos / "dog" / "bomb.bmp").write_bytes(bomb)
    (photos / "cat" / "noise.png").write_bytes(np.random.default_rng(0).bytes(500))
    (photos / "cat" / "dangling.jpg").symlink_to(photos / "nowhere.jpg")
    outside = picture(photos.parent / "secret.jpg", 9)
    (photos / "cat" / "outside.jpg").symlink_to(outside)
    picture(photos / "stray.jpg", 50)
    (photos / "dog" / "folder.jpg").mkdir()
    (photos / "dog" / "0 copy.jpg").write_bytes(jpeg)
    return {
        "truncated.jpg": "trunc",
        "empty.jpg": "0 bytes",
        "page.jpg": "HTML",
        "drawing.svg": "SVG",
        "sound.jpg": "WAV",
        "crc.png": "checksum",
        "bomb.bmp": "pixels",
        "noise.png": "",
        "dangling.jpg": "",
        "outside.jpg": "outside",
        "stray.jpg": "no class",
    }


def test_every_planted_fault_is_named_with_its_reason(checked, photos):
    planted = plant(photos)
    good, report, said = checked(*of_photos(photos))
    assert not good and "cannot be trained on as it is" in said
    for name, reason in planted.items():
        [line] = [line for line in report["errors"] if name in line]
        assert reason.lower() in line.lower(), line
        assert name in said
    assert len(report["errors"]) == len(planted)
    [twelfth] = [line for line in report["warnings"] if "0 copy.jpg" in line]  # FAULTS 12
    assert "different labels (['cat'], ['dog'])" in twelfth or "different labels" in twelfth


def test_the_same_content_in_two_splits_is_a_leak(checked, photos, tmp_path):  # FAULTS 43
    for split in ("train", "test"):
        for i in range(10):
            for name in ("cat", "dog"):
                picture(tmp_path / "split" / split / name / f"{i}.png", hash((split, name, i)) % 2**31)
    same = (tmp_path / "split" / "train" / "cat" / "3.png").read_bytes()
    (tmp_path / "split" / "test" / "cat" / "other.png").write_bytes(same)
    _, report, _ = checked(*of_photos(tmp_path / "split"))
    [leak] = [line for line in report["warnings"] if "two splits" in line]
    assert "3.png" in leak and "other.png" in leak


def test_rare_classes_and_case_are_remarked(checked, photos):  # FAULTS 40, 47
    for i in range(40):
        picture(photos / "cat" / f"more{i}.png", 900 + i)
    picture(photos / "Dog" / "a.png", 1), picture(photos / "Dog" / "b.png", 2)
    _, report, _ = checked(*of_photos(photos))
    said = "\n".join(report["warnings"])
    assert "one training sample only: Dog" in said
    assert "differ in case only: dog" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("one class", "classification needs two classes or more"),
        ("few", "fewer than one batch of 64; set loader.batch_size="),
    ],
)
def test_what_training_would_refuse_is_an_error(checked, photos, change, message):  # FAULTS 40, 50
    overrides = of_photos(photos)
    if change == "one class":
        overrides[2] = f"data.path={photos / 'cat'}"
        (photos / "cat" / "sub").mkdir()
        for i in range(20):
            (photos / "cat" / f"{i}.jpg").rename(photos / "cat" / "sub" / f"{i}.jpg")
    else:
        overrides.append("loader.batch_size=64")
    good, report, _ = checked(*overrides)
    assert not good and any(message in error for error in report["errors"])


def test_sounds_get_their_spectrograms_and_advice(checked, tmp_path):
    for name, pitch in (("low", 200), ("high", 2000)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(12):
            seconds = np.arange(44_100 * (1 + i % 3)) / 44_100
            wave = 0.3 * np.sin(2 * np.pi * (pitch + i) * seconds)
            soundfile.write(tmp_path / "sounds" / name / f"{i}.wav", wave, 44_100)
    soundfile.write(tmp_path / "sounds" / "low" / "0.wav", np.zeros(8000), 8000)
    options = ["modality=audio", "data=folder", f"data.path={tmp_path / 'sounds'}", "tokenizer.max_seconds=2"]
    good, report, _ = checked(*options)
    assert good
    assert any("0.wav: is silent" in line for line in report["warnings"])  # FAULTS 14
    advice = "\n".join(report["advice"])
    assert "33% of the clips are cut: tokenizer.max_seconds=3" in advice
    assert "44100 Hz and are brought down to 8000" in advice


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("audio_frame", "tokenizer.max_seconds=2.5 "),
        ("audio_spectrogram", "tokenizer.num_frames=250 "),
        ("audio_whisper", "tokenizer.num_positions=125 "),
    ],
)
def test_cut_sounds_are_lengthened_by_the_tokenizers_own_knob(configure, option, wanted):
    node = configure("modality=audio", f"tokenizer={option}")["tokenizer"]
    if option == "audio_frame":
        node["max_seconds"] = 1.0
    sizes = {"length (seconds)": [2.5] * 20, "sample rate (Hz)": [8000] * 20}
    [advice] = advise(sizes, [], {"audio": build.make(node).preprocess}, node)
    assert advice.startswith("100% of the clips are cut") and wanted in advice


def test_texts_get_a_length_and_their_faults_named(checked, tmp_path):
    rows = [f"{'word ' * (i % 40 + 1)},{'ab'[i % 2]}" for i in range(60)] + ["ragged,row,here", "no label,"]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows]))
    options = ["modality=text", "task=classification", "data=table", f"data.path={tmp_path / 'd.csv'}"]
    good, report, said = checked(*options, "tokenizer.max_len=16", "tokenizer=text_byte")
    assert not good
    assert [error.split("d.csv ")[1] for error in report["errors"]] == [
        "line 62: has 3 values; the header has 2. Quote values that contain ','.",
        "line 63: has no label",
    ]
    assert any("of the texts are cut at 16 tokens: tokenizer.max_len=" in line for line in report["advice"])
    assert "the same content twice" in said


def test_the_embedded_data_can_be_looked_at_too(checked):
    good, report, _ = checked("modality=video", "data.train_size=40", "data.val_size=16")
    assert good and report["tokens"]["max"] == 64
