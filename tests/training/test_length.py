"""`min_steps`: a small set gets more epochs, and a run that goes on keeps its length."""

import json
import sys
from dataclasses import asdict
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import yaml

from unimodal.training import build
from unimodal.training.length import lengthen
from unimodal.training.schema import TrainerConfig
from unimodal.training.train import train

SMALL_SET = (
    "debug=none",
    "modality=audio",
    "data.train_size=48",
    "data.val_size=16",
    "loader.batch_size=16",  # 3 steps of an epoch
    "trainer.max_epochs=2",
    "optimizer.lr=1e-3",
)


def _lengthened(tmp_path, min_steps, num_batches=26, **settings) -> L.Trainer:
    node = asdict(TrainerConfig(accelerator="cpu", precision="32-true", **{"max_epochs": 50} | settings))
    config = {"trainer": node, "min_steps": min_steps}
    trainer = build.make_trainer(config, tmp_path, logger=False)
    lengthen(config, num_batches, trainer)
    return trainer


@pytest.mark.parametrize(
    ("min_steps", "settings", "epochs", "interval"),
    [
        (0, {}, 50, 1),
        (1300, {}, 50, 1),  # 26 * 50
        (1301, {}, 51, 2),
        (3000, {}, 116, 3),
        (3000, {"max_epochs": 200}, 200, 1),
        (3000, {"accumulate_grad_batches": 4}, 429, 11),  # 7 steps an epoch
        (3000, {"limit_train_batches": 10}, 300, 8),
        (3000, {"limit_train_batches": 0.5}, 231, 6),
        (3000, {"max_steps": 40}, 50, 1),
        (3000, {"max_steps": 2600}, 100, 3),
        (3000, {"max_epochs": None, "max_steps": 9}, None, 1),
        (3000, {"check_val_every_n_epoch": 1}, 116, 1),
        (3000, {"check_val_every_n_epoch": 50}, 116, 50),
        (3000, {"val_check_interval": 20}, 116, 1),
        (3000, {"fast_dev_run": True}, 1, 1),
    ],
)
def test_epochs_follow_from_the_steps(tmp_path, min_steps, settings, epochs, interval):
    trainer = _lengthened(tmp_path, min_steps, **settings)
    assert (trainer.max_epochs, trainer.check_val_every_n_epoch) == (epochs, interval)


def test_the_line_names_both_lengths(tmp_path, capsys):
    _lengthened(tmp_path, 3000)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "26 steps per epoch: 116 epochs instead of 50, so that the run has at least 3,000 steps (min_steps), "
        "validated every 3 epochs"
    )
    _lengthened(tmp_path, 1300)
    assert "min_steps" not in capsys.readouterr().out


@pytest.mark.parametrize("debug", ["fast", "overfit", "profile"])
def test_debug_runs_are_not_lengthened(configure, debug):
    assert configure(f"debug={debug}", "experiment=none")["min_steps"] == 0


def test_impossible_values_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"min_steps=-1 is negative; set min_steps"):
        _lengthened(tmp_path, -1)
    with pytest.raises(ValueError, match=r"check_val_every_n_epoch=0 is not a number of epochs"):
        _lengthened(tmp_path, 0, check_val_every_n_epoch=0)


def test_a_small_run_has_the_steps_and_its_config_stays_as_typed(small_run, tmp_path):
    run = tmp_path / "run"
    config = small_run(*SMALL_SET, "min_steps=10", "scheduler.decay=0.5")
    rates = []

    class Watch(L.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            rates.append(optimizer.param_groups[0]["lr"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "length_watch", SimpleNamespace(Watch=Watch))
        config["callbacks"]["watch"] = {"_target_": "length_watch.Watch"}
        train(config, run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert (metrics["steps"], metrics["epochs"]) == (12, 4)
    assert rates[-6:] == pytest.approx([1e-3 * left / 6 for left in (6, 5, 4, 3, 2, 1)])  # the schedule ends
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["trainer"]["max_epochs"] == 2 and written["min_steps"] == 10
    assert written["trainer"]["check_val_every_n_epoch"] == "auto"


class Stop(L.Callback):
    """Ends the run with an error after so many steps."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


def test_an_interrupted_lengthened_run_ends_as_the_uninterrupted_one(small_run, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    settings = (*SMALL_SET, "loader.batch_size=48", "min_steps=41")  # epochs, validated every second
    train(small_run(*settings, f"output={whole}"), whole)
    config = small_run(*settings, f"output={broken}")
    config["callbacks"]["stop"] = {"_target_": "length_stop.Stop", "step": 20}
    config["callbacks"]["last"]["every_n_train_steps"] = 7
    monkeypatch.setitem(sys.modules, "length_stop", SimpleNamespace(Stop=Stop))
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, broken)
    train(small_run(*settings, f"output={broken}"), broken)
    one, two = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (whole, broken))
    assert one["global_step"] == two["global_step"] == 41
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name
    steps = [
        [row.split(",")[1] for row in (run / "metrics.csv").read_text().splitlines()]
        for run in (whole, broken)
    ]
    assert steps[0] == steps[1]


def test_another_min_steps_changes_the_length_of_a_run_that_goes_on(small_run, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    config = small_run(*SMALL_SET, "min_steps=12")
    config["callbacks"]["stop"] = {"_target_": "length_stop.Stop", "step": 8}
    monkeypatch.setitem(sys.modules, "length_stop", SimpleNamespace(Stop=Stop))
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, run)
    with pytest.raises(ValueError, match=r"max_epochs=1 is less than the 2"):
        train(small_run(*SMALL_SET, "min_steps=0", "trainer.max_epochs=1"), run)
    assert train(small_run(*SMALL_SET, "min_steps=20"), run)["steps"] == 21
    assert "resumed with min_steps=20, which was 12" in capsys.readouterr().out
