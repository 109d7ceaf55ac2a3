"""What a run keeps and reports: its final weights always, the best by metric, then loss, then step."""

import csv
import json
import sys
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from unimodal.training.callbacks.checkpointing import BestCheckpoint
from unimodal.training.evaluate import evaluate
from unimodal.training.monitors import make_callbacks
from unimodal.training.train import train

STEPS = 10  # an epoch: 346 training digits, 32 a batch
LONG = (
    "debug=none",
    "data.val_fraction=0.8",
    "loader.batch_size=32",
    "loader.eval_batch_size=512",
    "trainer.max_epochs=3",
    "tokenizer.patch_size=16",
    "augment=none",
)


def table(run):
    """The validations in metrics.csv, by the number of steps before them; Lightning counts steps from 0."""
    with (run / "metrics.csv").open() as file:
        return {int(row["step"]) + 1: row for row in csv.DictReader(file) if row.get("val/loss")}


def step_of(run, name):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["global_step"]


@pytest.mark.parametrize(
    "settings, final",
    [
        (("trainer.max_steps=16",), 16),
        (("trainer.max_steps=5",), 5),
        (("trainer.check_val_every_n_epoch=2",), 3 * STEPS),
        (("trainer.check_val_every_n_epoch=9",), 3 * STEPS),
        (("trainer.check_val_every_n_epoch=2", "trainer.max_steps=16"), 16),
        (("trainer.val_check_interval=4", "trainer.max_epochs=1"), STEPS),
        (("trainer.limit_train_batches=5", "trainer.max_epochs=2"), 10),
        (("trainer.limit_train_batches=5", "trainer.max_epochs=2", "callbacks=ema"), 10),
        (("trainer.accumulate_grad_batches=4", "trainer.max_steps=4"), 4),
    ],
)
def test_the_final_weights_are_validated_saved_and_compared(small_run, tmp_path, settings, final):
    run = tmp_path / "run"
    figures = train(small_run(*LONG, *settings, "callbacks.best.monitor=val/loss"), run)
    rows = table(run)
    assert figures["steps"] == max(rows) == step_of(run, "last") == final
    best = min(rows, key=lambda step: float(rows[step]["val/loss"]))
    assert step_of(run, "best") == best
    assert figures["val/loss"] == pytest.approx(float(rows[best]["val/loss"]), rel=1e-5)


class Enough(L.Callback):
    """Stops training after so many steps, as `trainer.max_time` does, or at the end of an epoch."""

    def __init__(self, step=None, epoch=None):
        self.step, self.epoch = step, epoch

    def on_train_batch_end(self, trainer, *args):
        trainer.should_stop = trainer.should_stop or trainer.global_step == self.step

    def on_train_epoch_end(self, trainer, *args):
        trainer.should_stop = trainer.should_stop or trainer.current_epoch == self.epoch


@pytest.mark.parametrize("check", [1, 2, 9])
@pytest.mark.parametrize("when, final", [({"step": 16}, 16), ({"epoch": 0}, STEPS)])
def test_weights_are_kept_when_a_callback_stops_the_run(small_run, tmp_path, monkeypatch, check, when, final):
    config = small_run(*LONG, f"trainer.check_val_every_n_epoch={check}")
    config["callbacks"]["enough"] = {"_target_": "run_enough.Enough", **when}
    monkeypatch.setitem(sys.modules, "run_enough", SimpleNamespace(Enough=Enough))
    figures = train(config, tmp_path / "run")
    assert figures["steps"] == max(table(tmp_path / "run")) == step_of(tmp_path / "run", "last") == final


@pytest.mark.parametrize(
    "settings",
    [
        ("trainer.limit_val_batches=0",),
        ("callbacks.best=null", "callbacks.last=null"),
        ("callbacks.best=null", "callbacks.last=null", "trainer.limit_val_batches=0"),
        ("+callbacks.last.every_n_train_steps=2",),
    ],
)
def test_a_run_whose_callbacks_do_not_save_the_final_weights_leaves_them(small_run, tmp_path, settings):
    train(small_run(*LONG, "trainer.max_steps=3", *settings), tmp_path / "run")
    assert step_of(tmp_path / "run", "last") == 3


def test_early_stopping_with_rare_validation_keeps_what_it_stopped_at(small_run, tmp_path):
    run = tmp_path / "run"
    settings = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0.0")
    watched = (
        "callbacks.early_stopping.monitor=train/loss",
        "callbacks.early_stopping.mode=max",
        "+callbacks.early_stopping.check_on_train_epoch_end=true",
        "+callbacks.early_stopping.stopping_threshold=0.0",  # stops at the end of the first epoch
    )
    figures = train(small_run(*LONG, *settings, *watched, "trainer.check_val_every_n_epoch=2"), run)
    assert figures["steps"] == step_of(run, "last") == max(table(run)) == STEPS
    assert table(run)[STEPS]["epoch"] == "0"


