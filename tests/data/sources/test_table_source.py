import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.table import TableSource


def csv_of(path, rows, header="text,label"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def texts(num=40, label="ab"):
    return [f"text number {i},{label[i % len(label)]}" for i in range(num)]


def source(tmp_path, rows=None, header="text,label", **options):
    return TableSource(csv_of(tmp_path / "data.csv", rows or texts(), header), **options)


def test_text_and_classes(tmp_path):
    data = source(tmp_path)
    assert data.class_names == ["a", "b"]
    assert data.split_names == ("train", "val")
    assert len(data.split("train")) + len(data.split("val")) == 40
    sample = data.split("train")[0]
    assert sample["text"].startswith("text number") and sample["label"] in (0, 1)
    assert data.split_labels("train") == [sample["label"] for sample in data.split("train")]
    assert "columns guessed: text=text, label=label" in "\n".join(data.describe())


def test_a_split_column_is_kept(tmp_path):
    rows = [f"{row},{split}" for row in texts(12) for split in ("train", "dev", "test")]
    data = source(tmp_path, rows, "text,label,split")
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [12, 12, 12]


def test_an_unknown_split_is_refused_and_can_be_named(tmp_path):
    rows = [f"{row},{split}" for row in texts(12) for split in ("train", "held")]
    with pytest.raises(ValueError, match="'held' is no known split"):
        source(tmp_path, rows, "text,label,split")
    data = source(tmp_path, rows, "text,label,split", splits={"test": "held"})
    assert data.split_names == ("train", "val", "test")


def test_files_called_like_splits_are_splits(tmp_path):
    for name in ("train", "test-00000-of-00001"):
        csv_of(tmp_path / f"{name}.csv", texts())
    for path in (
        str(tmp_path),
        str(tmp_path / "*.csv"),
        [str(tmp_path / "train.csv"), str(tmp_path / "test-00000-of-00001.csv")],
    ):
        assert TableSource(path).split_names == ("train", "val", "test")


def test_a_file_among_splits_that_is_none_is_refused(tmp_path):
    for name in ("train", "extra"):
        csv_of(tmp_path / f"{name}.csv", texts())
    with pytest.raises(ValueError, match=r"extra\.csv stands among files that are splits"):
        TableSource(str(tmp_path))


def test_splits_may_name_files(tmp_path):
    one, two = csv_of(tmp_path / "one.csv", texts()), csv_of(tmp_path / "two.csv", texts(8))
    data = TableSource(splits={"train": one, "val": two})
    assert (len(data.split("train")), len(data.split("val"))) == (40, 8)


def test_a_list_of_parts_is_one_table(tmp_path):
    parts = [csv_of(tmp_path / f"part{i}.csv", texts(20)) for i in range(3)]
    data = TableSource(parts)
    assert sum(len(data.split(name)) for name in data.split_names) == 60


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("dta.csv", r"does not exist; did you mean data.csv\?"),
        ("*.json", "matches no file"),
        (None, "needs data.path=FILE"),
        ("notes.md", "is no table that is read: .csv"),
    ],
)
def test_a_wrong_path_is_said(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    csv_of(tmp_path / "data.csv", texts())
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(ValueError, match=message):
        TableSource(path)


def test_ambiguous_columns_ask(tmp_path):
    with pytest.raises(ValueError, match="several columns that may be the label: class, category"):
        source(tmp_path, ["a,x,y"] * 9, "text,class,category")
    with pytest.raises(ValueError, match="no column that can be read; it has foo, bar"):
        source(tmp_path, ["a,x"] * 9, "foo,bar")


def test_labels_that_can_not_be_used_are_all_named(tmp_path):  # FAULTS 38
    rows = [*texts(20), "x,", "y,  "]
    data = source(tmp_path, rows)
    assert [problem.rpartition("data.csv ")[2] for problem in data.problems] == [
        "line 22: has no label",
        "line 23: has no label",
    ]
    with pytest.raises(ValueError, match="2 rows cannot be used"):
        data.split("train")


def test_one_bad_row_in_a_hundred_may_be_skipped(tmp_path):
    data = source(tmp_path, [*texts(120), "x,"], on_bad_sample="skip")
    assert sum(len(data.split(name)) for name in data.split_names) == 120
    with pytest.raises(ValueError, match="more than 1%"):
        source(tmp_path, [*texts(20), "x,", "y,"], on_bad_sample="skip")


def test_a_class_that_train_lacks_is_an_error_or_left_out(tmp_path):  # FAULTS 39
    rows = [f"{row},train" for row in texts(20)] + ["new,c,val", "old,a,val"]
    with pytest.raises(ValueError, match="line 22: the class c of val is not known from training"):
        source(tmp_path, rows, "text,label,split").split("val")
    data = source(tmp_path, rows, "text,label,split", labels=Labels(unseen="ignore"))
    assert len(data.split("val")) == 1
    assert any("1 of val are left out" in note for note in data.notes)


def test_numbers_of_several_columns(tmp_path):
    rows = [f"text {i},{i / 2},{i}" for i in range(30)]
    data = source(tmp_path, rows, "text,height,weight", columns={"label": ["height", "weight"]})
    assert data.target_names == ("height", "weight") and not data.class_names
    sample = data.split("train")[0]
    number = int(sample["text"].split()[1])
    assert torch.equal(sample["label"], torch.tensor([number / 2, number]))


def test_several_classes_a_sample(tmp_path):
    data = source(
        tmp_path, [f"text {i},{'a;b' if i % 2 else 'b'}" for i in range(30)], labels=Labels(separator=";")
    )
    assert data.multilabel and data.class_names == ["a", "b"]
    assert data.split("train")[1]["label"].tolist() in ([1.0, 1.0], [0.0, 1.0])


def test_rows_without_text_are_left_out_and_counted(tmp_path):  # FAULTS 30
    data = source(tmp_path, [*texts(20), "  ,a", ",b"])
    assert sum(len(data.split(name)) for name in data.split_names) == 20
    assert "2 rows without text are left out" in data.notes


def test_a_split_without_samples_is_an_error(tmp_path):  # FAULTS 42
    with pytest.raises(ValueError, match="the split val is empty: of 1 samples too few are left"):
        source(tmp_path, ["a,x"])
    with pytest.raises(ValueError, match="there is no split 'test'; there are train, val"):
        source(tmp_path).split("test")
    with pytest.raises(ValueError, match="the data has no training part, only test"):
        source(tmp_path, ["a,x,test"], "text,label,split")


def test_a_given_id_decides_the_split(tmp_path):
    rows = [f"text {i},a,{i // 2}" for i in range(60)]
    data = source(tmp_path, rows, "text,label,pair", columns={"id": "pair"})
    train = {int(sample["text"].split()[1]) // 2 for sample in data.split("train")}
    assert not train & {int(sample["text"].split()[1]) // 2 for sample in data.split("val")}


def test_truth_values_are_the_same_classes_in_every_format(tmp_path):
    csv_of(tmp_path / "train.csv", [f"text {i},{i % 2 == 0}" for i in range(20)])
    rows = [{"text": f"other {i}", "label": i % 2 == 0} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "val.parquet")
    data = TableSource(str(tmp_path))
    assert data.class_names == ["false", "true"]
    assert data.split("val")[0]["label"] == data.split("train")[0]["label"] == 1


def test_classes_called_null_and_nan_are_classes(tmp_path):
    data = source(tmp_path, texts(60, ["null", "nan", "wave"]))
    assert data.class_names == ["nan", "null", "wave"]
    assert any(line.startswith("classes are called nan, null;") for line in data.describe())


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_number_that_stands_for_no_label_is_a_problem_in_every_split(tmp_path, split):
    rows = [f"text {i},{i}.5,{name}" for i in range(12) for name in ("train", "val", "test")]
    data = source(tmp_path, [*rows, f"cold,-100.0,{split}"], "text,label,split")
    with pytest.raises(
        ValueError, match=r"line 38: has the label -100, which stands for a label that does not"
    ):
        data.split(split)


def test_time_stamps_keep_their_seconds(tmp_path):
    data = source(tmp_path, [f"text {i},{1.7e9 + 10 * i:.1f}" for i in range(100)])
    labels = torch.cat([label for name in data.split_names for label in data.split_labels(name)])
    assert sorted(labels.tolist()) == [1.7e9 + 10 * i for i in range(100)]


def test_declared_class_names_set_the_order(tmp_path):  # FAULTS 41
    assert source(tmp_path, labels=Labels(class_names=["b", "a", "c"])).class_names == ["b", "a", "c"]


def pictures(folder, num=12):
    folder.mkdir(exist_ok=True)
    for i in range(num):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(folder / f"{i}.png")
    return [f"{folder.name}/{i}.png" for i in range(num)]


def test_files_are_found_beside_the_table(tmp_path):
    names = pictures(tmp_path / "images")
    data = source(tmp_path, [f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)], "file_name,label")
    sample = data.split("train")[0]
    assert isinstance(sample["image"], Encoded)
    assert sample["image"].path == str(tmp_path / "images" / "0.png")


def test_bytes_may_be_embedded(tmp_path):
    names = pictures(tmp_path / "images")
    rows = [
        {"image": {"bytes": (tmp_path / n).read_bytes(), "path": n}, "label": i % 2}
        for i, n in enumerate(names)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    data = TableSource(str(tmp_path / "data.parquet"))
    assert data.class_names == ["0", "1"]
    assert data.split("train")[0]["image"].read()[:4] == b"\x89PNG"
    assert "data.parquet row 0 (images/0.png)" in data.split("train")[0]["image"].name


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd.png", "file:///etc/passwd.png", "https://x.org/a.png"]
)
def test_nothing_outside_the_root_is_read(tmp_path, name):  # FAULTS 45
    folder = tmp_path / "data"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    names = pictures(folder / "images")
    csv_of(folder / "d.csv", [f"{n},a,train" for n in names] + [f"{name},a,val"], "file_name,label,split")
    data = TableSource(str(folder / "d.csv"))
    with pytest.raises(BadSample, match=r"lies outside|is a URL"):
        data.split("val")[0]


def test_a_link_out_of_the_root_is_refused_unless_allowed(tmp_path):  # FAULTS 46
    folder = tmp_path / "data"
    folder.mkdir()
    pictures(folder / "images")
    Image.new("RGB", (8, 8)).save(tmp_path / "other.png")
    os.symlink(tmp_path / "other.png", folder / "images" / "0.png.tmp")
    os.replace(folder / "images" / "0.png.tmp", folder / "images" / "0.png")
    rows = [f"images/{i}.png,a,{'val' if i == 0 else 'train'}" for i in range(12)]
    csv_of(folder / "d.csv", rows, "file_name,label,split")
    with pytest.raises(BadSample, match="lies outside"):
        TableSource(str(folder / "d.csv")).split("val")[0]
    allowed = TableSource(str(folder / "d.csv"), allow_outside_root=True)
    assert allowed.split("val")[0]["image"].path == str(tmp_path / "other.png")


def test_a_missing_file_is_named_with_its_row(tmp_path):  # FAULTS 44
    names = pictures(tmp_path / "images")
    data = source(tmp_path, [f"{n},a" for n in names] + ["images/gone.png,a"], "file_name,label")
    assert len(data.problems) == 1
    assert "data.csv line 14" in data.problems[0] and "gone.png: no such file" in data.problems[0]


@pytest.mark.parametrize("name", ["na\u00efve \U0001f600.png", "a=b,c.png", "x" * 200 + ".png"])
def test_any_file_name_works(tmp_path, name):  # FAULTS 47
    pictures(tmp_path / "images")
    (tmp_path / "images" / "0.png").rename(tmp_path / "images" / name)
    rows = [{"file_name": f"images/{name}", "label": "a"}] + [
        {"file_name": f"images/{i}.png", "label": "b"} for i in range(1, 12)
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = TableSource(str(tmp_path / "d.jsonl"))
    samples = [sample for split in data.split_names for sample in data.split(split)]
    assert any(sample["image"].path.endswith(name) and sample["image"].read() for sample in samples)


def test_the_fingerprint_changes_with_the_data(tmp_path):  # FAULTS 49
    first = source(tmp_path).fingerprint()
    assert source(tmp_path).fingerprint() == first
    assert source(tmp_path, [*texts(), "more,a"]).fingerprint() != first
    assert (
        source(
            tmp_path, [row.replace(",a", ",b", 1) if i == 0 else row for i, row in enumerate(texts())]
        ).fingerprint()
        != first
    )


def test_decimal_classes_are_numbers_unless_it_is_said(tmp_path):  # FAULTS 38
    rows = [f"text {i},{i % 2 + 1}.0" for i in range(30)]
    assert source(tmp_path, rows).kind == "number"
    assert source(tmp_path, rows, labels=Labels(kind="class")).class_names == ["1.0", "2.0"]


def test_lists_of_numbers_are_several_numbers(tmp_path):
    rows = [{"text": f"t{i}", "label": [i / 2, i / 3]} for i in range(30)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert TableSource(str(tmp_path / "d.jsonl")).target_names == ("label_0", "label_1")


def test_a_remark_on_a_picture_is_not_its_text(tmp_path):
    names = pictures(tmp_path / "images")
    rows = [f"{name},{'ab'[i % 2]},{'seen' if i == 1 else ''}" for i, name in enumerate(names)]
    data = source(tmp_path, rows, "file_name,label,text")
    assert set(data.split("train")[0]) == {"image", "label"}
    assert sum(len(data.split(name)) for name in data.split_names) == 12


def test_each_table_has_its_own_root(tmp_path):  # FAULTS 45
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        names = pictures(tmp_path / name / "images")
        other = "two" if name == "one" else "one"
        rows = [f"{n},a" for n in names] + [f"../{other}/images/1.png,b"]
        csv_of(tmp_path / name / "d.csv", rows, "file_name,label")
    data = TableSource(splits={"train": str(tmp_path / "one/d.csv"), "val": str(tmp_path / "two/d.csv")})
    assert data.split("val")[0]["image"].path == str(tmp_path / "two" / "images" / "0.png")
    with pytest.raises(BadSample, match="lies outside"):
        data.split("val")[12]


def test_wrong_paths_throughout_are_said_as_such(tmp_path):
    with pytest.raises(ValueError, match=r"the first that cannot be used: .*gone0\.png: no such file"):
        source(tmp_path, [f"gone{i}.png,a" for i in range(20)], "file_name,label")
    with pytest.raises(ValueError, match=r"no row can be used; the first: .*line 2: has no label"):
        source(tmp_path, [f"text {i}," for i in range(20)])


def test_a_fold_is_no_split(tmp_path):
    rows = [f"text {i},{'ab'[i % 2]},{i % 5}" for i in range(40)]
    assert source(tmp_path, rows, "text,label,fold").split_names == ("train", "val")
    splits = {"train": 0, "val": 4}
    with pytest.raises(ValueError, match="is no known split"):
        source(tmp_path, rows, "text,label,fold", columns={"split": "fold"}, splits=splits)


def test_an_edited_picture_of_the_same_size_changes_the_fingerprint(tmp_path):  # FAULTS 49
    (tmp_path / "images").mkdir()
    for i in range(12):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(tmp_path / "images" / f"{i}.bmp")
    rows = [f"images/{i}.bmp,{'ab'[i % 2]}" for i in range(12)]
    before = source(tmp_path, rows, "file_name,label").fingerprint()
    Image.new("RGB", (8, 8), (7, 7, 7)).save(tmp_path / "images" / "3.bmp")
    assert source(tmp_path, rows, "file_name,label").fingerprint() != before
