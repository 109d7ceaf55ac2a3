"""An interrupted run that is started again with other settings: each takes effect, or is refused."""

import csv
import json
import os
import shutil
import subprocess
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


@pytest.mark.slow
def test_gradient_accumulation_keeps_the_place_in_data_and_schedule(resume):
    watch = resume("trainer.accumulate_grad_batches=2")  # 6 steps an epoch, the last of one batch
    assert _rates(watch) == pytest.approx(_expected(1e-3, 4 * 6, 6 + 2))


@pytest.mark.slow
def test_a_longer_run_and_another_schedule(resume):
    watch = resume("trainer.max_epochs=6", "scheduler=cosine")
    assert len(watch.groups) == 6 * EPOCH - STOP
    assert watch.groups[0][0][0] > watch.groups[-1][0][0] > 0


def test_a_run_limited_by_its_steps_ends_with_its_schedule(resume):
    watch = resume("trainer.max_steps=25", "loader.batch_size=8")
    assert len(watch.groups) == 25 - STOP
    assert 0 < _rates(watch)[-1] < 1e-3 / 10


@pytest.mark.slow
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


def test_a_run_of_a_version_without_a_key_goes_on_where_the_key_is_off(resume, interrupted):
    path = interrupted / "checkpoints/last.ckpt"
    state = torch.load(path, weights_only=True)
    del state["unimodal"]["config"]["task"]["mixup"], state["unimodal"]["config"]["min_steps"]
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"task\.mixup=0\.5"):
        resume("task.mixup=0.5")
    resume()


def test_resume_allow_accepts_a_change(resume, interrupted):
    resume("tokenizer.mean=-5.0", "augment=none", "resume_allow=[tokenizer.mean,augment]")
    saved = torch.load(interrupted / "checkpoints/last.ckpt", weights_only=True)
    assert saved["unimodal"]["config"]["tokenizer"]["mean"] == -5.0
    assert saved["global_step"] == 4 * EPOCH


def test_an_accepted_normalisation_is_in_force(small_run, tmp_path, monkeypatch):
    output, settings = tmp_path / "run", ("debug=none", "data.val_fraction=0.9", "loader.batch_size=32")
    settings += ("tokenizer.patch_size=16", "trainer.max_epochs=2", "trainer.limit_val_batches=1")
    _interrupt(small_run(*settings, f"output={output}"), output, monkeypatch, stop=5)
    changed = ("tokenizer.mean=[0.25,0.5,0.5]", "resume_allow=[tokenizer.mean]", f"output={output}")
    train(small_run(*settings, *changed), output)
    saved = torch.load(output / "checkpoints/last.ckpt", weights_only=True)
    [mean] = [value for name, value in saved["state_dict"].items() if name.endswith(".mean")]
    assert mean.flatten().tolist() == [0.25, 0.5, 0.5]


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


@pytest.mark.slow
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


JOINT = (
    "debug=none",
    "modality=joint",
    "+source@mix.pads=audio",
    "+source@mix.tones=audio",
    "mix.pads.data.train_size=64",
    "mix.pads.data.val_size=16",
    "mix.tones.data.train_size=128",
    "mix.tones.data.val_size=16",
    "mix.tones.data.seed=1",
    "loader.batch_size=16",  # 4 + 8 steps an epoch
    "trainer.max_epochs=2",
    "optimizer.lr=1e-3",
)


@pytest.mark.slow
def test_a_joint_run_goes_on_with_other_batches_and_rates(small_run, tmp_path, monkeypatch):
    output = tmp_path / "run"
    _interrupt(
        small_run(*JOINT, f"output={output}"), output, monkeypatch
    )  # 3 steps of 12 in the second epoch
    with pytest.raises(ValueError, match=r"mix\.pads\.weight=2\.0, .* has mix\.pads\.weight=1\.0"):
        train(small_run(*JOINT, f"output={output}", "mix.pads.weight=2.0"), output)
    changed = ("mix.tones.loader.batch_size=32", "optimizer.lr=1e-4")  # 4 + 4 steps an epoch
    watch = _run(small_run(*JOINT, f"output={output}", *changed), output, monkeypatch)
    assert _rates(watch) == pytest.approx(_expected(1e-4, 2 * 8, 8 + 2))
    assert set(watch.sizes) == {16, 32}


@pytest.mark.slow
def test_two_processes_go_on_with_the_run_of_one_and_shards_with_another_rate(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/own_stop.py").write_text(
        "import lightning as L\n\nclass Stop(L.Callback):\n"
        "    def on_train_batch_end(self, trainer, *args):\n"
        "        if trainer.global_step == 6:\n            raise RuntimeError('stopped')\n"
    )
    settings = ("backbone.dim=32", "backbone.depth=1", "backbone.num_heads=2", "modality=audio", "logger=csv")
    settings += ("data.train_size=180", "data.val_size=16", "trainer.max_epochs=1", "optimizer.lr=1e-3")
    settings += ("trainer.precision=32-true", "trainer.accelerator=cpu")
    stop = ("+callbacks.stop._target_=own_stop.Stop", "+callbacks.last.every_n_train_steps=5")
    two = ("trainer.devices=2", "loader.batch_size=8")
    shards = ("trainer=fsdp", *two, "trainer.strategy.save_distributed_checkpoint=true", "output=shards")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def run(*arguments):
        call = [sys.executable, "-m", "unimodal", "train", "--config-dir", "own", *settings, *arguments]
        return subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)

    def rates(folder):  # logged behind each step: those of the next
        rows = list(csv.DictReader((tmp_path / folder / "metrics.csv").open()))
        return [float(row["train/lr"]) for row in rows if row.get("train/lr")]

    assert "stopped" in run("trainer=cpu", "loader.batch_size=16", "output=run", *stop).stderr
    refused = run("trainer=fsdp", *two, "output=run")
    assert refused.returncode == 1 and "was saved without trainer=fsdp" in refused.stderr
    done = run("trainer=ddp", *two, "output=run", "trainer.log_every_n_steps=1")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/metrics.json").read_text())["steps"] == 11
    assert rates("run")[-6:] == pytest.approx([1e-3, 1e-3, *(1e-3 * left / 4 for left in (3, 2, 1, 0))])
    assert "stopped" in run(*shards, *stop).stderr
    refused = run(*shards, "seed=3")
    assert refused.returncode == 1 and "has seed=0" in refused.stderr
    done = run(*shards, "optimizer.lr=1e-4", "trainer.log_every_n_steps=1")
    assert done.returncode == 0, done.stderr
    assert rates("shards")[-6:] == pytest.approx([1e-4, 1e-4, *(1e-4 * left / 4 for left in (3, 2, 1, 0))])
