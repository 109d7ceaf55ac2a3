"""Two processes whose batches differ in what they hold end, and end as one process does."""

import json
import os
import subprocess
import sys

import pytest
import torch

BASE = (
    "backbone.dim=32",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "optimizer.eps=1e-3",  # else Adam makes whole steps of the rounding of a gradient that is almost zero
    "trainer.max_epochs=2",
    "logger=csv",
)
SMALL = (
    "modality=joint",
    "+source@mix.digits=image",
    "+source@mix.tones=audio",
    "mix.digits.data.val_fraction=0.8",
    "mix.tones.data.train_size=96",  # a quarter of the digits: uneven sources
    "mix.tones.data.val_size=33",  # an odd number: the last validation batch of one process is filled up
    "mix.digits.augment=null",
    "mix.tones.augment=null",
)
MIXED = ("modality=mixed", "augment=none", "data.train_size=48", "data.val_size=16", "data.missing=1.0")
ONE = ("mix.digits.loader.batch_size=16", "mix.tones.loader.batch_size=16")
TWO = ("mix.digits.loader.batch_size=8", "mix.tones.loader.batch_size=8", "trainer.devices=2")


def run(folder, name, *settings, kind=SMALL):
    """Train in a process of its own, as a user does; returns figures and weights."""
    command = [sys.executable, "-m", "unimodal", "train", *BASE, *kind, *settings, f"output={name}"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((folder / name / "metrics.json").read_text())
    state = torch.load(folder / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return figures, state, done.stdout


def assert_alike(one, two, losses=("val/digits/loss", "val/tones/loss", "val/loss")):
    (figures, state, _), (other_figures, other_state, _) = one, two
    assert state.keys() == other_state.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, other_state[name], rtol=1e-3, atol=1e-4, msg=name)
    assert figures["steps"] == other_figures["steps"]
    for key in losses:
        assert figures[key] == pytest.approx(other_figures[key], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("trainer=ddp",),
        ("trainer=ddp", "trainer.accumulate_grad_batches=3"),
        ("trainer=ddp", "batches=several"),
        ("trainer=fsdp",),
        ("trainer=fsdp", "trainer.accumulate_grad_batches=3", "batches=several"),
    ],
)
def test_two_processes_end_as_one_with_the_whole_batch(tmp_path, settings):
    alone = ("trainer=auto", *settings[1:])
    assert_alike(run(tmp_path, "one", *alone, *ONE), run(tmp_path, "two", *settings, *TWO))


@pytest.mark.slow
def test_a_source_that_is_never_drawn_keeps_no_process_waiting(tmp_path):
    _, _, said = run(tmp_path, "run", "trainer=ddp", "mix.tones.weight=0", *TWO)
    assert "frozen, for no task uses them: tasks.tones." in said


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["ddp", "fsdp"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_processes_whose_samples_lack_different_modalities_end_as_one(tmp_path, trainer, accumulate):
    settings = (f"trainer.accumulate_grad_batches={accumulate}",)
    one = run(tmp_path, "one", *settings, "loader.batch_size=4", kind=MIXED)
    devices = (f"trainer={trainer}", "trainer.devices=2", "loader.batch_size=2")
    two = run(tmp_path, "two", *settings, *devices, kind=MIXED)
    if trainer == "ddp":
        assert_alike(one, two, ["val/loss"])
    else:  # where a whole step lacks a modality its gradient is zero instead of none, and momentum goes on
        assert two[0]["steps"] == one[0]["steps"]
        assert two[0]["val/loss"] == pytest.approx(one[0]["val/loss"], rel=0.01)
