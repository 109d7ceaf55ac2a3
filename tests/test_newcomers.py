"""What goes wrong at the first try with one's own data: one sentence each, which says what to do."""

import sys

import numpy as np
import pytest
import soundfile
from PIL import Image

from unimodal.application import run


@pytest.fixture(autouse=True)
def unchanged_process(monkeypatch, tmp_path):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["unimodal"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def belongings(tmp_path):
    """What a newcomer may have."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(20):
            Image.new("RGB", (9, 9), (i, len(name), 0)).save(tmp_path / "photos" / name / f"{i}.png")
    (tmp_path / "one" / "cat").mkdir(parents=True)
    (tmp_path / "flat").mkdir()
    (tmp_path / "empty").mkdir()
    for i in range(20):
        Image.new("RGB", (9, 9), (i, 1, 1)).save(tmp_path / "one" / "cat" / f"{i}.png")
        Image.new("RGB", (9, 9), (i, 1, 2)).save(tmp_path / "flat" / f"{i}.png")
    (tmp_path / "sounds" / "a").mkdir(parents=True)
    (tmp_path / "sounds" / "b").mkdir(parents=True)
    for i in range(20):
        soundfile.write(tmp_path / "sounds" / "ab"[i % 2] / f"{i}.wav", np.sin(np.arange(800) * i), 8000)
    rows = [f"sentence {i},{'ab'[i % 2]},{i / 3}" for i in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["sentence,kind,score", *rows]))
    (tmp_path / "half.csv").write_text("\n".join(["text;label", "a;b"]))


IMAGE = ["modality=image", "data=folder"]
TABLE = ["modality=text", "task=classification", "data=table"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([*IMAGE, "data.path=phots"], "data.path=phots does not exist; did you mean photos?"),
        (IMAGE, "set data.path"),
        ([*IMAGE, "data.path=empty"], "holds no file that is read (it is empty)"),
        ([*IMAGE, "data.path=one"], "classification needs two classes or more; the data has ['cat']"),
        ([*IMAGE, "data.path=flat"], "no labels to classify; put the files into one folder a class"),
        ([*IMAGE, "data.path=photos/cat/1.png"], "is a file; for data=folder name a folder"),
        (
            [*IMAGE, "data.path=sounds"],
            'the samples have no "image"; they have audio, label. Choose modality=audio',
        ),
        (["modality=audio", "data=folder", "data.path=photos"], "Choose modality=image"),
        (["modality=video", "data=folder", "data.path=photos"], "Choose modality=image"),
        ([*IMAGE, "data.path=d.csv"], "else data=table"),
        (["modality=image", "data=table", "data.path=photos"], "files of media are data=folder"),
        (
            [*TABLE, "data.path=d.csv"],
            "has the columns sentence, kind, score; say which is the label with data.columns.label=NAME",
        ),
        ([*TABLE, "data.path=d.csv", "data.columns.label=knd"], "no column 'knd'; did you mean kind?"),
        (
            [*TABLE, "data.path=d.csv", "data.columns.label=score"],
            "the labels are numbers (score); use task=regression",
        ),
        (
            [*TABLE, "task=regression", "data.path=d.csv", "data.columns.label=kind"],
            "use task=classification",
        ),
        ([*TABLE, "data.path=half.csv"], "its delimiter seems to be ';'"),
        ([*TABLE, "data.path=d.csv", "data.columns.lable=kind"], "did you mean data.columns.label?"),
        (
            [*TABLE, "data.path=d.csv", "data.columns.label=kind", "data.val_fraction=2"],
            "data.val_fraction=2",
        ),
        ([*IMAGE, "data.path=photos", "loader.batch_size=64"], "lower loader.batch_size"),
        ([*IMAGE, "data.path=photos", "data.on_bad_sample=ignore"], "is unknown; set it to error or skip"),
        (["data=hub", "data.path=phots"], "did you mean photos?"),
        (["photos"], "photos is no KEY=VALUE"),
        (["pretrained=./nowhere"], "it does not exist"),
        (["pretrained=photos"], "is no checkpoint and no run folder"),
    ],
)
def test_a_mistake_ends_in_one_sentence_that_says_what_to_do(tmp_path, capsys, typed, said):
    assert (
        run(
            "train", [*typed, "output=run", "debug=fast"] if "64" not in typed[-1] else [*typed, "output=run"]
        )
        == 1
    )
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error and error.count("\n") == 1


def test_all_files_that_can_not_be_read_are_named(tmp_path, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / "photos" / "cat" / f"{name}.png").write_bytes(b"")
    assert run("train", [*IMAGE, "data.path=photos", "output=run", "debug=fast"]) == 1
    error = capsys.readouterr().err
    assert all(f"{name}.png: is empty (0 bytes)" in error for name in ("a", "b", "c"))
    assert "data.on_bad_sample=skip" in error


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_can_not_be_decoded_is_named_also_by_a_worker(tmp_path, capsys, workers):  # FAULTS 1
    for name in ("cat", "dog"):
        for i in range(20):
            file = tmp_path / "photos" / name / f"{i}.png"
            file.write_bytes(file.read_bytes()[:60])
    typed = [*IMAGE, "data.path=photos", "output=run", "debug=fast", f"loader.num_workers={workers}"]
    assert run("train", typed) == 1
    error = capsys.readouterr().err
    assert ".png: " in error and "data.on_bad_sample=skip leaves it out" in error
    assert "Traceback" not in error and error.count("\n") == 1


def test_check_data_refuses_with_its_exit_status(capsys):
    assert run("check-data", [*IMAGE, "data.path=one", "output=look"]) == 1
    assert "cannot be trained on as it is" in capsys.readouterr().out
    assert run("check-data", [*IMAGE, "data.path=photos", "output=look", "loader.batch_size=8"]) == 0


def test_predict_says_what_is_missing(capsys):
    assert run("predict", ["inputs=photos"]) == 1
    assert "checkpoint" in capsys.readouterr().err
