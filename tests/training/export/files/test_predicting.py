"""The pipeline of an exported folder says of files what `predict` says of them."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unimodal.data.decoding.encoded import Encoded
from unimodal.hub.usage_files import KINDS, Reading
from unimodal.hub.usage_inputs import input_of
from unimodal.training.export.kinds import kind_of, reading_of
from unimodal.training.predict import predict

MORE = {"image": "'photo.png'", "audio": "'sound.m4a'"}
ANSWERS = {  # a run of each modality, and one whose code the folder brings
    "image": "image",
    "modern_audio": "audio",
    "video": "video",
    "modern_video": "video",
}


def printed(folder, field, path, special):
    """What the lines of a folder's card print about a file: the pipeline's answer and the model's outputs."""
    use, *more = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    use = use.replace(f"path = {folder.name!r}", f"path = {str(folder)!r}")
    if special:  # what the lines of that kind return takes the place of what the first ones read
        use = more[0].replace(MORE[field], repr(str(path))) + use.replace(
            input_of(field, Reading()).lines[0], ""
        )
    said = []
    lines = use.replace(input_of(field, Reading()).given, repr(str(path)))
    exec(compile(lines, "README.md", "exec"), {"print": said.append})
    return said


@pytest.mark.slow
@pytest.mark.parametrize("name", ANSWERS)
def test_the_pipeline_says_of_files_what_predict_says(configure, trained, exported, files, tmp_path, name):
    run, folder, field = trained(name), exported(name), ANSWERS[name]
    names = run.config["task"]["class_names"]
    asked = configure(
        f"checkpoint={run.path}",
        f"inputs={files(field)}",
        f"output={tmp_path / 'answers.csv'}",
        f"top_k={len(names)}",
        "trainer=cpu",
        "trainer.precision=32-true",
        verb="predict",
    )
    with predict(asked).open() as file:
        rows = {Path(row["input"]).name: row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(path.name for path in files(field).iterdir())
    reads = reading_of(field, run.preprocess)
    card = (folder / "README.md").read_text()
    for file, row in rows.items():
        path = files(field) / file
        ours = {row[f"top_{i}"]: float(row[f"probability_{i}"]) for i in range(1, len(names) + 1)}
        special = [one for one in kind_of(field, Encoded(path=str(path)), reads) if one in named(field)]
        assert all(one in card for one in special)
        [piped, outputs] = printed(folder, field, path, special)
        assert all(abs(ours[one["label"]] - one["score"]) < 1e-3 for one in piped), file
        assert piped[0]["label"] == row["top_1"] or ours[row["top_1"]] - piped[0]["score"] < 1e-3
        scores = outputs.logits[0].softmax(0).tolist()
        assert max(abs(ours[one] - p) for one, p in zip(names, scores, strict=True)) < 1e-3, file


def named(field):
    return {kind.name for kind in KINDS[field]}


SIXTEEN = ("tokenizer.image_size=32", "tokenizer.patch_size=8", "block=classic")


@pytest.mark.slow
def test_a_folder_of_16_bit_pictures_says_what_their_names_alone_would_give(trained, exported, tmp_path):
    generator = np.random.default_rng(0)
    for part, num in (("train", 40), ("val", 12)):
        for name, low in (("dark", 2000), ("light", 30000)):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for i in range(num):
                values = generator.integers(low, low + 20000, (32, 32)).astype(np.uint16)
                Image.fromarray(values).save(folder / f"{i}.png")
    trained("wide", "modality=image", "data=folder", f"data.path={tmp_path / 'photos'}", *SIXTEEN)
    card = rendered((exported("wide", "num_samples=2", "num_metric_samples=200") / "README.md").read_text())
    said = re.search(r"accuracy: (.*) by predict, (.*) by the card's lines, (.*) by pipeline", card)
    ours, lines, names = map(float, said.groups())
    assert ours == lines == 1 and names < 0.6 and "24 held-out samples; they differ" in card
    assert "PNG, more than 8 bits a value: the card's lines differ from predict by up to" in card
    assert "read such files by the card's lines" in card and "image = read_image('photo.jpg')" in card


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "label", "metrics"),
    [
        ("number", "data.columns.label=size", ["mae", "r2"]),
        ("tags", "data.labels.kind=multilabel", ["micro_f1"]),
    ],
)
def test_numbers_and_tags_have_their_metrics_beside_ours(trained, exported, tmp_path, name, label, metrics):
    words, rows = ["red", "green", "blue"], []
    for i in range(90):
        there = [word for j, word in enumerate(words) if i >> j & 1]
        rows.append(
            {"text": " ".join([*there, str(i)]), "label": "|".join(there), "size": 10.0 * len(there) + i % 7}
        )
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([row for row in rows if row["label"]])
    task = "regression" if name == "number" else "classification"
    table = ("modality=text", "data=table", f"data.path={tmp_path / 'table.csv'}", f"task={task}", label)
    trained(name, *table, "tokenizer.max_len=32", "data.columns.text=text")
    card = (exported(name, "num_samples=2", "num_metric_samples=200") / "README.md").read_text()
    for metric in metrics:
        ours, lines = re.search(rf"{metric}: (\S+) by predict, (\S+) by the card", rendered(card)).groups()
        assert ours == lines
    assert "differ" not in re.search(r"r2: .*|micro_f1: .*", rendered(card))[0]


def rendered(card):
    """Backslashes of markdown undone."""
    return re.sub(r"\\([^a-zA-Z0-9\s])", r"\1", card)
