"""A share of the training part, in every kind of source that has rows."""

import pytest
from datasets import Dataset

from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.table import TableSource

ROWS = [(f"text number {i}", "abc"[i % 3]) for i in range(300)]


def table(folder, **options):
    (folder / "data.csv").write_text("\n".join(["text,label", *(f"{text},{label}" for text, label in ROWS)]))
    return TableSource(str(folder / "data.csv"), **options)


def files(folder, **options):
    for text, label in ROWS:
        (folder / "files" / label).mkdir(parents=True, exist_ok=True)
        (folder / "files" / label / f"{text}.txt").write_text(text)
    return FolderSource(str(folder / "files"), **options)


def saved(folder, **options):
    texts, labels = zip(*ROWS, strict=True)
    Dataset.from_dict({"text": list(texts), "label": list(labels)}).save_to_disk(str(folder / "saved"))
    return HubSource(str(folder / "saved"), **options)


def texts(source, split):
    return {source.samples.key(row) for row in source.indices[split].tolist()}


@pytest.mark.parametrize("make", [table, files, saved])
def test_less_is_part_of_more_and_val_never_changes(tmp_path, make):
    whole, half, tenth = (make(tmp_path, train_fraction=share) for share in (1.0, 0.5, 0.1))
    assert texts(whole, "val") == texts(half, "val") == texts(tenth, "val")
    assert texts(tenth, "train") < texts(half, "train") < texts(whole, "train")
    assert len({tuple(source.class_names) for source in (whole, half, tenth)}) == 1
    num = len(whole.split("train"))
    assert 0.35 * num < len(half.split("train")) < 0.65 * num
    assert f"train: {len(tenth.split('train'))} of {num} samples" in "\n".join(tenth.describe())
    assert whole.fingerprint() != half.fingerprint()


def test_given_splits_stay_and_classes_are_those_of_the_whole(tmp_path):
    rows = [
        f"text {i},{'rare' if i == 7 else 'common'},{'val' if i % 3 == 0 else 'train'}" for i in range(90)
    ]
    (tmp_path / "data.csv").write_text("\n".join(["text,label,split", *rows]))
    source = TableSource(str(tmp_path / "data.csv"), train_fraction=0.1)
    assert source.class_names == ["common", "rare"] and len(source.split("val")) == 30
    assert 0 < len(source.split("train")) < 20


def test_evaluation_of_all_rows_needs_no_training_part(tmp_path):
    assert table(tmp_path, val_fraction=None, train_fraction=0.1).split_names == ("val",)


@pytest.mark.parametrize("share", [0, -0.5, 1.5])
def test_a_share_is_above_0_and_at_most_1(tmp_path, share):
    with pytest.raises(ValueError, match=rf"data\.train_fraction={share}"):
        table(tmp_path, train_fraction=share)


def test_a_share_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data\.train_fraction=1e-09 leaves none"):
        table(tmp_path, train_fraction=1e-9)
