import sys
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from unimodal.training.train import train

LONG = (
    "debug=none",
    "data.val_fraction=0.8",
    "loader.batch_size=32",
    "trainer.max_epochs=4",
    "tokenizer.patch_size=16",
)


class Stop(L.Callback):
    """Ends the run with an error after so many steps."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


def _content(run: Path) -> tuple[dict, list[str]]:
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    table = (run / "metrics.csv").read_text().splitlines()
    keep = [i for i, name in enumerate(table[0].split(",")) if "per_second" not in name]
    return checkpoint, [",".join(row.split(",")[i] for i in keep) for row in table]


REGULARISED = (
    "task.mixup=0.4",
    "task.cutmix=1",
    "task.token_dropout=0.3",
    "task.head_dropout=0.2",
    "backbone.drop_path=0.2",
    "augment.crop=0.5",
    "augment.trivial=true",
    "augment.erase=0.3",
)


@pytest.mark.parametrize(("accumulate", "more"), [(1, ()), (2, ()), (1, REGULARISED)])
def test_an_interrupted_run_ends_as_the_uninterrupted_one(small_run, tmp_path, monkeypatch, accumulate, more):
    settings = (*LONG, f"trainer.accumulate_grad_batches={accumulate}", *more)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(small_run(*settings, f"output={whole}"), whole)
    steps = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    config = small_run(*settings, f"output={broken}")
    config["callbacks"]["stop"] = {"_target_": "resume_stop.Stop", "step": steps * 5 // 8}
    monkeypatch.setitem(sys.modules, "resume_stop", SimpleNamespace(Stop=Stop))
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, broken)
    train(small_run(*settings, f"output={broken}"), broken)
    (one, rows), (two, other_rows) = _content(whole), _content(broken)
    assert rows == other_rows
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name
    for mine, theirs in zip(
        one["optimizer_states"][0]["state"].values(),
        two["optimizer_states"][0]["state"].values(),
        strict=True,
    ):
        assert torch.equal(mine["exp_avg"], theirs["exp_avg"])
