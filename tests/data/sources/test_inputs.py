"""What a trained model is asked about, and questions beside media in a table to learn from."""

import json

import pytest

from unimodal.data.sources.inputs import read_inputs
from unimodal.data.sources.table import TableSource

ROWS = [
    {"image": "a.png", "sound": "a.wav", "question": "what?", "answer": "a cat"},
    {"image": "b.png", "sound": "b.wav", "question": None, "answer": "a dog"},
]
MANY = [{"image": ["a.png", "b.png"], "prompt": ["left?", "right?"], "name": "pair"}]


@pytest.fixture
def table(tmp_path):
    """Write rows beside (empty) files; returns the path."""

    def _table(rows):
        for name in ("a.png", "b.png", "a.wav", "b.wav"):
            (tmp_path / name).touch()
        (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return str(tmp_path / "d.jsonl")

    return _table


def test_a_prompt_column_stands_beside_the_text_and_may_be_empty(table):
    columns = {"image": "image", "text": "answer", "prompt": "question"}
    data = TableSource(table(ROWS), columns=columns, val_fraction=None)
    samples = [data.split("val")[i] for i in range(2)]
    assert [(sample["prompt"], sample["text"]) for sample in samples] == [("what?", "a cat"), ("", "a dog")]


def test_a_prompt_alone_is_nothing_to_read(tmp_path):
    (tmp_path / "d.csv").write_text("q\nwhat?\n")
    with pytest.raises(ValueError, match="no column that can be read"):
        TableSource(str(tmp_path / "d.csv"), columns={"prompt": "q"})


def test_all_that_a_model_reads_is_taken_and_no_more(table):
    said = {"audio": "sound", "text": "answer"}
    inputs = read_inputs(table(ROWS), ["image", "audio"], said)
    assert inputs[0].keys() == {"image", "audio"}
    assert inputs.columns["answer"] == ["a cat", "a dog"]


def test_what_is_optional_is_taken_where_it_is_called_so_or_said(table):
    renamed = [{"prompt" if name == "question" else name: value for name, value in r.items()} for r in ROWS]
    assert read_inputs(table(renamed), ["image"], {}, optional=["prompt"])[0]["prompt"] == "what?"
    assert read_inputs(table(renamed), ["image"], {})[0].keys() == {"image"}
    assert read_inputs(table(ROWS), ["image"], {}, optional=["prompt"])[0].keys() == {"image"}
    asked = read_inputs(table(ROWS), ["image"], {"prompt": "question"}, optional=["prompt"])
    assert [asked[i]["prompt"] for i in range(2)] == ["what?", ""]


def test_lists_are_inputs_of_their_own(table):
    inputs = read_inputs(table(MANY), ["image"], {}, optional=["prompt"])
    assert [inputs[i]["prompt"] for i in range(2)] == ["left?", "right?"]
    assert inputs.columns == {"name": ["pair", "pair"]} and len(set(inputs.names)) == 2


def test_a_missing_column_is_named_with_its_knob(table):
    with pytest.raises(ValueError, match=r"no column for audio; .*columns\.audio=NAME"):
        read_inputs(table(MANY), ["image", "audio"])
    with pytest.raises(ValueError, match=r"no column 'noise'.* set columns\.audio\."):
        read_inputs(table(ROWS), ["image", "audio"], {"audio": "noise"})


def test_several_media_need_a_table(table, tmp_path):
    table(ROWS)
    for path in (str(tmp_path), str(tmp_path / "*.png"), [str(tmp_path / "a.png")]):
        with pytest.raises(ValueError, match="image, audio together; give a table"):
            read_inputs(path, ["image", "audio"])
    with pytest.raises(ValueError, match="inputs"):
        read_inputs(str(tmp_path / "none.csv"), ["image", "audio"])
