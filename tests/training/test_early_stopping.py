"""Early stopping on a smoothed metric, which lets the learning rate decay first."""

import sys
from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from unimodal.training import schedules
from unimodal.training.callbacks.early_stopping import SmoothedEarlyStopping
from unimodal.training.optimization import Optimization
from unimodal.training.train import train

NOISY = [0.5, 0.7, 0.6, 0.68, 0.66, 0.69, 0.68, 0.7, 0.69, 0.69, 0.69]  # the maximum is the second, by luck


def _stop_index(stopping: SmoothedEarlyStopping, values: list[float]) -> int | None:
    for i, value in enumerate(values):
        if stopping._evaluate_stopping_criteria(torch.tensor(value))[0]:
            return i
    return None


def test_a_lucky_maximum_does_not_stop_a_run_that_improves_on_average():
    assert _stop_index(SmoothedEarlyStopping("m", "max", smoothing=0.0, patience=4), NOISY) == 5
    assert _stop_index(SmoothedEarlyStopping("m", "max", smoothing=0.6, patience=4), NOISY) is None


def test_the_average_is_exponential_and_goes_on_from_a_checkpoint():
    whole, first, second = (SmoothedEarlyStopping("m", "max", patience=9) for _ in range(3))
    _stop_index(whole, NOISY)
    _stop_index(first, NOISY[:5])
    second.load_state_dict(first.state_dict())
    _stop_index(second, NOISY[5:])
    expected = NOISY[0]
    for value in NOISY[1:]:
        expected = 0.6 * expected + 0.4 * value
    assert whole.average == pytest.approx(expected, rel=1e-6)
    assert whole.state_dict() == second.state_dict()


def test_a_metric_that_is_not_finite_stops_at_once_or_is_left_out():
    assert _stop_index(SmoothedEarlyStopping("m"), [1.0, float("nan")]) == 1
    stopping = SmoothedEarlyStopping("m", check_finite=False)
    assert _stop_index(stopping, [1.0, float("nan"), 1.0]) is None and stopping.average == 1.0


def test_a_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match=r"smoothing=1 is not in \[0, 1\)"):
        SmoothedEarlyStopping("m", smoothing=1)


@pytest.mark.parametrize("step", [60, 100, 333, 599])
def test_a_shorter_schedule_decays_from_the_step_on(step):
    schedule = partial(schedules.wsd, warmup=0.05, decay=0.4)
    num_steps = Optimization(torch.optim.SGD, schedule, 1000).decaying_from(step)
    assert num_steps == pytest.approx(step / 0.6, abs=2)
    assert schedule(step, num_steps=num_steps) == 1 > schedule(step + 1, num_steps=num_steps)
    assert schedule(num_steps, num_steps=num_steps) == 0


@pytest.mark.parametrize("step", [10, 601, 999])
def test_no_schedule_starts_to_decay_in_its_warmup_or_decay(step):
    schedule = partial(schedules.wsd, warmup=0.05, decay=0.4)
    assert Optimization(torch.optim.SGD, schedule, 1000).decaying_from(step) is None


@pytest.mark.parametrize(("name", "stable"), [("wsd", True), ("cosine", False), ("constant", False)])
def test_only_wsd_is_stable_first(name, stable):
    options = {"warmup": 0.1} | ({"decay": 0.4} if name == "wsd" else {})
    schedule = partial(getattr(schedules, name), **options)
    assert Optimization(torch.optim.SGD, schedule, 10).is_stable_first == stable


class Watch(L.Callback):
    """Notes the learning rates; ends the run with an error after so many steps."""

    def __init__(self, stop: int = 0):
        self.stop, self.rates = stop, []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.stop:
            raise RuntimeError("stopped")


SETTINGS = (
    "debug=none",
    "modality=audio",
    "callbacks=early_stopping",
    "callbacks.early_stopping.patience=2",
    "callbacks.early_stopping.min_delta=10.0",  # nothing is an improvement but the first validation
    "data.train_size=48",
    "data.val_size=16",
    "loader.batch_size=16",  # 3 steps of an epoch
    "trainer.max_epochs=20",
    "baseline=false",
)


def _run(config, output, monkeypatch, stop=0):
    watch = Watch(stop)
    config["callbacks"]["watch"] = {"_target_": "early_watch.watch"}
    config["callbacks"]["last"]["every_n_train_steps"] = 1
    monkeypatch.setitem(sys.modules, "early_watch", SimpleNamespace(watch=lambda: watch))
    if stop:
        with pytest.raises(RuntimeError, match="stopped"):
            train(config, output)
        return watch.rates
    return watch.rates, train(config, output)["steps"]


@pytest.mark.slow
def test_a_plateau_starts_the_decay_and_a_resumed_run_ends_alike(small_run, tmp_path, monkeypatch, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    rates, steps = _run(small_run(*SETTINGS, f"output={whole}"), whole, monkeypatch)
    assert steps == len(rates) == 15  # the decay starts after 9 of them, three epochs
    assert "the run has 15 steps instead of 60" in capsys.readouterr().out
    full = max(rates)
    assert rates[9:] == pytest.approx([full * left / 6 for left in (6, 5, 4, 3, 2, 1)])
    first = _run(small_run(*SETTINGS, f"output={broken}"), broken, monkeypatch, stop=12)
    rest, resumed_steps = _run(small_run(*SETTINGS, f"output={broken}"), broken, monkeypatch)
    assert resumed_steps == 15 and rates[-len(rest) :] == rest and len(first) + len(rest) in (15, 16)
    one, two = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (whole, broken))
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name


@pytest.mark.slow
def test_without_decay_the_run_stops_at_once(small_run, tmp_path, monkeypatch):
    config = small_run(*SETTINGS, "callbacks.early_stopping.decay=false")
    assert _run(config, tmp_path / "run", monkeypatch)[1] == 9
