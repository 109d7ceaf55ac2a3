import csv

import numpy as np
import pytest
import torch
from PIL import Image

from unimodal.training.predict import predict
from unimodal.training.train import train

SMALL = (
    "task=masked_modeling",
    "callbacks=probe",
    "callbacks.probe.num_train=200",
    "callbacks.probe.num_val=100",
    "tokenizer.patch_size=16",
)


def test_pretraining_says_what_its_features_are_good_for(small_run, tmp_path):
    figures = train(small_run(*SMALL), tmp_path / "run")
    assert figures["val/knn_accuracy"] > 0.5 and figures["val/probe_accuracy"] > 0.5  # of ten digits
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    assert all(row["val/knn_accuracy"] and row["val/probe_accuracy"] for row in rows)


def test_the_probe_changes_nothing_of_the_run(small_run, tmp_path):
    probed = train(small_run(*SMALL), tmp_path / "run")
    plain = small_run("task=masked_modeling", "tokenizer.patch_size=16", f"output={tmp_path / 'plain'}")
    assert train(plain, tmp_path / "plain")["val/loss"] == probed["val/loss"]


def test_data_without_classes_is_not_probed(small_run, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("some words and more of them\n" * 200)
    config = small_run(
        "modality=text",
        "task=masked_text",
        "tokenizer=text_byte",
        "tokenizer.max_len=32",
        "data=folder",
        f"data.path={tmp_path / 'text.txt'}",
        "callbacks=probe",
        "loader.batch_size=4",
    )
    figures = train(config, tmp_path / "run")
    assert "val/accuracy" in figures and "val/knn_accuracy" not in figures
    assert "no classes" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["captioning", "contrastive"])
def test_of_pairs_the_picture_is_probed(small_run, tmp_path, task):
    rows = []
    for i in range(40):
        name = ("dark", "light")[i % 2]
        Image.new("RGB", (8, 8), (20 + 200 * (i % 2) + i % 5,) * 3).save(tmp_path / f"{i}.png")
        rows.append(f"{i}.png,number {i},{name}\n")
    (tmp_path / "d.csv").write_text("".join(["image,caption,label\n", *rows]))
    config = small_run(
        "modality=image",
        "+tokenizer@beside.text=text_byte",
        f"task={task}",
        "data=table",
        f"data.path={tmp_path / 'd.csv'}",
        "data.columns.text=caption",
        "tokenizer.image_size=8",
        "tokenizer.patch_size=4",
        "augment=none",
        "loader.batch_size=8",
        "callbacks=probe",
    )
    assert train(config, tmp_path / "run")["val/knn_accuracy"] == 1


def test_one_class_is_not_told_apart(small_run, tmp_path, capsys):
    assert "val/knn_accuracy" not in train(small_run(*SMALL, "callbacks.probe.num_train=1"), tmp_path / "run")
    assert "fewer than two classes" in capsys.readouterr().out


def test_a_classifier_starts_from_a_pretrained_backbone(small_run, tmp_path, capsys):
    train(small_run("task=masked_modeling", "tokenizer.patch_size=16"), tmp_path / "run")
    fine = small_run(
        "tokenizer.patch_size=16", f"pretrained={tmp_path / 'run'}", f"output={tmp_path / 'fine'}"
    )
    figures = train(fine, tmp_path / "fine")
    assert "val/accuracy" in figures
    assert "Classification here, MaskedModeling there" in capsys.readouterr().out
    first, last = (
        torch.load(tmp_path / name / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        for name in ("run", "fine")
    )
    assert not any(name.startswith(("decoder", "mask_token")) for name in last) and "mask_token" in first


def test_pretrained_vectors_are_written_and_answers_refused(small_run, tmp_path, configure):
    train(small_run("task=masked_modeling", "tokenizer.patch_size=16"), tmp_path / "run")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    settings = (f"checkpoint={tmp_path / 'run'}", f"inputs={tmp_path / 'a.png'}", "trainer=cpu")
    vectors = f"output={tmp_path / 'out.npy'}"
    written = predict(configure(*settings, "embeddings=true", vectors, verb="predict"))
    assert np.load(written).shape == (1, 32)
    with pytest.raises(ValueError, match="has no answers; embeddings=true writes vectors"):
        predict(configure(*settings, f"output={tmp_path / 'out.csv'}", verb="predict"))
