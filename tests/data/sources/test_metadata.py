"""Folders with metadata tables: each file is read, or a line says how many are not and why."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from unimodal.data.sources.folder import FolderSource


def pictures(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), tuple(os.urandom(3))).save(path)


def csv_table(path, rows, header="file_name,label"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")


def jsonl_table(path, rows):
    path.write_text("".join(json.dumps({"file_name": name, "label": label}) + "\n" for name, label in rows))


def class_folders(folder, num=12):
    names = [f"{name}/{i}.png" for name in ("green", "red") for i in range(num)]
    pictures(folder, *names)
    return [(name, name.split("/")[0]) for name in names]


def num_samples(data):
    return {name: len(data.split(name)) for name in data.split_names}


def test_class_folders_beside_a_split_with_a_table_are_read(tmp_path):
    csv_table(tmp_path / "train" / "metadata.csv", class_folders(tmp_path / "train"))
    class_folders(tmp_path / "test", 5)
    data = FolderSource(str(tmp_path))
    assert num_samples(data) == {"train": 22, "val": 2, "test": 10}
    assert [data.class_names[sample["label"]] for sample in data.split("test")] == ["green"] * 5 + ["red"] * 5
    assert (
        "test: 10 files without a metadata table; their classes are the names of their folders" in data.notes
    )


def test_classes_that_the_tables_do_not_know_are_named(tmp_path):
    csv_table(tmp_path / "train" / "metadata.csv", class_folders(tmp_path / "train"))
    pictures(tmp_path / "test", "blue/0.png")
    data = FolderSource(str(tmp_path))
    assert "blue/0.png: the class blue of test is not known from training" in data.problems[0]


@pytest.mark.parametrize(
    ("header", "more"),
    [("file_name", ""), ("file_name,x,y", ",1.5,2.5"), ("file_name,caption", ",a picture")],
)
def test_class_folders_that_do_not_go_with_the_tables_are_refused(tmp_path, header, more):
    rows = [(f"{name}{more}",) for name, _ in class_folders(tmp_path / "train")]
    csv_table(tmp_path / "train" / "metadata.csv", rows, header)
    class_folders(tmp_path / "test", 5)
    columns = {"label": ["x", "y"]} if "x" in header else {}
    with pytest.raises(
        ValueError, match=r"test has class folders but no metadata table.*; add .*test/metadata"
    ):
        FolderSource(str(tmp_path), columns=columns)


@pytest.mark.parametrize("folder", ["", "train"])
def test_two_tables_of_a_folder_are_both_read(tmp_path, folder):
    place = tmp_path / folder
    pictures(place, *(f"{i}.png" for i in range(20)))
    csv_table(place / "metadata.csv", [(f"{i}.png", "ab"[i % 2]) for i in range(10)])
    jsonl_table(place / "metadata.jsonl", [(f"{i}.png", "ab"[i % 2]) for i in range(10, 20)])
    assert num_samples(FolderSource(str(tmp_path))) == {"train": 18, "val": 2}


def test_tables_of_the_folder_and_of_its_splits_are_all_read(tmp_path):
    for split in ("train", "test"):
        pictures(tmp_path / split, *(f"{i}.png" for i in range(12)))
    csv_table(tmp_path / "metadata.csv", [(f"train/{i}.png", "ab"[i % 2]) for i in range(12)])
    csv_table(tmp_path / "test" / "metadata.csv", [(f"{i}.png", "ab"[i % 2]) for i in range(12)])
    assert num_samples(FolderSource(str(tmp_path))) == {"train": 10, "val": 2, "test": 12}


def test_a_file_in_two_tables_is_read_once_where_they_agree_and_refused_where_not(tmp_path):
    pictures(tmp_path, *(f"{i}.png" for i in range(20)))
    csv_table(tmp_path / "metadata.csv", [(f"{i}.png", i % 2) for i in range(12)])
    jsonl_table(tmp_path / "metadata.jsonl", [(f"{i}.png", i % 2) for i in range(8, 20)])
    data = FolderSource(str(tmp_path))
    assert sum(num_samples(data).values()) == 20
    assert "4 files are in two metadata tables and are read once" in data.notes
    jsonl_table(tmp_path / "metadata.jsonl", [(f"{i}.png", 1) for i in range(8, 20)])
    with pytest.raises(
        ValueError, match=r"metadata\.csv line 10 and .*metadata\.jsonl line 1 say different.*8\.png"
    ):
        FolderSource(str(tmp_path))


def test_files_that_no_table_lists_are_counted(tmp_path):
    pictures(tmp_path, *(f"images/{i}.png" for i in range(20)))
    (tmp_path / "images" / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "images" / "notes.doc").write_bytes(b"x")
    (tmp_path / "README.txt").write_text("about the data")
    csv_table(tmp_path / "metadata.csv", [(f"images/{i}.png", "ab"[i % 2]) for i in range(16)])
    notes = FolderSource(str(tmp_path)).notes
    assert notes[:2] == [
        "1 audio file and 4 image files are not listed in metadata.csv and are left out",
        "files of no kind that is read: 1 .doc",
    ]


def test_a_table_that_lists_all_files_has_no_such_note(tmp_path):
    rows = class_folders(tmp_path)
    csv_table(tmp_path / "metadata.csv", [(f"./{name}", label) for name, label in rows])
    [note] = FolderSource(str(tmp_path)).notes
    assert note.startswith("val: ")


def test_the_folders_that_a_table_of_all_files_names_are_their_splits(tmp_path):
    rows = [(f"{split}/{n}", c) for split in ("train", "test") for n, c in class_folders(tmp_path / split)]
    csv_table(tmp_path / "metadata.csv", rows)
    assert num_samples(FolderSource(str(tmp_path))) == {"train": 22, "val": 2, "test": 24}
    without = FolderSource(str(tmp_path), columns={"split": "none"})
    assert sum(num_samples(without).values()) == 48 and without.split_names == ("train", "val")


def test_a_split_column_counts_more_than_folders(tmp_path):
    rows = [
        (f"{split}/{n}", c, "train")
        for split in ("train", "test")
        for n, c in class_folders(tmp_path / split)
    ]
    csv_table(tmp_path / "metadata.csv", rows, "file_name,label,split")
    assert FolderSource(str(tmp_path)).split_names == ("train", "val")


def test_media_of_another_kind_in_class_folders_are_counted(tmp_path):
    class_folders(tmp_path)
    (tmp_path / "red" / "a.txt").write_text("a remark")
    (tmp_path / "red" / "a.wav").write_bytes(b"RIFF")
    notes = FolderSource(str(tmp_path), modality="image").notes
    assert "left out: 1 audio file and 1 text file; read are the image files (data.modality)" in notes


def test_tables_beside_split_folders_are_counted(tmp_path):
    for split in ("train", "test"):
        class_folders(tmp_path / split)
    (tmp_path / "labels.csv").write_text("a,b\n")
    assert (
        "files of no kind that is read: 1 .csv (read tables with data=table)"
        in FolderSource(str(tmp_path)).notes
    )


def test_images_outside_of_images_and_masks_are_counted(tmp_path):
    for split in ("train", "val"):
        pictures(tmp_path, *(f"{split}/images/{i}.png" for i in range(4)))
        for i in range(4):
            (tmp_path / split / "masks").mkdir(exist_ok=True)
            Image.fromarray(np.full((8, 8), i % 2, np.uint8)).save(tmp_path / split / "masks" / f"{i}.png")
    pictures(tmp_path, "test/images/0.png", "test/images/1.png", "train/images/0.jpg")
    assert (
        "3 image files are not in a pair of images and masks and are left out"
        in FolderSource(str(tmp_path)).notes
    )


def test_rows_of_the_folders_own_table_are_of_the_split_whose_folder_they_name(tmp_path):
    train, test = [f"{i}.png" for i in range(20)], [f"test/{i}.png" for i in range(5)]
    pictures(tmp_path / "train", *train)
    pictures(tmp_path, *test)
    csv_table(tmp_path / "train" / "metadata.csv", [(name, "ab"[i % 2]) for i, name in enumerate(train)])
    csv_table(tmp_path / "metadata.csv", [(name, "ab"[i % 2]) for i, name in enumerate(test)])
    source = FolderSource(str(tmp_path))
    assert len(source.split("test")) == 5
    assert len(source.split("train")) + len(source.split("val")) == 20


def test_pictures_whose_names_begin_like_a_remark_are_counted(tmp_path):
    listed, others = [f"{i}.png" for i in range(20)], [f"license_plate_{i}.png" for i in range(3)]
    pictures(tmp_path, *listed, *others)
    csv_table(tmp_path / "metadata.csv", [(name, "ab"[i % 2]) for i, name in enumerate(listed)])
    assert any("3 image files are not listed" in line for line in FolderSource(str(tmp_path)).describe())
