import json
import sys
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from unimodal.training import build, checkpoints
from unimodal.training.evaluate import evaluate
from unimodal.training.train import train

LONG = (
    "callbacks=ema",
    "debug=none",
    "data.val_fraction=0.8",
    "loader.batch_size=32",
    "trainer.max_epochs=4",
    "tokenizer.patch_size=16",
)


class Watch(L.Callback):
    """Keeps the weights after each step, and those that validation sees; may stop the run."""

    def __init__(self, stop: int = -1):
        self.stop, self.steps, self.validated, self.sampled = stop, [], [], []
        Watch.last = self

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.steps.append(_clone(pl_module))
        if trainer.global_step == self.stop:
            raise RuntimeError("stopped")

    def on_validation_batch_end(self, trainer, pl_module, *args):
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.validated.append(_clone(pl_module))

    def on_validation_end(self, trainer, pl_module):
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.sampled.append(_clone(pl_module))


def _clone(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _watched(config, monkeypatch, **settings):
    monkeypatch.setitem(sys.modules, "ema_watch", SimpleNamespace(Watch=Watch))
    watch = {"_target_": "ema_watch.Watch", **settings}
    return config | {"callbacks": {"watch": watch, **config["callbacks"]}}  # before the average's own


def _same(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def _last(run: Path):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def test_what_is_validated_saved_and_loaded_is_the_average_of_the_steps(small_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(_watched(small_run(*LONG, "callbacks.ema.decay=0.9"), monkeypatch), run)
    [first, *others], saved = Watch.last.steps, _last(run)
    average = {name: value.clone() for name, value in first.items()}
    for num, weights in enumerate(others, start=1):
        keep = min(0.9, (1 + num) / (10 + num))
        average = {name: keep * mean + (1 - keep) * weights[name] for name, mean in average.items()}
    torch.testing.assert_close(saved["state_dict"], average, rtol=1e-4, atol=1e-6)
    assert _same(saved["state_dict"], Watch.last.validated[-1])
    assert _same(saved["state_dict"], Watch.last.sampled[-1])
    assert _same(saved["current_model_state"], others[-1])
    assert not _same(saved["state_dict"], others[-1])
    config, weights = checkpoints.load(run / "checkpoints/last.ckpt")
    assert _same(build.restore_task(config, weights).state_dict(), saved["state_dict"])


def test_the_figures_are_those_of_the_best_average_and_evaluate_gives_them_again(
    small_run, configure, tmp_path
):
    run = tmp_path / "run"
    # the lowest accuracy counts as the best here, so that the best average is not the last one
    trained = train(small_run(*LONG, "callbacks.ema.decay=0.9", "callbacks.best.mode=min"), run)
    best = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert not _same(best["state_dict"], _last(run)["state_dict"])
    score = next(s["current_score"] for s in best["callbacks"].values() if "current_score" in s)
    ask = configure(f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true", verb="evaluate")
    figures = evaluate(ask)
    assert figures == {name: trained[name] for name in figures}
    assert figures["val/accuracy"] == pytest.approx(float(score))
    assert json.loads((run / "metrics.json").read_text())["val/loss"] == figures["val/loss"]


@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_uninterrupted_one(small_run, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    settings = (*LONG, "callbacks.ema.decay=0.9")
    figures = train(small_run(*settings, f"output={whole}"), whole)
    steps = _last(whole)["global_step"]
    config = _watched(small_run(*settings, f"output={broken}"), monkeypatch, stop=steps * 5 // 8)
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, broken)
    again = train(small_run(*settings, f"output={broken}"), broken)
    assert {k: v for k, v in figures.items() if k.startswith("val/")} == {
        k: v for k, v in again.items() if k.startswith("val/")
    }
    one, two = _last(whole), _last(broken)
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert _same(one[part], two[part]), part
    for mine, theirs in zip(
        one["optimizer_states"][0]["state"].values(),
        two["optimizer_states"][0]["state"].values(),
        strict=True,
    ):
        assert torch.equal(mine["exp_avg"], theirs["exp_avg"])


def test_what_does_not_learn_stays_the_same_to_the_bit(small_run, tmp_path):
    train(small_run("tokenizer.patch_size=16", f"output={tmp_path / 'base'}"), tmp_path / "base")
    _, base = checkpoints.load(tmp_path / "base")
    tuned = small_run("callbacks=ema", "finetune=head", f"pretrained={tmp_path / 'base'}", *LONG[1:])
    train(tuned, tmp_path / "run")
    _, weights = checkpoints.load(tmp_path / "run")
    changed = {name for name, value in weights.items() if not torch.equal(value, base[name])}
    assert changed and all("model." not in name for name in changed)


def test_sharded_weights_and_an_impossible_decay_are_refused(small_run, tmp_path):
    config = small_run("callbacks=ema", "trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=1")
    with pytest.raises(ValueError, match="callbacks=ema averages whole weights"):
        train(config, tmp_path / "run")
    with pytest.raises(ValueError, match=r"decay=1\.5 is not in \[0, 1\)"):
        build.make({"_target_": "unimodal.training.callbacks.ema.AverageWeights", "decay": 1.5})
