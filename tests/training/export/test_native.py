"""Runs of `block=classic` as stock classes: the same predictions where there is no unimodal."""

import json

import pytest
import torch

CLASSES = {
    "image": "ViTForImageClassification",
    "audio": "ASTForAudioClassification",
    "video": "VivitForVideoClassification",
    "text": "GPT2LMHeadModel",
    "modern_text": "Qwen3ForCausalLM",
}


def predicts_alike(run, held_out, there, difference):
    """The stranger's logits, scores and labels are the run's, and its accuracy stands in metrics.json."""
    samples, outputs, labels = held_out
    names = run.config["task"]["class_names"]
    assert len(there["logits"]) == len(samples) == len(labels) > 40
    assert difference(there["logits"], outputs) < 1e-4
    assert torch.equal(there["logits"].argmax(1), outputs.argmax(1))
    assert difference(there["scores"], outputs.softmax(1)) < 1e-5
    assert there["labels"] == [names[i] for i in outputs.argmax(1).tolist()]
    accuracy = (there["logits"].argmax(1) == labels).float().mean()
    assert float(accuracy) == pytest.approx(run.figures["val/accuracy"], abs=1e-6)
    assert len(set(there["labels"])) > 4  # else all this would say little


@pytest.mark.parametrize("name", CLASSES)
def test_auto_finds_the_stock_class_and_writes_no_code(exported, name):
    folder = exported(name)
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == [CLASSES[name]] and "auto_map" not in config
    assert not list(folder.rglob("*.py")) and (folder / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["image", "audio", "video"])
def test_the_whole_held_out_part_is_predicted_alike(trained, held_out, native, difference, name):
    run = trained(name)
    assert native[name]["class"] == CLASSES[name]
    predicts_alike(run, held_out(run), native[name], difference)


@pytest.mark.slow
def test_videomae_is_the_mean_of_tokens_at_fixed_places(trained, exported, held_out, job, ask, difference):
    run, folder = trained("videomae"), exported("videomae")
    there = ask({"clips": job("videomae", folder)})["clips"]
    assert there["class"] == "VideoMAEForVideoClassification"
    assert not list(folder.rglob("*.py")) and "auto_map" not in (folder / "config.json").read_text()
    predicts_alike(run, held_out(run), there, difference)
