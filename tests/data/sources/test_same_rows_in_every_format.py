"""Random tables in every format: the same classes, rows and splits, and every row is used or reported."""

import csv
import json
import re
import tempfile
from collections import Counter
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from unimodal.data.decoding.encoded import Encoded
from unimodal.data.sources.folder import FolderSource
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.table import TableSource

NAMES = [
    "wave",
    "null",
    "nan",
    "None",
    "1",
    "+1",
    "01",
    "1.0",
    "1e3",
    "1_2",
    "True",
    "a, b",
    "[x]",
    "-1",
    "\u00e9",
]
ARROW = {
    "names": pa.string(),
    "whole": pa.int64(),
    "truth": pa.bool_(),
    "numbers": pa.float64(),
    "lists": pa.list_(pa.string()),
    "vectors": pa.list_(pa.int64()),
}
LABELS = {
    "names": st.sampled_from(NAMES),
    "whole": st.integers(-1, 3),
    "truth": st.booleans(),
    "numbers": st.floats(-1e6, 2e9, allow_nan=False).map(lambda value: value + 0.5),
    "lists": st.lists(st.sampled_from([*NAMES, "c|d", "it's"]), unique=True, max_size=3),
    "vectors": st.lists(st.integers(0, 1), min_size=3, max_size=3),
}
FIXED = {  # labels of a few training rows, so that there is something to learn
    "names": ["wave", "clap"],
    "whole": [0, 1],
    "truth": [True, False],
    "numbers": [0.5, 1.25],
    "lists": [["wave"], ["wave", "clap"]],
    "vectors": [[0, 1, 1], [1, 0, 0]],
}
TEXTS = st.text(st.sampled_from("ab \"',|\u00e9\n"), max_size=8)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


@st.composite
def tables(draw):
    """The kind of label, and rows of text, label and split; None is an empty cell."""
    kind = draw(st.sampled_from(list(LABELS)))
    splits = draw(st.sampled_from([["train"], ["train", "val"], ["train", "test"], ["train", "val", "test"]]))
    labels = st.one_of(LABELS[kind], LABELS[kind], st.none())
    hidden = draw(st.booleans())
    rows = [(f"row {i}", FIXED[kind][i % 2], "train") for i in range(12)]
    rows += [(f"row {20 + i} of val", FIXED[kind][i % 2], "val") for i in range(2 if "val" in splits else 0)]
    for number in range(draw(st.integers(0, 12))):
        text, label, split = draw(TEXTS), draw(labels), draw(st.sampled_from(splits))
        text = draw(st.sampled_from(["", "  ", None])) if number == 7 else f"{text}{number}"
        rows.append((text, None if hidden and split == "test" else label, split))
    return kind, draw(st.permutations(rows))


def cell(value):
    return "" if value is None else str(value)


def delimited(suffix):
    def _write(folder, kind, rows, splits):
        with (folder / f"rows.{suffix}").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t" if suffix == "tsv" else ",")
            writer.writerows([["text", "label", "split"], *([cell(value) for value in row] for row in rows)])
        return TableSource(str(folder / f"rows.{suffix}"))

    return _write


def jsonl(folder, kind, rows, splits):
    for split in splits:
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for text, label, _ in (row for row in rows if row[2] == split):
                file.write(json.dumps({"text": text} | ({} if label is None else {"label": label})) + "\n")
    return TableSource(str(folder))


def parquet(folder, kind, rows, splits):
    schema = pa.schema({"text": pa.string(), "label": ARROW[kind], "split": pa.string()})
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), folder / "rows.parquet")
    return TableSource(str(folder / "rows.parquet"))


def hub(folder, kind, rows, splits):
    feature = datasets.features.features.generate_from_arrow_type(ARROW[kind])
    features = Features({"text": Value("string"), "label": feature})
    parts = {split: [row for row in rows if row[2] == split] for split in splits}
    made = {
        split: Dataset.from_dict(
            {"text": [r[0] for r in part], "label": [r[1] for r in part]}, features=features
        )
        for split, part in parts.items()
    }
    DatasetDict(made).save_to_disk(folder / "saved")
    return HubSource(str(folder / "saved"))


def files(folder, kind, rows, splits):
    for number, (text, label, split) in enumerate(rows):
        place = folder / split / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03}.txt").write_text(text, encoding="utf-8")
    return FolderSource(str(folder))


FORMATS = {"csv": delimited("csv"), "tsv": delimited("tsv"), "jsonl": jsonl, "parquet": parquet, "hub": hub}


def read(write, kind, rows):
    with tempfile.TemporaryDirectory() as folder:
        splits = [split for split in ("train", "val", "test") if any(row[2] == split for row in rows)]
        source = write(Path(folder), kind, rows, splits)
        return source, {name: list(map(pair, source.usable(name))) for name in source.split_names}


def pair(sample):
    text, label = sample["text"], sample["label"]
    text = text.read().decode() if isinstance(text, Encoded) else text
    return text, label if isinstance(label, int) else tuple(label.tolist())


def counted(source):
    """Rows that are used, and rows that are reported."""
    left_out = [r"(\d+) rows without text are left out", r"test: (\d+) samples without labels are left out"]
    found = [re.match(pattern, note) for pattern in left_out for note in source.notes]
    used = sum(len(source.usable(name)) for name in source.split_names)
    return used + len(source.problems) + sum(int(one[1]) for one in found if one)


def expected(label, kind, class_names):
    """The label of a sample, from that of its row."""
    if kind == "numbers":
        return (label,)
    if kind == "vectors":
        return tuple(map(float, label or [0, 0, 0]))
    if kind == "lists":
        return tuple(float(name in (label or [])) for name in class_names)
    name = str(label).lower() if kind == "truth" else str(label)
    return class_names.index(name) if name in class_names and label is not None else None


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(tables())
def test_every_format_gives_the_same_classes_rows_and_splits(table):
    kind, rows = table
    sources = {name: read(write, kind, rows) for name, write in FORMATS.items()}
    first, samples = sources["jsonl"]
    allowed = Counter((text, expected(label, kind, first.class_names)) for text, label, _ in rows)
    assert Counter(sample for part in samples.values() for sample in part) <= allowed
    for name, (source, found) in sources.items():
        assert counted(source) == len(rows), name
        assert source.class_names == first.class_names, name
        assert found.keys() == samples.keys(), name
        assert all(Counter(found[split]) == Counter(samples[split]) for split in found), name


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(tables())
def test_class_folders_give_the_same_as_a_table_also_where_val_is_made(table):
    _, rows = table
    names = ["wave", *NAMES]
    rows = [
        (text, names[i % 5 * i % len(names)], split)
        for i, (text, _, split) in enumerate(rows)
        if text and text.strip()
    ]
    classes = {label for _, label, split in rows if split == "train"}
    rows = [row for row in rows if row[1] in classes]
    (one, there), (other, here) = read(files, "names", rows), read(jsonl, "names", rows)
    assert one.class_names == other.class_names
    assert counted(one) == counted(other) == len(rows)
    assert {split: Counter(part) for split, part in there.items()} == {
        split: Counter(part) for split, part in here.items()
    }
