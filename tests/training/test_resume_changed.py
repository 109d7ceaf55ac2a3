"""An interrupted run that is started again with other settings: each takes effect, or is refused."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import yaml

from unimodal.training.schedules import wsd
from unimodal.training.train import train

SETTINGS = (
    "debug=none",
    "modality=audio",
    "data.train_size=180",  # 11 steps of 16 an epoch
    "data.val_size=16",
    "loader.batch_size=16",
    "trainer.max_epochs=4",
    "optimizer.lr=1e-3",
)
STOP, EPOCH = 15, 11  # in the second epoch


class Watch(L.Callback):
    """Notes what each step was made with; ends the run with an error after so many steps, before a save."""

    def __init__(self, stop: int = 0):
        self.stop, self.groups, self.sizes = stop, [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.groups.append([(group["lr"], group["weight_decay"]) for group in optimizer.param_groups])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.sizes.append(outputs["num_samples"])
        if trainer.global_step == self.stop:
            raise RuntimeError("stopped")


def _run(config: dict, output: Path, monkeypatch, stop: int = 0) -> Watch:
    watch = Watch(stop)
    config["callbacks"]["watch"] = {"_target_": "resume_watch.watch"}
    monkeypatch.setitem(sys.modules, "resume_watch", SimpleNamespace(watch=lambda: watch))
    train(config, output)
    return watch


def _interrupt(config: dict, output: Path, monkeypatch, stop: int = STOP) -> None:
    config["callbacks"]["last"]["every_n_train_steps"] = 5
    with pytest.raises(RuntimeError, match="stopped"):
        _run(config, output, monkeypatch, stop + 1)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """Where the interrupted run lies; the first test makes it."""
    return tmp_path_factory.mktemp("stopped") / "run"


@pytest.fixture
def interrupted(stopped, small_run, tmp_path, monkeypatch) -> Path:
    if not stopped.exists():
        _interrupt(small_run(*SETTINGS, f"output={stopped}"), stopped, monkeypatch)
    output = tmp_path / "run"
    shutil.copytree(stopped, output)
    return output


@pytest.fixture
def resume(interrupted, small_run, monkeypatch):
    return lambda *changed: _run(small_run(*SETTINGS, *changed), interrupted, monkeypatch)


def _rates(watch: Watch) -> list[float]:
    return [groups[0][0] for groups in watch.groups]


def _expected(lr: float, num_steps: int, start: int) -> list[float]:
    return [lr * wsd(step, num_steps, 0.05, 0.4) for step in range(start, num_steps)]


def test_learning_rate_and_weight_decay_are_those_of_the_new_config(resume, interrupted):
    watch = resume("optimizer.lr=1e-4", "optimizer.weight_decay=0.3", "optimizer.eps=1e-6")
    assert _rates(watch) == pytest.approx(_expected(1e-4, 4 * EPOCH, STOP))
    assert [decay for _, decay in watch.groups[-1]] == [0.3, 0.0]
    saved = torch.load(interrupted / "checkpoints/last.ckpt", weights_only=True)
    assert saved["optimizer_states"][0]["param_groups"][0]["eps"] == 1e-6
    assert yaml.safe_load((interrupted / "config.yaml").read_text())["optimizer"]["lr"] == 1e-4


@pytest.mark.parametrize(("size", "start", "epoch"), [(32, 5 + 2, 5), (8, 22 + 8, 22)])
def test_another_batch_size_keeps_the_place_in_data_and_schedule(resume, size, start, epoch):
    watch = resume(f"loader.batch_size={size}")
    assert set(watch.sizes) == {size}
    assert _rates(watch) == pytest.approx(_expected(1e-3, 4 * epoch, start))


def test_gradient_accumulation_keeps_the_place_in_data_and_schedule(resume):
    watch = resume("trainer.accumulate_grad_batches=2")  # 6 steps an epoch, the last of one batch
    assert _rates(watch) == pytest.approx(_expected(1e-3, 4 * 6, 6 + 2))


def test_a_longer_run_and_another_schedule(resume):
    watch = resume("trainer.max_epochs=6", "scheduler=cosine")
    assert len(watch.groups) == 6 * EPOCH - STOP
    assert watch.groups[0][0][0] > watch.groups[-1][0][0] > 0


def test_a_run_limited_by_its_steps_ends_with_its_schedule(resume):
    watch = resume("trainer.max_steps=25", "loader.batch_size=8")
    assert len(watch.groups) == 25 - STOP
    assert 0 < _rates(watch)[-1] < 1e-3 / 10


def test_a_run_with_another_batch_size_may_be_interrupted_again(interrupted, small_run, monkeypatch):
    changed = (*SETTINGS, "loader.batch_size=8", f"output={interrupted}")
    _interrupt(small_run(*changed), interrupted, monkeypatch, stop=25)
    watch = _run(small_run(*changed), interrupted, monkeypatch)
    assert _rates(watch) == pytest.approx(_expected(1e-3, 88, 30 + 25 - STOP))


def test_fewer_epochs_than_were_done_are_refused(resume, interrupted):
    before = (interrupted / "config.yaml").read_text()
    with pytest.raises(ValueError, match=r"trainer\.max_steps=9 is less than the 15 that the run"):
        resume("trainer.max_steps=9")
    assert (interrupted / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("seed=1", r"seed=1, but the interrupted run in .* has seed=0\."),
        ("tokenizer.mean=-5.0", r"tokenizer\.mean=-5\.0, .* has tokenizer\.mean=-6\.0"),
        ("backbone.dim=64", r"backbone\.dim=64, .* has backbone\.dim=32"),
        ("augment=none", r"augment\._target_=\(not set\)"),
        ("+tokenizer@beside.text=text_byte", r"beside\.text="),
        ("loader.balanced=true", r"loader\.balanced=true"),
    ],
)
def test_any_other_change_is_refused_with_both_values(resume, interrupted, changed, said):
    before = (interrupted / "config.yaml").read_text()
    with pytest.raises(ValueError, match=said) as refusal:
        resume(changed)
    assert "output=DIR" in str(refusal.value) and "resume_allow=[" in str(refusal.value)
    assert (interrupted / "config.yaml").read_text() == before


def test_resume_allow_accepts_a_change(resume, interrupted):
    resume("tokenizer.mean=-5.0", "augment=none", "resume_allow=[tokenizer.mean,augment]")
    saved = torch.load(interrupted / "checkpoints/last.ckpt", weights_only=True)
    assert saved["unimodal"]["config"]["tokenizer"]["mean"] == -5.0
    assert saved["global_step"] == 4 * EPOCH


def test_resume_allow_does_not_accept_weights_that_do_not_fit(resume):
    with pytest.raises(
        ValueError, match=r"resume_allow cannot accept backbone\.dim, tokenizer\.dim: .* shape"
    ):
        resume("backbone.dim=64", "resume_allow=[backbone.dim,tokenizer.dim]")


def test_reordered_class_names_are_refused(small_run, tmp_path, monkeypatch):
    rows = [f"sentence number {i},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["text,label", *rows]))
    output = tmp_path / "run"
    settings = (
        "debug=none",
        "modality=text",
        "data=table",
        f"data.path={tmp_path}/d.csv",
        "task=classification",
        "tokenizer=text_byte",
        "tokenizer.max_len=8",
        "loader.batch_size=8",
        "trainer.max_epochs=2",
    )
    _interrupt(small_run(*settings, "data.labels.class_names=[a,b]"), output, monkeypatch, stop=5)
    with pytest.raises(ValueError, match=r"class_names=\[b, a\], .* has .*class_names=\[a, b\]"):
        train(small_run(*settings, "data.labels.class_names=[b,a]"), output)


def test_another_patience_and_another_way_of_averaging_take_effect(small_run, tmp_path, monkeypatch):
    output = tmp_path / "run"
    first = small_run(*SETTINGS, "callbacks=ema", f"output={output}")
    first["callbacks"]["early_stopping"] = {
        "_target_": "lightning.pytorch.callbacks.EarlyStopping",
        "monitor": "val/loss",
        "patience": 9,
    }
    _interrupt(first, output, monkeypatch)
    saved = torch.load(output / "checkpoints/last.ckpt", weights_only=True)
    wanted = saved["current_model_state"]
    second = small_run(*SETTINGS, f"output={output}")
    second["callbacks"]["early_stopping"] = first["callbacks"]["early_stopping"] | {"patience": 7}
    seen = {}

    class Start(L.Callback):
        def on_train_start(self, trainer, pl_module):
            seen["weights"] = {name: value.clone() for name, value in pl_module.state_dict().items()}
            seen["patience"] = trainer.early_stopping_callback.patience

    second["callbacks"]["start"] = {"_target_": "resume_start.Start"}
    monkeypatch.setitem(sys.modules, "resume_start", SimpleNamespace(Start=Start))
    train(second, output)
    assert seen["patience"] == 7
    assert all(torch.equal(value, wanted[name]) for name, value in seen["weights"].items())
    assert any(not torch.equal(value, saved["state_dict"][name]) for name, value in seen["weights"].items())
