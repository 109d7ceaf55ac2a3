"""Runs of the modern block, exported with their code: pipelines, more training, the answers of `predict`."""

import csv

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from unimodal.training.export.examples import tensors
from unimodal.training.predict import predict

pytestmark = pytest.mark.slow

CLASSIFIERS = ("modern_image", "modern_audio", "modern_video", "passages")
WRITER = "modern_text"


@pytest.fixture
def folders(exported):
    folders = {name: exported(name) for name in CLASSIFIERS}  # auto: no stock class fits
    return folders | {WRITER: exported(WRITER, "format=portable")}


@pytest.fixture
def answers(folders, job, ask, shelf):
    """Of all these, from one process without unimodal."""
    _, made = shelf
    if "portable" not in made:
        jobs = {name: job(name, folder) for name, folder in folders.items()}
        for name in ("modern_image", "passages"):
            jobs[f"{name} embed"] = job(name, folders[name], "embed")
        few = job("modern_image", folders["modern_image"], "retrain")
        jobs["retrain"] = few | {"samples": few["samples"][:8]}
        made["portable"] = ask(jobs)
    return made["portable"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_pipelines_predict_the_whole_held_out_part_alike(trained, held_out, answers, difference, name):
    run, there = trained(name), answers[name]
    _, outputs, labels = held_out(run)
    names = run.config["task"]["class_names"]
    assert difference(there["logits"], outputs) < 1e-4
    assert difference(there["scores"], outputs.softmax(1)) < 1e-5
    assert there["labels"] == [names[i] for i in outputs.argmax(1).tolist()]
    accuracy = (there["logits"].argmax(1) == labels).float().mean()
    assert float(accuracy) == pytest.approx(run.figures["val/accuracy"], abs=1e-6)
    assert there["class"].startswith("UnimodalFor") and len(set(there["labels"])) > 2


def test_the_pipeline_writes_what_the_run_writes(trained, answers, greedily):
    ours, there = greedily(trained(WRITER)), answers[WRITER]
    assert there["texts"] == there["together"] == there["piped"] == ours


@torch.no_grad()
def test_the_features_of_images_are_the_vectors_of_the_run(trained, held_out, answers, difference):
    run, there = trained("modern_image"), answers["modern_image embed"]["vectors"]
    pooled = torch.cat([run.task.vectors(one) for one in batches(run, held_out)])
    assert difference(torch.stack(there), pooled) < 1e-4


@torch.no_grad()
def test_the_features_of_texts_are_the_tokens_of_the_run(trained, held_out, answers, difference):
    run, there = trained("passages"), answers["passages embed"]["vectors"]
    for one, tokens in zip(batches(run, held_out), there, strict=True):
        assert difference(tokens, run.task.encode(one).embeds[0]) < 1e-4


def batches(run, held_out):
    """Each held-out sample alone."""
    for sample in held_out(run).samples:
        given = sample if run.field == "text" else sample.movedim(-1, 0)
        yield tensors({run.field: given}, run.field, run.preprocess)


def test_what_is_saved_again_is_the_same_and_learns(answers, difference):
    there = answers["retrain"]
    assert torch.equal(there["same"], there["before"])
    assert torch.equal(there["reloaded"], there["after"])
    assert difference(there["after"], there["before"]) > 1e-2


def as_files(run, samples, folder):
    for i, sample in enumerate(samples):
        if run.field == "image":
            Image.fromarray(sample.numpy()).save(folder / f"{i:03}.png")
        elif run.field == "audio":
            rate = run.preprocess.sample_rate
            soundfile.write(folder / f"{i:03}.wav", sample.numpy(), rate, subtype="FLOAT")
        else:
            (folder / f"{i:03}.txt").write_text(sample)


@pytest.mark.parametrize("name", ["modern_image", "modern_audio", "passages"])
def test_predict_says_the_same_of_files(configure, trained, held_out, answers, tmp_path, name):
    run, folder = trained(name), tmp_path / "files"
    folder.mkdir()
    as_files(run, held_out(run).samples[:24], folder)
    said = predict(
        configure(
            f"checkpoint={run.path}",
            f"inputs={folder}",
            f"output={tmp_path / 'answers.csv'}",
            "trainer=cpu",
            "trainer.precision=32-true",
            verb="predict",
        )
    )
    with said.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["top_1"] for row in rows] == answers[name]["labels"][:24]
    ours = np.array([float(row["probability_1"]) for row in rows])
    assert np.abs(ours - answers[name]["scores"][:24].amax(1).numpy()).max() < 1e-5
