"""Joint training as `unimodal train modality=all` does it, in small."""

import json
import sys
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from unimodal.training import build, checkpoints
from unimodal.training.check_data import check_data
from unimodal.training.evaluate import evaluate
from unimodal.training.mix import views
from unimodal.training.pretrained.start import make_start
from unimodal.training.train import train
from unimodal.training.unused import freeze_unused, hold

SMALL = (
    "modality=joint",
    "+source@mix.digits=image",
    "+source@mix.tones=audio",
    "mix.digits.data.val_fraction=0.8",
    "mix.digits.tokenizer.patch_size=16",
    "mix.tones.data.train_size=160",
    "mix.tones.data.val_size=32",
    "mix.digits.loader.batch_size=32",
    "mix.tones.loader.batch_size=16",
)
LONG = (*SMALL, "debug=none", "trainer.max_epochs=3")
FIGURES = {"val/digits/accuracy", "val/tones/accuracy", "val/digits/loss", "val/tones/loss", "val/loss"}


class Stop(L.Callback):
    """Ends the run with an error after so many steps."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            raise RuntimeError("stopped")


def content(run):
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    table = (run / "metrics.csv").read_text().splitlines()
    keep = [i for i, name in enumerate(table[0].split(",")) if "per_second" not in name]
    return checkpoint, [",".join(row.split(",")[i] for i in keep) for row in table]


def started(config):
    """The task that a run starts with."""
    source = build.make_source(config)
    complete, learner, _ = make_start(config, source)
    return complete, source, learner


@pytest.mark.parametrize(
    "settings", [("share=backbone",), ("share=none",), ("batches=several", "temperature=2")]
)
def test_a_joint_run_has_each_sources_figures_and_evaluate_gives_them_exactly(
    small_run, configure, tmp_path, settings
):
    run = tmp_path / "run"
    figures = train(small_run(*SMALL, *settings, "trainer.limit_val_batches=null"), run)
    assert figures.keys() >= FIGURES
    assert json.loads((run / "metrics.json").read_text()) == figures
    assert {
        line.partition(":")[0] for line in next((run / "samples").iterdir()).read_text().splitlines()
    } == {
        "digits",
        "tones",
    }
    ask = (f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true")
    again = evaluate(configure(*ask, verb="evaluate"))
    assert again == {name: value for name, value in figures.items() if name.startswith("val/")}
    alone = evaluate(configure(*ask, "only=digits", verb="evaluate"))
    assert alone["val/accuracy"] == figures["val/digits/accuracy"]
    assert alone["val/loss"] == figures["val/digits/loss"]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [("trainer.accumulate_grad_batches=2",), ("batches=several",)])
def test_an_interrupted_joint_run_ends_as_the_uninterrupted_one(small_run, tmp_path, monkeypatch, settings):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(small_run(*LONG, *settings, f"output={whole}"), whole)
    steps = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    config = small_run(*LONG, *settings, f"output={broken}")
    config["callbacks"]["stop"] = {"_target_": "resume_stop.Stop", "step": steps * 5 // 8}
    monkeypatch.setitem(sys.modules, "resume_stop", SimpleNamespace(Stop=Stop))
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, broken)
    train(small_run(*LONG, *settings, f"output={broken}"), broken)
    (one, rows), (two, other_rows) = content(whole), content(broken)
    assert rows == other_rows
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name


def test_changed_data_of_one_source_is_noticed(small_run, tmp_path, monkeypatch):
    from unimodal.data.sources.digits import Digits

    run = tmp_path / "run"
    train(small_run(*SMALL), run)
    (run / "metrics.json").unlink()
    monkeypatch.setattr(Digits, "fingerprint", lambda self: "other")
    with pytest.raises(
        ValueError, match=r"mix\.digits\.data is not what it was.*mix\.digits\.data\.allow_changed"
    ):
        train(small_run(*SMALL, "trainer.max_epochs=2"), run)


def test_check_data_looks_at_each_source(configure, tmp_path, capsys):
    assert check_data(configure(*SMALL, verb="check-data"), tmp_path)
    assert "mix.digits:" in capsys.readouterr().out
    assert {file.parent.name for file in tmp_path.glob("*/report.json")} == {"digits", "tones"}


def test_a_source_of_a_joint_run_is_a_run_of_its_own(small_run, tmp_path):
    run = tmp_path / "run"
    train(small_run(*SMALL), run)
    saved, weights = checkpoints.load(run)
    joint = build.restore(saved, weights)
    single = build.restore_task(*checkpoints.of_source(saved, weights, "tones"))
    batch = joint_batch(saved, "tones")
    assert torch.equal(single.outputs(batch), joint.by_source["tones"].outputs(batch))
    with pytest.raises(ValueError, match="the checkpoint is not of joint training"):
        checkpoints.of_source(views(saved)["tones"] | {"mix": {}}, weights, "tones")
    for asked, message in (
        (None, "choose one with only=: digits, tones"),
        ("photos", "only=photos is not one"),
    ):
        with pytest.raises(ValueError, match=message):
            checkpoints.of_source(saved, weights, asked)


def joint_batch(config, name, num=6):
    view = views(config)[name]
    source = build.make_source(view)
    module = build.make_datamodule(view, source, build.make_task(build.complete(view, source)))
    module.eval_batch_size = num
    return next(iter(module.val_dataloader()))


def test_a_modality_that_comes_later_changes_no_output_of_the_old_ones(small_run, tmp_path):
    run = tmp_path / "run"
    train(small_run(*SMALL), run)
    more = ("+source@mix.clips=video", f"pretrained={run}", "mix.tones.frozen=true", "mix.tones.weight=0.5")
    complete, source, learner = started(small_run(*SMALL, *more))
    old = build.restore(*checkpoints.load(run))
    for name in ("digits", "tones"):
        batch = joint_batch(complete, name)
        assert torch.equal(learner.by_source[name].outputs(batch), old.by_source[name].outputs(batch))
    fresh = complete["finetune"]["fresh"]
    assert fresh and all(name.startswith("tasks.clips.") for name in fresh)
    module = build.make_datamodules(complete, source, learner)
    hold(learner, complete, module, world_size=1)
    held = {name for name, p in learner.named_parameters() if not p.requires_grad}
    assert held == {name for name, _ in learner.named_parameters() if name.startswith("tasks.tones.")}


@pytest.mark.parametrize("finetune", ["head", "lora"])
def test_with_a_frozen_backbone_the_old_heads_say_the_same_after_training(small_run, tmp_path, finetune):
    run, later = tmp_path / "run", tmp_path / "later"
    first = train(small_run(*SMALL), run)
    more = ("+source@mix.clips=video", f"pretrained={run}", f"output={later}", "mix.clips.data.val_size=32")
    still = ("mix.digits.frozen=true", "mix.digits.weight=0", "mix.tones.frozen=true", "mix.tones.weight=0")
    second = train(
        small_run(*SMALL, *more, *still, f"finetune={finetune}", "finetune.train_tokenizer=false"), later
    )
    same = second["val/digits/loss"] == first["val/digits/loss"]
    assert same == (finetune == "head")  # adapters change the backbone for all


def test_a_single_run_goes_on_from_a_joint_one_and_the_other_way_round(small_run, tmp_path):
    joint, single = tmp_path / "joint", tmp_path / "single"
    train(small_run(*SMALL, f"output={joint}"), joint)
    small = ("data.train_size=160", "data.val_size=32", "loader.batch_size=16")
    alone = ("modality=audio", "task/pooling=mean", *small)
    _, _, task = started(small_run(*alone, f"pretrained={joint}"))
    batch = joint_batch(small_run(*SMALL), "tones")
    old = build.restore(*checkpoints.load(joint))
    assert torch.equal(task.outputs(batch), old.by_source["tones"].outputs(batch))
    train(small_run(*alone, f"output={single}"), single)
    _, _, learner = started(small_run(*SMALL, f"pretrained={single}"))
    before = build.restore(*checkpoints.load(single))
    assert torch.equal(learner.by_source["tones"].outputs(batch), before.outputs(batch))
    assert learner.by_source["digits"].model.backbone is learner.by_source["tones"].model.backbone


def test_what_no_task_uses_is_frozen_with_a_notice(small_run, capsys):
    config = small_run(*SMALL, "mix.tones.weight=0")
    complete, source, learner = started(config)
    module = build.make_datamodules(complete, source, learner)
    names = freeze_unused(learner, module.first_batches())
    assert names and all(name.startswith("tasks.tones.") for name in names)
    assert "frozen, for no task uses them: tasks.tones." in capsys.readouterr().out
    assert all(p.grad is None for p in learner.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("modality=joint",), r"no data is chosen.*\+source@mix"),
        ((*SMALL, "share=some"), "share=some is not one of backbone, none"),
        ((*SMALL, "batches=two"), "batches=two is not one of one_source, several"),
        ((*SMALL, "mix.tones.loader.batch_size=999"), r"mix\.tones: .*lower mix\.tones\.loader\.batch_size"),
        (("modality=joint", "+source@mix.training=image"), "torch calls something else training"),
        ((*SMALL, "mix.tones.loss_weight=-1"), r"mix\.tones\.loss_weight=-1"),
        ((*SMALL, "mix.tones.loss_weight=0", "mix.digits.loss_weight=0"), r"loss_weight=0: each must be"),
        (("modality=joint", "+source@mix.keys=image"), "mix.keys: torch calls something else keys"),
        (("modality=joint", "+mix.photos.weight=1"), r"mix\.photos has no tokenizer; add the source with"),
    ],
)
def test_a_mix_that_says_too_little_says_what_is_missing(small_run, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train(small_run(*settings), tmp_path / "run")


def test_a_frozen_source_on_a_frozen_backbone_says_what_to_do(small_run, tmp_path):
    run = tmp_path / "run"
    train(small_run(*SMALL), run)
    still = ("mix.tones.frozen=true", "finetune=head", "finetune.train_tokenizer=false")
    config = small_run(*SMALL, f"pretrained={run}", f"output={tmp_path / 'later'}", *still)
    with pytest.raises(ValueError, match=r"nothing of tones learns; set mix\.tones\.weight=0"):
        train(config, tmp_path / "later")


def test_backbones_of_their_own_do_not_become_one(small_run, tmp_path):
    run = tmp_path / "run"
    train(small_run(*SMALL, "share=none"), run)
    with pytest.raises(ValueError, match="have backbones of their own; set share=none"):
        started(small_run(*SMALL, f"pretrained={run}"))
    started(small_run(*SMALL, f"pretrained={run}", "share=none"))


def test_another_source_in_the_folder_of_an_interrupted_run_is_refused(small_run, tmp_path):
    first, run = tmp_path / "first", tmp_path / "run"
    train(small_run(*SMALL, f"output={first}"), first)
    train(small_run(*SMALL, f"pretrained={first}"), run)
    (run / "metrics.json").unlink()
    more = ("+source@mix.clips=video", f"pretrained={first}", "trainer.max_epochs=2")
    with pytest.raises(ValueError, match="has digits, tones; take another output="):
        train(small_run(*SMALL, *more), run)