def test_a_stop_that_min_epochs_forbids_adds_no_validation(small_run, tmp_path, monkeypatch):
    config = small_run(*LONG, "trainer.check_val_every_n_epoch=2", "trainer.min_epochs=2")
    config["callbacks"]["enough"] = {"_target_": "run_enough.Enough", "step": 3}
    monkeypatch.setitem(sys.modules, "run_enough", SimpleNamespace(Enough=Enough))
    train(config, tmp_path / "run")
    assert list(table(tmp_path / "run")) == [2 * STEPS]


def test_weights_that_were_not_validated_are_not_saved_as_best(small_run, tmp_path):
    """The loss falls, so that by mode=max the first validation has the best loss."""
    worst = (*LONG, "callbacks.best.monitor=val/loss", "callbacks.best.mode=max", "trainer.max_epochs=4")
    one, two = tmp_path / "one", tmp_path / "two"
    settings = ("+callbacks.best.save_on_train_epoch_end=true", "trainer.check_val_every_n_epoch=2")
    train(small_run(*worst, *settings, f"output={one}"), one)
    assert step_of(one, "best") == min(table(one)) == 2 * STEPS
    train(small_run(*worst, "+callbacks.best.every_n_train_steps=3", f"output={two}"), two)
    assert not (two / "checkpoints/best.ckpt").exists()  # no validation came after a third step
    assert step_of(two, "last") == 4 * STEPS


def test_a_run_without_a_validation_split_ends_with_its_weights(small_run, tmp_path):
    rows = "".join(f"word {i},{'ab'[i % 2]},train\n" for i in range(64))
    (tmp_path / "rows.csv").write_text("text,label,split\n" + rows)
    settings = ("modality=text", "data=table", f"data.path={tmp_path / 'rows.csv'}", "task=classification")
    settings += ("data.val_fraction=null", "trainer.limit_val_batches=0", "tokenizer=text_byte")
    figures = train(small_run(*settings, "tokenizer.max_len=16"), tmp_path / "run")
    assert figures["steps"] == step_of(tmp_path / "run", "last") == 4
    assert not [name for name in figures if name.startswith("val/")]


class Fake(SimpleNamespace):
    """What BestCheckpoint asks of a trainer."""

    def __init__(self, **metrics):
        metrics = {name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()}
        strategy = SimpleNamespace(reduce_boolean_decision=bool)
        super().__init__(callback_metrics=metrics, strategy=strategy, global_step=0)


@pytest.mark.parametrize(
    "mode, history, best",
    [
        ("max", [(0.5, 1.0), (1.0, 0.5), (1.0, 0.1)], 2),
        ("max", [(1.0, 0.1), (1.0, 0.5)], 0),
        ("max", [(1.0, 0.1), (1.0, 0.1)], 1),
        ("max", [(1.0, 0.5), (0.9, 0.1)], 0),
        ("min", [(0.2, 0.5), (0.2, 0.4), (0.3, 0.1)], 1),
        ("max", [(1.0, float("nan")), (1.0, 0.5)], 1),
        ("max", [(1.0, 0.5), (1.0, float("nan"))], 0),
        ("max", [(float("nan"), 0.1), (0.5, 0.5)], 1),
    ],
)
def test_among_equal_metrics_the_lower_loss_wins_then_the_later(mode, history, best):
    callback, kept = BestCheckpoint(monitor="val/metric", mode=mode), None
    callback.validated_step = 0
    for step, (metric, loss) in enumerate(history):
        trainer = Fake(val_metric=metric, val_loss=loss)
        current = torch.tensor(metric)
        if callback.check_monitor_top_k(trainer, current):
            worst = -torch.inf if mode == "max" else torch.inf
            current = torch.tensor(worst) if current.isnan() else current
            callback.best_k_models, callback.kth_best_model_path = {"best": current}, "best"
            kept = step
    assert kept == best


def test_of_equal_weights_the_later_are_kept_also_by_a_resumed_run(small_run, tmp_path):
    run = tmp_path / "run"
    settings = (*LONG, "optimizer.lr=0")
    train(small_run(*settings, "trainer.max_epochs=2"), run)
    [loss] = {row["val/loss"] for row in table(run).values()}
    assert step_of(run, "best") == 2 * STEPS
    (run / "metrics.json").unlink()  # as if it had been interrupted
    last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    [state] = [one for one in last["callbacks"].values() if "best_loss" in one]
    assert state["best_loss"] == pytest.approx(float(loss))
    state["best_loss"] = 0.0  # lower than any loss to come, so that no tie is won
    torch.save(last, run / "checkpoints/last.ckpt")
    train(small_run(*settings, "trainer.max_epochs=3"), run)
    assert (step_of(run, "last"), step_of(run, "best")) == (3 * STEPS, 2 * STEPS)


