"""Inputs that are longer than the tokenizer takes are counted and reported by train, evaluate and predict."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from unimodal.training.evaluate import evaluate
from unimodal.training.predict import predict
from unimodal.training.train import train

LONG = 5  # every fifth text or sound is too long


@pytest.fixture
def texts(tmp_path):
    """80 rows for training and 20 for validation, of one byte a token; returns the overrides."""
    rows = [
        (("b" if i % 2 else "a") * (33 if i % LONG == 0 else 32), "ab"[i % 2], "train" if i < 80 else "val")
        for i in range(100)
    ]
    (tmp_path / "d.csv").write_text("\n".join(["text,label,split", *map(",".join, rows)]))
    options = ["modality=text", "task=classification", "tokenizer=text_byte", "tokenizer.max_len=32"]
    return [*options, "data=table", f"data.path={tmp_path / 'd.csv'}", "loader.batch_size=16"]


@pytest.fixture
def sounds(tmp_path):
    """Sounds of exactly a second, and some that are a sample longer, in split and class folders."""
    rng = np.random.default_rng(0)
    for split, num in (("train", 40), ("val", 10)):
        for i in range(num):
            place = tmp_path / "sounds" / split / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            soundfile.write(place / f"{i}.wav", rng.normal(0, 0.1, 16_000 + (i % LONG == 0)), 16_000)
    return [
        "modality=audio",
        "data=folder",
        f"data.path={tmp_path / 'sounds'}",
        "tokenizer.max_seconds=1",
        "loader.batch_size=8",
        "augment=none",
    ]


def cut(metrics):
    return {name: value for name, value in metrics.items() if "num_cut" in name}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_run_reports_the_texts_that_are_cut(small_run, texts, tmp_path, capsys, num_workers):
    config = small_run(*texts, f"loader.num_workers={num_workers}", "debug=none", "trainer.max_epochs=2")
    metrics = train(config, tmp_path / "run")
    assert cut(metrics) == {"train/num_cut_texts": 16, "val/num_cut_texts": 4}
    said = capsys.readouterr().out
    assert said.count("train: 16 of 80 texts are longer than the tokenizer's max_len=32 and are cut") == 1
    assert said.count("val: 4 of 20 texts are longer than the tokenizer's max_len=32 and are cut") == 1
    assert cut(json.loads((tmp_path / "run" / "metrics.json").read_text())) == cut(metrics)


def test_a_run_reports_the_sounds_that_are_cut_also_of_decoded_ones(small_run, sounds, tmp_path, capsys):
    for name in ("first", "again"):  # the second reads them from the cache
        config = small_run(*sounds, "debug=none", "trainer.max_epochs=1", f"output={tmp_path / name}")
        assert cut(train(config, tmp_path / name)) == {"train/num_cut_sounds": 8, "val/num_cut_sounds": 2}
    assert (
        "val: 2 of 10 sounds are longer than 1 s, the most that the tokenizer takes"
        in capsys.readouterr().out
    )


def test_nothing_is_said_where_nothing_is_cut(small_run, texts, tmp_path, capsys):
    config = small_run(*texts, "tokenizer.max_len=33", "debug=none", "trainer.max_epochs=1")
    assert not cut(train(config, tmp_path / "run"))
    assert "cut" not in capsys.readouterr().out


@pytest.fixture
def trained(small_run, texts, tmp_path):
    train(small_run(*texts, "debug=none", "trainer.max_epochs=1"), tmp_path / "run")
    return tmp_path / "run"


def test_evaluate_reports_them_too(configure, trained, capsys):
    metrics = evaluate(configure(f"checkpoint={trained}", "trainer=cpu", verb="evaluate"))
    assert cut(metrics) == {"val/num_cut_texts": 4}
    assert "val: 4 of 20 texts are longer than" in capsys.readouterr().out


def answers(configure, trained, inputs, tmp_path, *overrides):
    output = f"output={tmp_path / 'answers.csv'}"
    predict(
        configure(
            f"checkpoint={trained}", "trainer=cpu", f"inputs={inputs}", output, *overrides, verb="predict"
        )
    )
    with open(tmp_path / "answers.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predict_says_which_inputs_are_cut(configure, trained, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("\n".join(["a" * 32, "b" * 33, "a"]))
    rows = answers(configure, trained, tmp_path / "in.txt", tmp_path)
    assert [row["is_cut"] for row in rows] == ["False", "True", "False"]
    assert "1 of 3 texts are longer than the tokenizer's max_len=32 and are cut" in capsys.readouterr().out
    (tmp_path / "in.txt").write_text("a\nb\n")
    assert "is_cut" not in answers(configure, trained, tmp_path / "in.txt", tmp_path)[0]


def test_blank_lines_have_a_row_with_the_reason(configure, trained, tmp_path):
    (tmp_path / "in.txt").write_text("aaa\n\nbbb\n  \naaa\n\n")
    rows = answers(configure, trained, tmp_path / "in.txt", tmp_path)
    assert [row["input"] for row in rows] == ["aaa", "", "bbb", "  ", "aaa", ""]
    assert [row["error"].rpartition("in.txt ")[2] for row in rows] == [
        *("", "line 2: has no text."),
        *("", "line 4: has no text."),
        *("", "line 6: has no text."),
    ]
    assert [bool(row["prediction"]) for row in rows] == [True, False] * 3


def test_an_empty_cell_is_no_text_either(configure, trained, tmp_path):
    (tmp_path / "in.csv").write_text("text,nr\naaa,1\n,2\n")
    rows = answers(configure, trained, tmp_path / "in.csv", tmp_path)
    assert [row["error"].rpartition("in.csv ")[2] for row in rows] == ["", "line 3: has no text."]


@pytest.mark.slow
def test_two_processes_count_together(texts, tmp_path):
    small = ["backbone.dim=32", "backbone.depth=1", "backbone.num_heads=2", "trainer.precision=32-true"]
    settings = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1"]
    command = [sys.executable, "-m", "unimodal", "train", *texts, *small, *settings, "loader.batch_size=8"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "output=run"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert cut(metrics) == {"train/num_cut_texts": 16, "val/num_cut_texts": 4}
    assert done.stdout.count("train: 16 of 80 texts are longer") == 1


def test_packed_batches_of_so_many_tokens_are_counted_too(small_run, texts, tmp_path):
    options = ["loader.pack=true", "loader.max_tokens=256", "debug=none", "trainer.max_epochs=1"]
    assert cut(train(small_run(*texts, *options), tmp_path / "run"))["val/num_cut_texts"] == 4


def test_each_source_of_joint_training_counts_its_own(small_run, tmp_path, capsys):
    sources = ["modality=joint", "+source@mix.digits=image", "+source@mix.tones=audio"]
    tones = ["data.train_size=64", "data.val_size=16", "tokenizer.max_seconds=0.1", "loader.batch_size=8"]
    tones = [f"mix.tones.{option}" for option in tones]
    metrics = train(small_run(*sources, *tones, "mix.digits.weight=0"), tmp_path / "run")
    assert metrics["val/tones/num_cut_sounds"] == 16
    assert metrics["train/tones/num_cut_sounds"] > 0 and not any("digits/num_cut" in name for name in metrics)
    assert "val/tones: 16 of 16 sounds are longer than 0.1 s" in capsys.readouterr().out
