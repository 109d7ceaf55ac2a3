"""Captioning from end to end: trained, evaluated, asked."""

import csv
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from unimodal.training.evaluate import evaluate
from unimodal.training.predict import predict
from unimodal.training.train import train

NUM = 24
WORDS = ("dark", "light")


@pytest.fixture
def scenes(tmp_path):
    """A table of pictures and sounds with questions and answers; returns its path."""
    rng = np.random.default_rng(0)
    (tmp_path / "media").mkdir()
    rows = []
    for i in range(NUM):
        pixels = rng.integers(0, 120, (10, 10, 3)) + 120 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "media" / f"{i}.png")
        soundfile.write(tmp_path / "media" / f"{i}.wav", rng.normal(0, 0.1, 600 + 30 * i), 8000)
        asked = {} if i % 3 else {"question": "how bright?"}
        media = {"image": f"media/{i}.png", "audio": f"media/{i}.wav"}
        rows.append({**media, "answer": WORDS[i % 2], "split": "val" if i % 4 == 0 else "train", **asked})
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "d.jsonl"


def captioning(table, *more):
    return [
        "modality=image",
        "augment=none",
        "tokenizer.image_size=16",
        "+tokenizer@beside.text=text_byte",
        "task=captioning",
        "task.decoding.max_new_tokens=6",
        "data=table",
        f"data.path={table}",
        "data.columns.text=answer",
        "data.columns.prompt=question",
        "loader.batch_size=4",
        *more,
    ]


@pytest.fixture
def trained(scenes, small_run, tmp_path):
    train(small_run(*captioning(scenes)), tmp_path / "run")
    return tmp_path / "run"


def ask(configure, run, *overrides):
    return predict(configure(f"checkpoint={run}", "trainer=cpu", *overrides, verb="predict"))


def rows_of(path):
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_evaluation_gives_the_run_s_figures_and_may_write_otherwise(trained, configure):
    wanted = json.loads((trained / "metrics.json").read_text())
    asked = (f"checkpoint={trained}", "trainer=cpu", "trainer.precision=32-true")
    again = evaluate(configure(*asked, verb="evaluate"))
    assert {"val/loss", "val/exact_match", "val/wer", "val/cer", "val/bleu"} <= again.keys()
    assert again == {name: wanted[name] for name in again}
    shorter = ["decoding.max_new_tokens=1", "decoding.num_beams=2"]
    other = evaluate(configure(*asked, *shorter, verb="evaluate"))
    assert other["val/loss"] == again["val/loss"] and other["val/exact_match"] == 0
    sample = next((trained / "samples").iterdir()).read_text()
    assert sample.startswith("how bright? dark -> ")


def test_a_folder_of_media_is_answered(trained, scenes, configure, tmp_path):
    ask(configure, trained, f"inputs={scenes.parent / 'media'}", f"output={tmp_path / 'out.csv'}")
    answers = rows_of(tmp_path / "out.csv")
    assert len(answers) == NUM and answers[0].keys() == {"input", "text"}


def test_a_table_is_answered_with_its_prompts(trained, scenes, configure, tmp_path):
    output = f"output={tmp_path / 'out.jsonl'}"
    ask(configure, trained, f"inputs={scenes}", output, "columns.prompt=question", "max_new_tokens=2")
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(answers) == NUM and answers[0]["question"] == "how bright?" and answers[1]["question"] is None
    assert all(len(answer["text"].encode()) <= 6 for answer in answers)
    named = scenes.read_text().replace("question", "prompt")
    (scenes.parent / "named.jsonl").write_text(named)
    ask(configure, trained, f"inputs={scenes.parent / 'named.jsonl'}", output, "max_new_tokens=2")
    again = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert again == [answer["text"] for answer in answers]


def test_the_seed_moves_what_is_sampled(trained, scenes, configure, tmp_path):
    texts = []
    for seed in (0, 0, 1):
        drawn = ["decoding.temperature=2", f"seed={seed}", f"output={tmp_path / 'out.csv'}"]
        ask(configure, trained, f"inputs={scenes}", *drawn)
        texts.append([row["text"] for row in rows_of(tmp_path / "out.csv")])
    assert texts[0] == texts[1] != texts[2]


def test_vectors_of_a_captioner(trained, scenes, configure, tmp_path):
    output = tmp_path / "v.npy"
    ask(configure, trained, f"inputs={scenes}", "embeddings=true", f"output={output}")
    assert np.load(output).shape == (NUM, 32)


def test_several_media_are_asked_about_with_a_table(scenes, small_run, configure, tmp_path):
    train(small_run(*captioning(scenes, "+tokenizer@beside.audio=audio_frame")), tmp_path / "run")
    output = f"output={tmp_path / 'out.csv'}"
    ask(configure, tmp_path / "run", f"inputs={scenes}", output)
    assert all(row["text"] is not None for row in rows_of(tmp_path / "out.csv"))
    with pytest.raises(ValueError, match="reads image, audio together; give a table with a column for each"):
        ask(configure, tmp_path / "run", f"inputs={scenes.parent / 'media'}", output)
    (tmp_path / "images.csv").write_text("image\nmedia/1.png\n")
    with pytest.raises(ValueError, match=r"no column for audio; it has image\. .* columns\.audio=NAME"):
        ask(configure, tmp_path / "run", f"inputs={tmp_path / 'images.csv'}", output)
    with pytest.raises(ValueError, match=r"has no column 'sound'.* set columns\.audio"):
        ask(configure, tmp_path / "run", f"inputs={scenes}", output, "columns.audio=sound")


def test_decoding_is_for_runs_that_write(small_run, configure, tmp_path):
    train(small_run(), tmp_path / "run")
    with pytest.raises(ValueError, match=r"decoding\.num_beams is for .*task=captioning.* this one is Class"):
        evaluate(configure(f"checkpoint={tmp_path / 'run'}", "decoding.num_beams=2", verb="evaluate"))
