import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.sources.hub import HubSource
from unimodal.data.sources.inputs import read_inputs
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.regions import sound_spans, word_spans, words_of
from unimodal.data.sources.table import TableSource

ROWS = [
    {"tokens": ["a", "big", "cat"], "ner_tags": ["O", "B-X", "I-X"]},
    {"tokens": ["so"], "ner_tags": ["O"]},
]


def jsonl(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return TableSource(str(path), val_fraction=None)


def test_words_become_a_text_and_tags_their_places(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", ROWS)
    assert source.region_names == ["O", "B-X", "I-X"] and not source.class_names
    assert source.split("val")[0] == {
        "text": "a big cat",
        "spans": [(0, 1, "O"), (2, 5, "B-X"), (6, 9, "I-X")],
    }
    assert "3 classes of words: O, B-X, I-X" in source.notes


def test_tags_of_a_dataset_are_called_by_their_names(tmp_path):
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-X", "I-X"])),
        }
    )
    datasets.Dataset.from_list(ROWS, features).save_to_disk(str(tmp_path / "saved"))
    source = HubSource(str(tmp_path / "saved"), val_fraction=None)
    assert source.region_names == ["O", "B-X", "I-X"]
    assert source.split("val")[0]["spans"][1] == (2, 5, "B-X")


def test_lists_of_a_parquet_file_are_words_not_samples(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert len(TableSource(str(tmp_path / "a.parquet"), val_fraction=None).split("val")) == 2


def test_rows_that_do_not_fit_together_are_problems_with_their_line(tmp_path):
    source = jsonl(
        tmp_path / "a.jsonl", [*ROWS, {"tokens": ["a"], "ner_tags": []}, {"tokens": "a", "ner_tags": ["O"]}]
    )
    with pytest.raises(ValueError, match="2 rows cannot be used") as caught:
        source.split("val")
    assert "line 3: has 1 words and 0 tags" in str(caught.value)
    assert "line 4: a list of words is wanted" in str(caught.value)


def test_a_tag_that_training_lacks_is_a_problem_or_left_out(tmp_path):
    for name, rows in (("train", ROWS), ("val", [ROWS[1], {"tokens": ["b"], "ner_tags": ["B-Y"]}])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(ValueError, match="B-Y of val is not known from training"):
        TableSource(str(tmp_path)).split("val")
    assert len(TableSource(str(tmp_path), labels=Labels(unseen="ignore")).split("val")) == 1


def test_a_table_of_words_can_be_asked_about_without_tags(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"tokens": ["a", "cat"]}))
    inputs = read_inputs(str(tmp_path / "a.jsonl"), ["text"])
    assert len(inputs) == 1 and inputs[0] == {"text": "a cat"}


def test_a_column_of_masks_lies_beside_that_of_images(tmp_path):
    Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "m.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "i.png")
    source = jsonl(tmp_path / "a.jsonl", [{"image": "i.png", "mask": "m.png"}])
    assert source.region_names == ["0", "1"] and source.columns.guessed["mask"] == "mask"
    assert source.split("val")[0]["mask"].path.endswith("m.png")


def test_classes_of_pixels_may_be_named_by_the_user(tmp_path):
    Image.fromarray(np.ones((4, 4), np.uint8)).save(tmp_path / "m.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "i.png")
    (tmp_path / "a.csv").write_text("picture,truth\ni.png,m.png\n")
    labels = Labels(class_names=["paper", "ink"])
    columns = {"image": "picture", "mask": "truth"}
    assert TableSource(str(tmp_path / "a.csv"), columns, labels=labels, val_fraction=None).region_names == [
        "paper",
        "ink",
    ]


def test_stretches_of_sound_have_o_for_the_rest(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    segments = [{"start": 0, "end": 0.05, "label": "beep"}]
    source = jsonl(tmp_path / "a.jsonl", [{"audio": "a.wav", "segments": segments}])
    assert source.region_names == ["O", "beep"]
    assert source.split("val")[0]["spans"] == [(0.0, 0.05, "beep")]


def test_segments_come_as_lists_of_dicts_dicts_of_lists_or_json():
    wanted = [(0.0, 1.0, "a"), (1.5, 2.0, "b")]
    rows = [{"start": 0, "end": 1, "label": "a"}, {"start": 1.5, "end": 2, "label": "b"}]
    columns = {"start": [0, 1.5], "end": [1, 2], "label": ["a", "b"]}
    for value in (rows, columns, json.dumps(rows), json.dumps(columns)):
        assert sound_spans(value, "here") == wanted


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([{"start": 1, "end": 0.5, "label": "a"}], "here: a segment goes from 1.0 to 0.5 seconds"),
        ([{"start": 1, "label": "a"}], "here: segments are no list of"),
        ("no json", "here: segments are no list of"),
        (3, "here: segments are no list of"),
        ([{"start": 0, "end": 1, "label": None}], "here: a region has no label"),
    ],
)
def test_segments_that_can_not_be_read_say_why(value, reason):
    with pytest.raises(BadSample, match=reason):
        sound_spans(value, "here")


def test_words_are_cleaned_before_their_places_are_counted():
    words = words_of(["\ufeffa\0", "b"], "here")
    assert words == ["a", "b"] and word_spans(words, [1, 2], "here") == [(0, 1, "1"), (2, 3, "2")]


def test_columns_of_regions_without_their_medium_are_not_taken(tmp_path):
    source = jsonl(tmp_path / "a.jsonl", [{"text": "a b", "tags": "x|y", "segments": 3, "mask": "no"}])
    assert source.split("val")[0] == {"text": "a b"} and source.columns.guessed == {"text": "text"}
