import numpy as np
import pytest
from PIL import Image

from unimodal.data.decoding.masks import decode_mask
from unimodal.data.sources.folder import FolderSource


def write(root, *names, value=0):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


def pairs(source, split):
    samples = [source.split(split)[i] for i in range(len(source.split(split)))]
    return {(s["image"].path.rpartition("/")[2], s["mask"].path.rpartition("/")[2]) for s in samples}


@pytest.mark.parametrize(
    "layout",
    [
        "images/{split}/{name}.jpg masks/{split}/{name}.png",
        "{split}/images/{name}.jpg {split}/masks/{name}.png",
    ],
)
def test_split_folders_stand_above_or_within(tmp_path, layout):
    for split in ("train", "val"):
        write(
            tmp_path,
            *(one.format(split=split, name=f"{split}-{i}") for one in layout.split() for i in range(3)),
        )
    source = FolderSource(str(tmp_path))
    for split in ("train", "val"):
        assert pairs(source, split) == {(f"{split}-{i}.jpg", f"{split}-{i}.png") for i in range(3)}


def test_without_splits_a_part_is_held_out_and_folders_within_are_kept(tmp_path):
    write(tmp_path, *(f"{folder}/deep/{i}.png" for folder in ("images", "annotations") for i in range(40)))
    for i in range(40):
        write(tmp_path, f"images/deep/{i}.png", value=i)
    source = FolderSource(str(tmp_path))
    assert len(source.split("train")) + len(source.split("val")) == 40 and len(source.split("val")) > 0
    assert len(pairs(source, "train") | pairs(source, "val")) == 40


def test_an_image_without_a_mask_is_a_problem_and_a_mask_without_an_image_is_counted(tmp_path):
    write(tmp_path, "images/a.png", "images/b.png", "masks/b.png", "masks/c.png")
    source = FolderSource(str(tmp_path), val_fraction=None)
    assert [problem.rpartition("/")[2] for problem in source.problems] == [
        "a.png: has no mask of the same name"
    ]
    assert "1 masks without an image are left out" in source.notes


def test_classes_are_named_by_the_user_or_a_file_or_the_values_there_are(tmp_path):
    write(tmp_path, "images/a.png", "masks/a.png", value=2)
    found = FolderSource(str(tmp_path), val_fraction=None)
    assert found.region_names == ["0", "1", "2"] and any(
        "values found in 1 masks" in note for note in found.notes
    )
    (tmp_path / "classes.txt").write_text("paper\nink\nblot\n")
    assert FolderSource(str(tmp_path), val_fraction=None).region_names == ["paper", "ink", "blot"]


def test_the_mask_counts_for_the_fingerprint_but_not_for_what_a_sample_is(tmp_path):
    write(tmp_path, "images/a.png", "masks/a.png")
    before = FolderSource(str(tmp_path), val_fraction=None)
    key, fingerprint = before.split("val").key(0), before.fingerprint()
    write(tmp_path, "masks/a.png", value=1)
    after = FolderSource(str(tmp_path), val_fraction=None)
    assert after.split("val").key(0) == key and after.fingerprint() != fingerprint


def test_a_mask_names_its_image_and_itself_in_messages(tmp_path):
    write(tmp_path, "images/a.png", "masks/a.png", value=9)
    mask = FolderSource(str(tmp_path), val_fraction=None).split("val")[0]["mask"]
    with pytest.raises(ValueError, match=r"masks/a.png: has the value 9; there are 2 classes"):
        decode_mask(mask, num_classes=2)
