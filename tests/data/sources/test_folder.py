import os

import pytest
from PIL import Image

from unimodal.data.sources.folder import FolderSource


def picture(path, colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour % 256, colour // 256, 7)).save(path)


def classes(folder, names=("cat", "dog"), num=12, start=0):
    for place, name in enumerate(names):
        for i in range(num):
            picture(folder / name / f"{i}.png", start + 100 * place + i)


def files(data, split):
    return [
        os.path.relpath(sample["image"].path, data.samples.rows.place(0)[0]) for sample in data.split(split)
    ]


def test_class_folders(tmp_path):
    classes(tmp_path)
    data = FolderSource(str(tmp_path))
    assert data.class_names == ["cat", "dog"]
    assert data.split_names == ("train", "val")
    every = files(data, "train") + files(data, "val")
    assert sorted(every) == sorted(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(12))
    for sample in data.split("train"):
        assert data.class_names[sample["label"]] == os.path.basename(os.path.dirname(sample["image"].path))


def test_split_folders_are_kept(tmp_path):
    for place, split in enumerate(("train", "validation", "test")):
        classes(tmp_path / split, num=4, start=1000 * place)
    data = FolderSource(str(tmp_path))
    assert data.split_names == ("train", "val", "test")
    assert files(data, "val")[0] == "validation/cat/0.png"


def test_a_missing_val_is_made_of_train_and_test_is_left_alone(tmp_path):
    classes(tmp_path / "train")
    classes(tmp_path / "test", num=3, start=1000)
    data = FolderSource(str(tmp_path))
    assert len(data.split("test")) == 6
    assert len(data.split("train")) + len(data.split("val")) == 24


def test_files_may_lie_deeper_below_a_class(tmp_path):
    classes(tmp_path)
    picture(tmp_path / "cat" / "indoors" / "2020" / "a.png", 999)
    data = FolderSource(str(tmp_path))
    assert "cat/indoors/2020/a.png" in files(data, "train") + files(data, "val")


def test_an_unknown_split_is_refused_not_dropped(tmp_path):
    for split in ("train", "extra"):
        classes(tmp_path / split)
    with pytest.raises(ValueError, match="'extra' is no known split"):
        FolderSource(str(tmp_path))
    assert FolderSource(str(tmp_path), splits={"val": "extra"}).split_names == ("train", "val")


def test_a_class_may_be_called_train(tmp_path):
    classes(tmp_path, ("train", "car", "bus"))
    assert FolderSource(str(tmp_path)).class_names == ["bus", "car", "train"]


def test_one_level_too_high_names_the_folder_that_is_meant(tmp_path):
    classes(tmp_path / "photos")
    with pytest.raises(ValueError, match=r"did you mean data\.path=.*photos"):
        FolderSource(str(tmp_path))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_metadata_table(tmp_path, suffix):
    for i in range(12):
        picture(tmp_path / "images" / f"{i}.png", i)
    rows = {
        "csv": ["file_name,label", *(f"images/{i}.png,{'ab'[i % 2]}" for i in range(12))],
        "jsonl": [f'{{"file_name": "images/{i}.png", "label": "{"ab"[i % 2]}"}}' for i in range(12)],
    }
    (tmp_path / f"metadata.{suffix}").write_text("\n".join(rows[suffix]))
    data = FolderSource(str(tmp_path))
    assert data.class_names == ["a", "b"]
    assert sum(len(data.split(name)) for name in data.split_names) == 12


def test_a_metadata_table_for_each_split(tmp_path):
    for split in ("train", "test"):
        for i in range(12):
            picture(tmp_path / split / f"{i}.png", i)
        lines = ["file_name,label", *(f"{i}.png,{'ab'[i % 2]}" for i in range(12))]
        (tmp_path / split / "metadata.csv").write_text("\n".join(lines))
    data = FolderSource(str(tmp_path))
    assert files(data, "test")[0] == "test/0.png"


def test_texts_model_language(tmp_path):
    for i in range(8):
        (tmp_path / f"{i}.txt").write_text(f"document {i} says hello")
    data = FolderSource(str(tmp_path))
    assert not data.class_names
    assert set(data.split("train")[0]) == {"text"}


@pytest.mark.parametrize("whole", [True, False])
def test_the_end_of_a_single_text_is_held_out(tmp_path, whole):
    lines = [f"line {i}\n" for i in range(100)]
    (tmp_path / "input.txt").write_text("".join(lines))
    data = FolderSource(str(tmp_path / "input.txt" if whole else tmp_path))
    [train], [val] = data.split("train"), data.split("val")
    assert train["text"] + val["text"] == "".join(lines)
    assert val["text"].startswith("line 9")


def test_what_is_no_sample_is_counted(tmp_path):
    classes(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "cat/.hidden.png", "README.md", "cat/notes.doc"):
        (tmp_path / name).write_bytes(b"x")
    data = FolderSource(str(tmp_path))
    assert data.notes[0] == "files of no kind that is read: 1 .doc"


def test_an_empty_folder_says_what_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"holds no file that is read \(it is empty\). Read are .txt"):
        FolderSource(str(tmp_path))


