"""`pretrain.epochs=N`: masked pretraining, then the run, by one command."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import yaml
from PIL import Image

from unimodal.training.cross_validation import cross_validate
from unimodal.training.pretraining import check, pretraining_config, without_unused
from unimodal.training.train import train

SHORT = (
    "debug=none",
    "backbone.depth=1",
    "tokenizer.patch_size=16",
    "tokenizer.image_size=32",
    "augment.hflip=true",
    "loader.batch_size=4",
    "trainer.max_epochs=2",
    "baseline=false",
    "pretrain.epochs=2",
    "data=folder",
)
START = {}


class Stop(L.Callback):
    """Ends a run with an error after so many steps, none for 0; keeps the weights that it starts with."""

    def __init__(self, step: int = 0):
        self.step = step

    def on_train_start(self, trainer, pl_module):
        START.clear()
        START.update({name: value.clone() for name, value in pl_module.state_dict().items()})

    def on_train_batch_end(self, trainer, *args):
        if self.step and trainer.global_step == self.step:
            raise RuntimeError("stopped")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "pretraining_stop", SimpleNamespace(Stop=Stop))


def stop(step=0):
    return {"stop": {"_target_": "pretraining_stop.Stop", "step": step}}


@pytest.fixture
def photos(tmp_path):
    for label, colour in (("dark", 40), ("light", 200)):
        for split, num in (("train", 6), ("val", 2), ("test", 2)):
            folder = tmp_path / "photos" / split / label
            folder.mkdir(parents=True)
            for i in range(num):
                grey = Image.linear_gradient("L").resize((32, 32))
                grey.point(lambda v, base=colour - 5 * i: v // 4 + base).save(folder / f"{label}{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def configured(small_run, photos):
    def _configured(output, *more):
        return small_run(*SHORT, f"data.path={photos}", f"output={output}", *more)

    return _configured


def weights(run, name="last"):
    return torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]


def test_the_run_starts_from_the_weights_of_the_pretraining(configured, tmp_path, capsys):
    output = tmp_path / "run"
    config = configured(output)
    config["callbacks"] |= stop()
    figures = train(config, output)
    pretrained = weights(output / "pretrain")
    backbone = [name for name in START if name.startswith("model.")]
    assert backbone and all(torch.equal(START[name], pretrained[name]) for name in backbone)
    assert any(not torch.equal(weights(output)[name], pretrained[name]) for name in backbone)
    assert figures == json.loads((output / "metrics.json").read_text())
    assert figures["pretraining"]["epochs"] == 2 and figures["pretraining"]["steps"] == 6
    assert figures["pretraining"]["seconds"] > 0 and figures["epochs"] == 2
    own = yaml.safe_load((output / "config.yaml").read_text())
    assert own["pretrain"]["epochs"] == 2 and own["pretrained"] is None
    of_pretraining = yaml.safe_load((output / "pretrain" / "config.yaml").read_text())
    assert of_pretraining["task"]["_target_"].endswith("MaskedModeling")
    assert of_pretraining["optimizer"]["lr"] == 2e-3 and of_pretraining["pretrain"] is None
    assert "s of pretraining" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("part", ["pretraining", "run"])
def test_an_interrupted_run_goes_on_in_either_part(configured, tmp_path, part):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(configured(whole), whole)
    config = configured(broken)
    if part == "pretraining":
        config["pretrain"]["callbacks"] |= stop(4)
    else:
        config["callbacks"] |= stop(4)
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, broken)
    assert (broken / "pretrain/metrics.json").exists() == (part == "run")
    train(configured(broken), broken)
    for run in ("pretrain", "."):
        one, other = weights(whole / run), weights(broken / run)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_pretraining_of_another_config_is_refused(configured, tmp_path):
    output = tmp_path / "run"
    config = configured(output)
    config["callbacks"] |= stop(1)
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, output)
    with pytest.raises(ValueError, match=r"max_epochs=3, but the finished pretraining .*max_epochs=2"):
        train(configured(output, "pretrain.epochs=3"), output)


def test_what_differs_from_the_run(configured, tmp_path):
    output = tmp_path / "run"
    more = ("loader.balanced=true", "min_steps=99", "trainer.max_steps=7", "finetune=head")
    config = configured(
        output, *more, "data.columns.label=kind", f"pretrain.path={tmp_path}", "pretrain.batch_size=2"
    )
    own = pretraining_config(config, output)
    assert own["loader"]["batch_size"] == 2 and not own["loader"]["balanced"]
    assert own["trainer"]["max_epochs"] == 2 and own["trainer"]["max_steps"] == -1 and own["min_steps"] == 0
    assert own["finetune"]["_target_"].endswith("Full") and own["output"] == str(output / "pretrain")
    assert own["callbacks"]["best"]["dirpath"] == str(output / "pretrain/checkpoints")
    assert own["data"]["path"] == str(tmp_path) and own["data"]["columns"]["label"] == "none"
    for same in ("tokenizer", "backbone", "augment", "scheduler", "seed"):
        assert own[same] == config[same]
    fast = pretraining_config(config | {"debug": "fast"}, output)
    assert fast["trainer"]["max_steps"] == 7


@pytest.mark.parametrize(
    ("settings", "masking"),
    [
        ((), [[0, 1, 2]]),
        (("modality=audio",), [[0, 1, 2]]),
        (("modality=video",), [[1, 2]]),
        (("experiment=clips", "data.path=x"), [[1, 2]]),
        (("modality=text", "task=classification", "data=reference_passages"), [[0, 1, 2]]),
        (("modality=video", "task/masking@pretrain.task.masking=time"), [[0]]),
    ],
)
def test_the_modality_decides_the_masking(configure, settings, masking):
    node = configure(*settings, "pretrain.epochs=1")["pretrain"]["task"]
    assert node["masking"]["together"] == masking
    assert node["_target_"].endswith("MaskedText" if "modality=text" in settings else "MaskedModeling")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("modality=all",), "joint training cannot be pretrained"),
        (("modality=mixed",), "masked pretraining reads one modality"),
        (("pretrained=other",), "already starts from pretrained=other; drop one"),
        (("keep_head=true",), "keep_head=true"),
        (("modality=text",), "LanguageModeling learns without labels itself"),
        (("task=masked_modeling",), "MaskedModeling learns without labels itself"),
    ],
)
def test_runs_that_cannot_be_pretrained_are_refused(configure, settings, message):
    with pytest.raises(ValueError, match=rf"pretrain\.epochs=1: .*{message}.*pretrain\.epochs=0"):
        check(configure(*settings, "pretrain.epochs=1"))


def test_a_tokenizer_with_nothing_to_reconstruct_is_refused(small_run, tmp_path):
    config = small_run("modality=audio", "tokenizer=audio_whisper", "pretrain.epochs=1")
    expected = r"pretrain\.epochs=1: \w+ has nothing to reconstruct.*pretrain\.epochs=0"
    with pytest.raises(ValueError, match=expected):
        train(config, tmp_path / "run")


def test_settings_of_no_pretraining_do_not_count(configure):
    assert without_unused(configure())["pretrain"] is None
    with pytest.raises(ValueError, match=r"pretrain\.path=more is not used"):
        without_unused(configure("pretrain.path=more"))
    with pytest.raises(ValueError, match=r"pretrain\.epochs=-1 is negative"):
        without_unused(configure("pretrain.epochs=-1"))
    with pytest.raises(ValueError, match=r"pretrain\.path=more: the data of this run \(Digits\)"):
        pretraining_config(configure("pretrain.path=more", "pretrain.epochs=1"), Path("x"))


@pytest.mark.slow
def test_each_fold_is_pretrained_by_itself(small_run, photos, tmp_path):
    output = tmp_path / "cv"
    data = ("data=folder", f"data.path={photos}", "data.folds=2", "loader.batch_size=4")
    summary = cross_validate(small_run(*data, "pretrain.epochs=1", f"output={output}"), output)
    for fold, figures in enumerate(summary["folds"], 1):
        own = yaml.safe_load((output / f"fold-{fold}/pretrain/config.yaml").read_text())
        assert own["data"]["fold"] == fold and figures["pretraining"]["seconds"] > 0
    assert summary["seconds"] > sum(figures["seconds"] for figures in summary["folds"])
