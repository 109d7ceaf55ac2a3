"""Dense outputs from end to end on one's own data: checked, trained, evaluated, asked."""

import csv
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from unimodal.data.sources.digit_scenes import DigitScenes
from unimodal.data.sources.keypad_sequences import KeypadSequences
from unimodal.data.sources.reference_code import ReferenceCode
from unimodal.training.check_data import check_data
from unimodal.training.evaluate import evaluate
from unimodal.training.predict import predict
from unimodal.training.train import train

CPU = ("trainer=cpu", "trainer.precision=32-true")


def scenes(root):
    """Images of twice the size that the model sees beside palette masks."""
    source = DigitScenes(train_size=40)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index, sample in enumerate(source.split("train")):
        Image.fromarray(sample["image"][0].numpy()).resize((64, 48)).save(root / f"images/{index:02}.jpg")
        Image.fromarray(sample["mask"].numpy()).resize((64, 48), 0).convert("P").save(
            root / f"masks/{index:02}.png"
        )
    (root / "classes.txt").write_text("\n".join(source.region_names))
    return root, root / "images"


def sentences(root):
    """Tagged words, and a text file to ask about."""
    root.mkdir()
    lines = []
    for sample in ReferenceCode().split("train")[:40]:
        text = sample["text"]
        lines += [f"{text[start:end]} {tag}" for start, end, tag in sample["spans"]] + [""]
    (root / "train.conll").write_text("\n".join(lines))
    (root / "ask.txt").write_text("The return statement ends it.\nIf end is omitted\n")
    return root / "train.conll", root / "ask.txt"


def lines(root):
    """Sounds with segments in a table beside them."""
    root.mkdir()
    rows = []
    for index, sample in enumerate(KeypadSequences(train_size=40).split("train")):
        soundfile.write(root / f"{index}.wav", sample["audio"].samples.numpy(), 8000)
        segments = [{"start": start, "end": end, "label": key} for start, end, key in sample["spans"]]
        rows.append(json.dumps({"file_name": f"{index}.wav", "segments": segments}))
    (root / "metadata.jsonl").write_text("\n".join(rows))
    return root, root / "3.wav"


CASES = {
    "segmentation": ("image", "folder", scenes, {"val/loss", "val/miou", "val/accuracy"}),
    "words": ("text", "table", sentences, {"val/f1", "val/precision", "val/recall"}),
    "sounds": ("audio", "folder", lines, {"val/f1", "val/accuracy"}),
}


@pytest.mark.parametrize("case", CASES)
def test_own_data_is_checked_trained_on_evaluated_and_asked(case, small_run, configure, tmp_path, capsys):
    modality, data, make, figures = CASES[case]
    path, inputs = make(tmp_path / "data")
    task = "segmentation" if case == "segmentation" else "sequence_labeling"
    choices = (
        f"modality={modality}",
        f"task={task}",
        f"data={data}",
        f"data.path={path}",
        "data.cache_gib=0",
    )
    config = small_run(*choices, "tokenizer.max_len=64") if modality == "text" else small_run(*choices)
    assert check_data(config, tmp_path / "check")
    reached = train(config, tmp_path / "run")
    assert figures <= reached.keys()
    again = evaluate(configure(f"checkpoint={tmp_path / 'run'}", *CPU, verb="evaluate"))
    assert again["val/loss"] == pytest.approx(reached["val/loss"], rel=1e-4)
    output = tmp_path / "told.csv"
    predict(
        configure(
            f"checkpoint={tmp_path / 'run'}", f"inputs={inputs}", f"output={output}", *CPU, verb="predict"
        )
    )
    with open(output, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = {"segmentation": masks_told, "words": words_told, "sounds": segments_told}[case]
    told(rows, tmp_path)


def masks_told(rows, folder):
    assert [row["mask"] for row in rows] == [f"told_masks/{index:02}.png" for index in range(40)]
    with Image.open(folder / rows[3]["mask"]) as mask:
        assert mask.mode == "P" and mask.size == (64, 48) and np.asarray(mask).max() <= 10
    assert 0 < float(rows[0]["share_1"]) <= 1


def words_told(rows, folder):
    assert [json.loads(row["words"]) for row in rows] == [row["input"].split() for row in rows]
    assert [len(json.loads(row["tags"])) for row in rows] == [5, 4]
    assert all(isinstance(json.loads(row["spans"]), list) for row in rows)


def segments_told(rows, folder):
    [row] = rows
    assert all(segment["start"] < segment["end"] <= 2 for segment in json.loads(row["segments"]))
