"""Two processes whose batches differ in what they hold end, and end as one process does."""

import json
import os
import subprocess
import sys

import pytest
import torch

SMALL = (
    "backbone.dim=32",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "modality=joint",
    "+source@mix.digits=image",
    "+source@mix.tones=audio",
    "mix.digits.data.val_fraction=0.8",
    "mix.tones.data.train_size=96",  # a quarter of the digits: uneven sources
    "mix.tones.data.val_size=33",  # an odd number: the last validation batch of one process is filled up
    "mix.digits.augment=null",
    "mix.tones.augment=null",
    "optimizer.eps=1e-3",  # else Adam makes whole steps of the rounding of a gradient that is almost zero
    "trainer.max_epochs=2",
    "logger=csv",
)
ONE = ("mix.digits.loader.batch_size=16", "mix.tones.loader.batch_size=16")
TWO = ("mix.digits.loader.batch_size=8", "mix.tones.loader.batch_size=8", "trainer.devices=2")


def run(folder, name, *settings):
    """Train in a process of its own, as a user does; returns figures and weights."""
    command = [sys.executable, "-m", "unimodal", "train", *SMALL, *settings, f"output={name}"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads((folder / name / "metrics.json").read_text())
    state = torch.load(folder / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return figures, state, done.stdout


def assert_alike(one, two):
    (figures, state, _), (other_figures, other_state, _) = one, two
    assert state.keys() == other_state.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, other_state[name], rtol=1e-3, atol=1e-4, msg=name)
    assert figures["steps"] == other_figures["steps"]
    for key in ("val/digits/loss", "val/tones/loss", "val/loss"):
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
