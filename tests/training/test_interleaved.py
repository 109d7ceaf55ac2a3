"""Samples in parts from a table to answers, and samples that lack what others have."""

import csv
import json

import pytest
from PIL import Image

from unimodal.data.sources.four_digits import FourDigits
from unimodal.training.evaluate import evaluate
from unimodal.training.predict import predict
from unimodal.training.train import train

BESIDE = ("tokenizer=image_patch", "+tokenizer@beside.text=text_byte", "augment=none", "task=classification")
NAMES, SHADES = ("dark", "light"), {"dark": 20, "light": 230}


@pytest.fixture
def folder(tmp_path):
    """A table of forty samples in parts, which a picture decides, and the pictures."""
    (tmp_path / "photos").mkdir()
    rows = []
    for i in range(40):
        name = NAMES[i % 2]
        Image.new("RGB", (32, 32), (SHADES[name] + i % 5,) * 3).save(tmp_path / "photos" / f"{i}.png")
        parts = [{"text": "look"}, {"image": f"photos/{i}.png"}, {"text": f"number {i}"}][: 2 + i % 2]
        rows.append({"parts": parts[:: 1 - 2 * (i % 3 == 0)], "label": name})
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def trained(small_run, folder, *overrides):
    config = small_run(*BESIDE, "data=table", "trainer.max_steps=20", "trainer.max_epochs=20", *overrides)
    train(config, folder / "run")
    return folder / "run"


def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ask(configure, run, *overrides):
    predict(configure(f"checkpoint={run}", "trainer=cpu", *overrides, verb="predict"))


def test_a_table_of_parts_is_learned_and_answered(folder, small_run, configure):
    data = f"data.path={folder}/data.jsonl"
    run = trained(small_run, folder, data, "loader.batch_size=8", "optimizer.lr=0.01")
    output = folder / "out.csv"
    asked = folder / "asked.jsonl"
    asked.write_text((folder / "data.jsonl").read_text() + json.dumps({"parts": [{"audio": "a.wav"}]}) + "\n")
    ask(configure, run, f"inputs={asked}", f"output={output}", "loader.batch_size=7")
    labels = [json.loads(line)["label"] for line in (folder / "data.jsonl").read_text().splitlines()]
    answers = rows_of(output)
    assert [row["prediction"] for row in answers[:40]] == labels
    assert 'part "audio"; the model reads image, text' in answers[40]["error"]


def test_rows_with_empty_cells_are_learned_and_answered(folder, small_run, configure):
    rows = [f"photos/{i}.png,{'' if i % 3 else 'a text'},{NAMES[i % 2]}" for i in range(40)]
    (folder / "data.csv").write_text(
        "\n".join(["image,text,label", *rows, ",only text,dark", ",other,light"])
    )
    data = (f"data.path={folder}/data.csv", "data.columns.text=text", "loader.batch_size=8")
    with pytest.raises(
        ValueError, match=r"rows cannot be used(.|\n)*has no image \(data\.allow_missing=true"
    ):
        trained(small_run, folder, *data)
    run = trained(small_run, folder, *data, "data.allow_missing=true", "optimizer.lr=0.01")
    asked, output = folder / "asked.csv", folder / "out.csv"
    asked.write_text("image,text\nphotos/2.png,\nphotos/3.png,a text\n,only text\n,\n")
    options = (f"inputs={asked}", f"output={output}", "columns.text=text", "allow_missing=true")
    ask(configure, run, *options)
    answers = rows_of(output)
    assert [row["prediction"] for row in answers[:2]] == ["dark", "light"] and answers[2]["prediction"]
    assert "line 5: has none of image, text" in answers[3]["error"]
    asked.write_text("image\nphotos/2.png\nphotos/3.png\n")
    ask(configure, run, f"inputs={asked}", f"output={output}", "allow_missing=true")
    assert [row["prediction"] for row in rows_of(output)] == ["dark", "light"]


def test_four_modalities_train_and_one_is_withheld(tmp_path, small_run, configure):
    sizes = ("data.train_size=16", "data.val_size=8")
    figures = train(small_run("modality=mixed", "loader.batch_size=4", *sizes), tmp_path / "run")
    assert 0 <= figures["val/accuracy"] <= 1
    options = ["data=four_digits", "data.withhold=audio", *sizes, "trainer=cpu"]
    less = evaluate(configure(f"checkpoint={tmp_path / 'run'}", *options, verb="evaluate"))
    assert 0 <= less["val/accuracy"] <= 1
    assert len(FourDigits().class_names) == 13