def gone_on(small_run, run, *settings):
    """Go on with a run of two epochs so that its weights get worse."""
    (run / "metrics.json").unlink(missing_ok=True)  # as if it had been interrupted
    worse = ("optimizer.lr=30", "trainer.gradient_clip_val=null", "trainer.max_epochs=3")
    return train(small_run(*LONG, *worse, f"output={run}", *settings), run)


def test_a_run_folder_that_has_moved_keeps_its_best_checkpoint(small_run, tmp_path):
    first, moved = tmp_path / "run", tmp_path / "elsewhere" / "run"
    figures = train(small_run(*LONG, "trainer.max_epochs=2"), first)
    best = step_of(first, "best")
    moved.parent.mkdir()
    first.rename(moved)
    assert gone_on(small_run, moved)["val/accuracy"] == figures["val/accuracy"]
    assert step_of(moved, "best") == best <= 2 * STEPS


@pytest.mark.parametrize(
    "settings",
    [("callbacks.best.monitor=val/loss",), ("task.label_smoothing=0.3", "resume_allow=[task]")],
)
def test_a_best_checkpoint_that_no_longer_compares_is_kept_beside(small_run, tmp_path, settings, capsys):
    run = tmp_path / "run"
    train(small_run(*LONG, "trainer.max_epochs=2"), run)
    best = step_of(run, "best")
    gone_on(small_run, run, *settings)
    assert (step_of(run, "best-before"), step_of(run, "best")) == (best, 3 * STEPS)
    assert "best.ckpt starts anew" in capsys.readouterr().out


def test_a_callback_without_a_mode_keeps_its_own_metric(small_run, monkeypatch):
    from unimodal.training import build

    class Watch(L.Callback):
        def __init__(self, monitor):
            self.monitor = monitor

    monkeypatch.setitem(sys.modules, "run_watch", SimpleNamespace(Watch=Watch))
    config = small_run()
    task = build.make_learner(build.complete(config, build.make_source(config)))
    for monitor in ("train/lr", "val/loss", ["val/loss", "val/accuracy"]):
        config["callbacks"] = {"watch": {"_target_": "run_watch.Watch", "monitor": monitor}}
        [callback] = make_callbacks(config, task)
        assert callback.monitor == monitor


@pytest.mark.parametrize(
    "callbacks, mode",
    [
        (("callbacks.best.monitor=val/loss",), "min"),
        (("callbacks.best.monitor=val/f1",), "max"),
        (("callbacks.best.monitor=val/loss", "callbacks.best.mode=max"), "max"),
        (("callbacks=probe", "callbacks.best.monitor=val/knn_accuracy"), "max"),
        ((), "max"),
    ],
)
def test_a_monitored_metric_knows_its_direction(small_run, callbacks, mode):
    from unimodal.training import build

    config = small_run(*callbacks)
    source = build.make_source(config)
    task = build.make_learner(build.complete(config, source))
    [best] = [one for one in make_callbacks(config, task) if isinstance(one, BestCheckpoint)]
    assert best.mode == mode


def test_early_stopping_on_the_loss_stops_when_it_rises(small_run):
    from unimodal.training import build

    config = small_run("callbacks=early_stopping", "callbacks.early_stopping.monitor=val/loss")
    task = build.make_learner(build.complete(config, build.make_source(config)))
    callbacks = make_callbacks(config, task)
    [stopping] = [one for one in callbacks if type(one).__name__ == "SmoothedEarlyStopping"]
    assert stopping.mode == "min"


def test_an_unknown_metric_asks_for_its_direction(small_run, tmp_path):
    with pytest.raises(ValueError, match=r"monitor=val/los .*val/accuracy.*did you mean val/loss.*mode"):
        train(small_run("callbacks.best.monitor=val/los"), tmp_path / "run")


def test_a_metric_that_is_not_logged_ends_in_a_sentence(small_run, tmp_path):
    settings = ("callbacks.best.monitor=val/oddity", "callbacks.best.mode=max")
    with pytest.raises(ValueError, match=r"monitor=val/oddity .*not logged.*val/accuracy"):
        train(small_run(*settings), tmp_path / "run")


def test_final_metrics_are_of_all_samples_whatever_validation_is_limited_to(small_run, configure, tmp_path):
    run = tmp_path / "run"
    settings = ("trainer.max_steps=3", "trainer.limit_val_batches=1", "loader.eval_batch_size=100")
    figures = train(small_run(*LONG, *settings), run)
    assert figures["val/num_samples"] == 1451 and "debug" not in figures
    assert float(table(run)[3]["val/num_samples"]) == 100
    assert json.loads((run / "metrics.json").read_text())["monitor"] == "val/accuracy"
    again = evaluate(
        configure(f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true", verb="evaluate")
    )
    assert again == {name: value for name, value in figures.items() if name.startswith("val/")}


def test_a_debugging_run_says_that_it_is_one_and_on_how_many_samples(small_run, tmp_path):
    figures = train(small_run(), tmp_path / "run")
    assert figures["debug"] == "fast" and figures["val/num_samples"] == 16
