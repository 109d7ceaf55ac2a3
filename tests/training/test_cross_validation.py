"""Cross-validation by the command that a user types: folds, resuming, one fold alone."""

import json

import numpy as np
import pytest
import soundfile
import torch
import yaml

from unimodal.application import VERBS
from unimodal.training.cross_validation import cross_validate, is_cross_validation, summarize, table_lines
from unimodal.training.evaluate import evaluate
from unimodal.training.train import train

SPEAKERS = ("anna", "bert", "cora")


@pytest.fixture
def sounds(tmp_path):
    rng = np.random.default_rng(0)
    for label, pitch in (("low", 200), ("high", 800)):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for name in SPEAKERS:
            for take in range(4):
                wave = np.sin(2 * np.pi * pitch * np.arange(1600) / 8000) + rng.normal(0, 0.2, 1600)
                soundfile.write(tmp_path / "sounds" / label / f"{label}_{name}_{take}.wav", 0.3 * wave, 8000)
    return tmp_path / "sounds"


@pytest.fixture
def folds(small_run, sounds):
    def _folds(output, *more):
        data = ("data=folder", f"data.path={sounds}", 'data.id_pattern="_([a-z]+)_"', "data.folds=3")
        fit = (
            "modality=audio",
            "augment=none",
            "trainer.limit_val_batches=null",
            "tokenizer.max_seconds=0.2",
        )
        return small_run(*fit, *data, f"output={output}", *more)

    return _folds


def weights(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_all_folds_are_trained_and_their_metrics_are_reported(folds, configure, tmp_path, capsys):
    output = tmp_path / "cv"
    config = folds(output)
    assert is_cross_validation(config)
    monitored = VERBS["train"](config, output, [])
    summary = json.loads((output / "metrics.json").read_text())
    assert monitored == summary["mean"]["val/accuracy"]
    assert len(summary["folds"]) == 3 and summary["num_samples"] == 24
    values = [fold["val/accuracy"] for fold in summary["folds"]]
    assert summary["mean"]["val/accuracy"] == pytest.approx(np.mean(values))
    assert summary["deviation"]["val/accuracy"] == pytest.approx(np.std(values, ddof=1))
    said = capsys.readouterr().out
    assert said.count("1 of 3 groups, data.fold=") == 3 and "deviation" in said
    for fold in (1, 2, 3):
        run = output / f"fold-{fold}"
        own = yaml.safe_load((run / "config.yaml").read_text())
        assert own["data"]["fold"] == fold and own["output"] == str(run)
        again = evaluate(
            configure(f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true", verb="evaluate")
        )
        metrics = summary["folds"][fold - 1]
        assert again == {name: value for name, value in metrics.items() if name.startswith("val/")}
        assert metrics["val/num_samples"] == 8
        low, high = metrics["val/accuracy_interval"]
        assert low <= metrics["val/accuracy"] <= high
    with pytest.raises(ValueError, match="holds a finished run"):
        cross_validate(config, output)


def test_an_interrupted_cross_validation_goes_on_and_a_fold_alone_is_the_same(folds, tmp_path, monkeypatch):
    whole = cross_validate(folds(tmp_path / "whole"), tmp_path / "whole")
    output, trained = tmp_path / "cv", []

    def stopping(config, run, config_dirs=()):
        trained.append(config["data"]["fold"])
        figures = train(config, run, config_dirs)
        if trained == [1, 2]:  # the power fails behind the last step of the second fold
            (run / "metrics.json").unlink()
            raise KeyboardInterrupt
        return figures

    monkeypatch.setattr("unimodal.training.cross_validation.train", stopping)
    with pytest.raises(KeyboardInterrupt):
        cross_validate(folds(output), output)
    assert not (output / "metrics.json").exists()
    alone = output / "fold-3"
    train(folds(alone, "data.fold=3"), alone)  # as another machine would
    summary = cross_validate(folds(output), output)
    assert trained == [1, 2, 2]
    assert summary["mean"] == whole["mean"] and summary["deviation"] == whole["deviation"]
    for fold in (1, 2, 3):
        one, other = weights(tmp_path / "whole" / f"fold-{fold}"), weights(output / f"fold-{fold}")
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_fold_of_another_config_is_refused(folds, tmp_path):
    output = tmp_path / "cv"
    train(folds(output / "fold-1", "data.fold=1", "seed=1"), output / "fold-1")
    with pytest.raises(ValueError, match=r"seed=0, but the finished fold in .*fold-1 has seed=1"):
        cross_validate(folds(output), output)


def test_joint_training_is_refused(configure):
    mix = {"sounds": {"data": {"folds": 3}}}
    with pytest.raises(ValueError, match=r"mix\.sounds\.data\.folds=3 asks for cross-validation"):
        is_cross_validation({"mix": mix, "data": None})
    assert not is_cross_validation(configure("modality=all"))
    assert not is_cross_validation(configure())


def test_the_table_has_a_line_a_fold_and_only_metrics_that_all_folds_have():
    folds = [
        {
            "val/loss": 1.0,
            "val/accuracy": 0.5,
            "val/num_samples": 4,
            "seconds": 1.0,
            "monitor": "val/accuracy",
        },
        {
            "val/loss": 3.0,
            "val/accuracy": 1.0,
            "val/num_samples": 4,
            "seconds": 2.0,
            "monitor": "val/accuracy",
        },
    ]
    folds[0]["test/accuracy"] = 0.1
    summary = summarize(folds)
    assert summary["mean"] == {"val/loss": 2.0, "val/accuracy": 0.75} and summary["seconds"] == 3.0
    lines = table_lines(summary)
    assert lines[0].split() == ["val/loss", "val/accuracy"]
    assert [line.split()[-1] for line in lines[1:]] == ["0.5000", "1.0000", "0.7500", "0.3536"]
    for fold in folds:
        fold["val/accuracy_interval"] = [0.0, 1.0]
    pooled = summarize(folds)
    assert pooled["pooled"]["val/accuracy"] == 0.75
    low, high = pooled["pooled"]["val/accuracy_interval"]
    assert low < 0.75 < high
    assert table_lines(pooled)[-1].startswith("  all folds: val/accuracy 0.7500 (95% interval 0.")
    assert table_lines(pooled)[-1].endswith("8 samples)")
