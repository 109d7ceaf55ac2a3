import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.table import TableSource


def pictures(folder, num=40):
    """Rows of two pictures each, and their name."""
    rows = []
    for i in range(num):
        names = [f"{i}_{side}.png" for side in "ab"]
        for place, name in enumerate(names):
            Image.new("RGB", (4, 4), (i, place, 0)).save(folder / name)
        rows.append({"images": names, "caption": f"thing {i}", "label": "xy"[i % 2], "id": f"row {i}"})
    return rows


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


COLUMNS = {"text": "caption"}


def all_of(data):
    return [sample for name in data.split_names for sample in data.split(name)]


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS | {"id": "id"}])
def test_a_row_is_a_sample_for_each_file_and_stays_on_one_side(tmp_path, columns):
    data = TableSource(jsonl(tmp_path / "d.jsonl", pictures(tmp_path)), columns, val_fraction=0.3)
    assert "80 samples of 40 rows: lists in images" in data.describe()
    train, val = ([sample["text"] for sample in data.split(name)] for name in ("train", "val"))
    assert len(train) + len(val) == 80 and not set(train) & set(val)
    assert all(texts.count(text) == 2 for texts in (train, val) for text in texts)
    files = {sample["image"].path.rsplit("/", 1)[1] for sample in all_of(data)}
    assert len(files) == 80
    assert all(f"thing {s['image'].path.rsplit('/', 1)[1].split('_')[0]}" == s["text"] for s in all_of(data))
    assert data.split_labels("val") == [sample["label"] for sample in data.split("val")]


def test_it_is_so_in_a_folder_with_a_metadata_table(tmp_path):
    jsonl(tmp_path / "metadata.jsonl", pictures(tmp_path))
    data = FolderSource(str(tmp_path), columns=COLUMNS)
    assert len(all_of(data)) == 80


def test_it_is_so_in_parquet_and_datasets(tmp_path):
    rows = pictures(tmp_path)
    packed = [
        row | {"images": [{"bytes": (tmp_path / n).read_bytes(), "path": n} for n in row["images"]]}
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(packed), tmp_path / "d.parquet")
    datasets.disable_progress_bars()
    images, caption = datasets.List(datasets.Image()), datasets.Value("string")
    features = datasets.Features({"images": images, "caption": caption})
    saved = [{"images": row["images"], "caption": row["caption"]} for row in packed]
    datasets.Dataset.from_list(saved, features=features).save_to_disk(tmp_path / "saved")
    table = TableSource(str(tmp_path / "d.parquet"), COLUMNS)
    hub = HubSource(str(tmp_path / "saved"), columns=COLUMNS)
    wanted = [(tmp_path / name).read_bytes() for row in rows for name in row["images"]]
    for data in (table, hub):
        assert sorted(sample["image"].read() for sample in all_of(data)) == sorted(wanted)


def test_given_splits_and_lists_of_labels_are_those_of_the_row(tmp_path):
    rows = pictures(tmp_path, 6)
    for i, row in enumerate(rows):
        row |= {"label": ["a", "b"][: 1 + i % 2], "split": "test" if i > 3 else "train"}
    data = TableSource(jsonl(tmp_path / "d.jsonl", rows), COLUMNS)
    assert data.multilabel and data.class_names == ["a", "b"] and len(data.split("test")) == 4
    assert [sum(label.tolist()) for label in data.split_labels("test")] == [1, 1, 2, 2]


def test_lists_go_side_by_side_and_a_single_value_stands_beside_each(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    rows = [{"image": "a.png", "text": ["one", "two", "three"]}, {"image": "a.png", "text": "four"}]
    data = TableSource(jsonl(tmp_path / "d.jsonl", rows), {"text": "text"}, val_fraction=None)
    assert [sample["text"] for sample in data.split("val")] == ["one", "two", "three", "four"]
    assert data.split("val").where(1).endswith("line 1, entry 2")
    both = [{"image": ["a.png", "a.png"], "text": ["left", "right"]}]
    data = TableSource(jsonl(tmp_path / "e.jsonl", both), {"text": "text"}, val_fraction=None)
    assert [sample["text"] for sample in data.split("val")] == ["left", "right"]


def test_lists_of_different_lengths_and_empty_ones_are_problems(tmp_path):
    rows = pictures(tmp_path)
    rows[3]["caption"] = ["one", "two", "three"]
    rows[5]["images"] = []
    data = TableSource(jsonl(tmp_path / "d.jsonl", rows), COLUMNS)
    assert "line 4: its lists differ in length: 2 of images, 3 of caption" in data.problems[0]
    assert "line 6: has no image" in data.problems[1] and len(data.problems) == 2


def test_a_list_of_numbers_is_one_value(tmp_path):
    rows = [{"text": f"number {i}", "label": [i / 2, i + 0.5]} for i in range(30)]
    data = TableSource(jsonl(tmp_path / "d.jsonl", rows))
    assert len(all_of(data)) == 30 and data.target_names == ("label_0", "label_1")