def test_a_wrong_path_names_the_nearest(tmp_path):
    classes(tmp_path / "photos")
    with pytest.raises(ValueError, match=r"photo does not exist; did you mean photos\?"):
        FolderSource(str(tmp_path / "photo"))


def test_several_kinds_of_media_ask(tmp_path):
    classes(tmp_path)
    (tmp_path / "cat" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"24 image, 1 audio\); set data.modality=image"):
        FolderSource(str(tmp_path))
    assert FolderSource(str(tmp_path), modality="image").class_names == ["cat", "dog"]
    with pytest.raises(ValueError, match="holds no video files, but 24 image, 1 audio; set modality=image"):
        FolderSource(str(tmp_path), modality="video")


def test_a_table_is_sent_to_its_own_option(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n")
    with pytest.raises(ValueError, match=r"a\.csv is a file; .* else data=table"):
        FolderSource(str(tmp_path / "a.csv"))


def test_files_beside_class_folders_have_no_class_and_are_named(tmp_path):
    classes(tmp_path)
    picture(tmp_path / "stray.png")
    data = FolderSource(str(tmp_path))
    assert "stray.png: lies beside the class folders" in data.problems[0]


def test_fifos_and_links_that_lead_nowhere_out_or_round_are_named(tmp_path):  # FAULTS 44, 46
    folder = tmp_path / "data"
    classes(folder)
    picture(tmp_path / "secret.png")
    os.mkfifo(folder / "cat" / "pipe.png")
    os.symlink(tmp_path / "gone.png", folder / "cat" / "broken.png")
    os.symlink(tmp_path / "secret.png", folder / "cat" / "out.png")
    os.symlink(folder, folder / "cat" / "round")
    os.symlink(tmp_path, folder / "outside")
    said = "\n".join(FolderSource(str(folder)).problems)
    for reason in (
        "pipe.png: is not a regular",
        "broken.png",
        "out.png lies outside",
        "outside lies outside",
        "a loop",
    ):
        assert reason in said


def test_links_within_the_folder_are_followed(tmp_path):  # FAULTS 46
    classes(tmp_path)
    os.symlink(tmp_path / "cat" / "0.png", tmp_path / "dog" / "same.png")
    data = FolderSource(str(tmp_path))
    assert not data.problems
    assert sum(len(data.split(name)) for name in data.split_names) == 25


def test_an_empty_file_is_named_before_training(tmp_path):
    classes(tmp_path)
    (tmp_path / "cat" / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.png: is empty \(0 bytes\)"):
        FolderSource(str(tmp_path)).split("train")


def test_names_of_all_kinds_work(tmp_path):  # FAULTS 47
    classes(tmp_path, ("caf\u00e9 \U0001f600", "a=b,c", "two words", "Cat", "cat"))
    data = FolderSource(str(tmp_path))
    assert len(data.class_names) == 5
    assert all(sample["image"].read() for sample in data.split("train"))


def test_class_folders_with_one_picture_each(tmp_path):  # FAULTS 40
    classes(tmp_path, ("a", "b", "c", "d"), num=1)
    classes(tmp_path, ("e",), num=30, start=5000)
    data = FolderSource(str(tmp_path))
    assert sum(len(data.split(name)) for name in data.split_names) == 34
    assert data.class_names == ["a", "b", "c", "d", "e"]


def test_folders_called_like_numbers_are_classes(tmp_path):
    classes(tmp_path, ("0.5", "1.0", "10"))
    assert FolderSource(str(tmp_path)).class_names == ["0.5", "1.0", "10"]


def test_text_files_are_read_whatever_their_extensions_case(tmp_path):
    for i in range(20):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        (tmp_path / "ab"[i % 2] / f"{i}.TXT").write_text(f"document {i}")
    assert FolderSource(str(tmp_path)).split("train")[0]["text"].read().startswith(b"document")


def test_metadata_that_is_a_link_out_of_the_folder_is_refused(tmp_path):  # FAULTS 46
    classes(tmp_path / "data")
    (tmp_path / "m.csv").write_text("file_name,label\ncat/0.png,secret\n")
    os.symlink(tmp_path / "m.csv", tmp_path / "data" / "metadata.csv")
    with pytest.raises(ValueError, match="lies outside"):
        FolderSource(str(tmp_path / "data"))


def test_a_text_of_one_line_is_cut_within_it(tmp_path):
    (tmp_path / "input.txt").write_text("word " * 200 + "\n")
    data = FolderSource(str(tmp_path / "input.txt"))
    assert len(data.split("val")[0]["text"]) == 100
