"""Test splits without labels are for `predict`; training leaves them out and says how many rows they have."""

import json

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.table import TableSource

LINE = "test: 8 samples without labels are left out; unimodal predict is for them"
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["yes", "no", "unused"])})


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def texts(num, name):
    return [f"{name} text {i}" for i in range(num)]


def table(folder, test_label, train_label=lambda i: "ab"[i % 2]):
    train = [{"text": text, "label": train_label(i)} for i, text in enumerate(texts(40, "train"))]
    lines(folder / "train.jsonl", train)
    lines(folder / "test.jsonl", [{"text": text} | test_label for text in texts(8, "test")])
    return str(folder)


@pytest.mark.parametrize("label", [{}, {"label": None}, {"label": ""}, {"label": -1}, {"label": "-1"}])
def test_a_test_table_without_labels_is_left_out(tmp_path, label):
    data = TableSource(table(tmp_path, label))
    assert data.split_names == ("train", "val") and LINE in data.describe() and not data.problems
    assert len(data.split("train")) + len(data.split("val")) == 40
    with pytest.raises(ValueError, match="the split test has 8 samples, none of them with a label in label"):
        data.split("test")


def test_numbers_and_several_classes_likewise(tmp_path):
    assert LINE in TableSource(table(tmp_path, {"label": -1.0}, lambda i: i / 2)).describe()
    assert LINE in TableSource(table(tmp_path, {}, lambda i: ["a", "b"][: i % 3])).describe()


def test_a_column_a_class_likewise(tmp_path):
    train = [{"text": text, "a": i % 2, "b": 1} for i, text in enumerate(texts(40, "train"))]
    lines(tmp_path / "train.jsonl", train)
    lines(tmp_path / "test.jsonl", [{"text": text} for text in texts(8, "test")])
    data = TableSource(str(tmp_path), columns={"label": ["a", "b"]})
    assert LINE in data.describe() and data.class_names == ["a", "b"]


def test_a_class_called_minus_one_is_a_class(tmp_path):
    data = TableSource(table(tmp_path, {"label": -1}, lambda i: i % 3 - 1))
    assert len(data.split("test")) == 8


def test_rows_of_a_partly_labelled_test_split_are_reported(tmp_path):
    path = table(tmp_path, {"label": "a"})
    with (tmp_path / "test.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    [problem] = TableSource(path).problems
    assert problem.endswith("test.jsonl line 9: has no label")


@pytest.mark.parametrize("kind", ["class", "multilabel"])
def test_other_splits_need_labels(tmp_path, kind):
    path = table(tmp_path, {"label": "a"})
    (tmp_path / "test.jsonl").rename(tmp_path / "val.jsonl")
    lines(tmp_path / "val.jsonl", [{"text": text} for text in texts(8, "val")])
    data = TableSource(path, labels=Labels(kind))
    with pytest.raises(
        ValueError, match=r"8 rows cannot be used:\n.*line 1: has no label, nor has any other row"
    ):
        data.split("train")


def test_files_without_a_class_folder_are_such_a_split(tmp_path):
    for name in texts(20, "train"):
        for label in "ab":
            (tmp_path / "train" / label).mkdir(parents=True, exist_ok=True)
            (tmp_path / "train" / label / f"{name}.txt").write_text(name + label)
    (tmp_path / "test").mkdir()
    for name in texts(8, "test"):
        (tmp_path / "test" / f"{name}.txt").write_text(name)
    assert LINE in FolderSource(str(tmp_path)).describe()


def saved(folder, parts):
    made = {
        name: Dataset.from_dict({"text": texts(len(labels), name), "label": labels}, features=FEATURES)
        for name, labels in parts.items()
    }
    DatasetDict(made).save_to_disk(folder)
    return str(folder)


def test_the_ids_of_a_dataset_are_its_own_and_a_hidden_test_split_is_left_out(tmp_path):
    data = HubSource(saved(tmp_path / "d", {"train": [1, 0] * 20, "test": [-1] * 8}))
    assert data.class_names == ["yes", "no", "unused"] and LINE in data.describe()
    assert {(sample["text"], sample["label"]) for sample in data.split("train")} >= {("train text 0", 1)}
    other = HubSource(str(tmp_path / "d"), labels=Labels(class_names=["no", "yes"]))
    assert other.class_names == ["no", "yes"]


def test_a_parquet_file_that_datasets_wrote_names_its_classes_too(tmp_path):
    rows = {"text": texts(40, "train"), "label": [1, 0, -1, 1] * 10}
    Dataset.from_dict(rows, features=FEATURES).to_parquet(str(tmp_path / "a.parquet"))
    data = TableSource(str(tmp_path / "a.parquet"))
    assert data.class_names == ["yes", "no", "unused"]
    assert len(data.problems) == 10 and data.problems[0].endswith("row 2: has no label")


def test_an_unsupervised_split_of_no_known_name_is_left_out(tmp_path):
    data = HubSource(saved(tmp_path / "d", {"train": [1, 0] * 20, "unsupervised": [-1] * 9}))
    assert "unsupervised: 9 samples without labels are left out" in data.describe()
    with pytest.raises(ValueError, match="'more' is no known split"):
        HubSource(saved(tmp_path / "e", {"train": [1, 0] * 20, "more": [1] * 9}))


@pytest.mark.parametrize("hot", [False, True])
def test_lists_of_a_class_label_keep_its_order(tmp_path, hot):
    names = ["zebra", "ape", "unused"]
    features = Features({"text": Value("string"), "label": datasets.List(ClassLabel(names=names))})
    rows = [[1, 0, 0], [1, 1, 0]] if hot else [[0], [0, 1]]
    labels = [rows[i % 2] for i in range(40)]
    Dataset.from_dict({"text": texts(40, "train"), "label": labels}, features=features).save_to_disk(
        tmp_path / "d"
    )
    data = HubSource(str(tmp_path / "d"))
    assert data.class_names == names and data.multilabel
    assert data.split("train")[0]["label"].tolist() == [1, 0, 0]


def test_two_names_of_one_split_are_refused(tmp_path):
    parts = {name: [1, 0] * 10 for name in ("train", "validation", "dev")}
    with pytest.raises(ValueError, match="'validation' and 'dev' are both names of the split val"):
        HubSource(saved(tmp_path / "d", parts))
    for name in ("train", "val", "dev"):
        for label in "ab":
            (tmp_path / "f" / name / label).mkdir(parents=True)
            (tmp_path / "f" / name / label / "1.txt").write_text(name + label)
    with pytest.raises(ValueError, match="'dev' and 'val' are both names of the split val"):
        FolderSource(str(tmp_path / "f"))
    named = FolderSource(str(tmp_path / "f"), splits={"val": "val", "test": "dev"})
    assert named.split_names == ("train", "val", "test")
