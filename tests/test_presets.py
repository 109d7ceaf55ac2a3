"""Presets and options that they were not written for: each pair trains, or is refused in a sentence."""

import json
import sys
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

import unimodal.conf
from unimodal.application import run
from unimodal.mistakes import explain
from unimodal.training import build, presets
from unimodal.training.monitors import make_callbacks
from unimodal.training.pretrained.start import make_start

CONF = Path(unimodal.conf.__file__).parent
TINY = (
    "backbone.dim=32",
    "backbone.depth=1",
    "backbone.num_heads=2",
    "trainer.precision=32-true",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "loader.batch_size=2",
)
WORDS = ("task=sequence_labeling", "data=keypad_sequences", "tokenizer=audio_frame")
RECIPES = ("clips", "photos", "sentences", "sounds", "speech")
GROUPS = (
    "modality",
    "data",
    "tokenizer",
    "task",
    "task/pooling",
    "task/vocabulary",
    "augment",
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "logger",
    "block",
    "debug",
)


def _options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _take_a_step(config) -> None:
    """Build all objects of a run, and a gradient of its first batch."""
    source = build.make_source(config)
    complete, task, _ = make_start(config, source)
    build.make_trainer(complete, Path("run"), logger=False, callbacks=make_callbacks(complete, task))
    data = build.make_datamodules(complete, source, task)
    output = task(next(iter(data.train_dataloader())))
    loss = sum(one.loss for one in (output.values() if isinstance(output, dict) else [output]))
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("experiment", "changed", "left_out"),
    [
        ("clips", "augment=none", "experiment=clips sets augment.hflip, augment.scale, augment.translate"),
        ("clips", "debug=overfit", "for augment=video: left out, as augment=none does not have them"),
        ("clips", "augment=mixed", "augment=mixed does not have them"),
        ("photos", "tokenizer=image_patch", "tokenizer.num_layers for tokenizer=image_conv: left out"),
        ("sentences", "callbacks=default", "callbacks.ema"),
        ("sounds", "tokenizer=audio_spectrogram", "tokenizer.max_seconds for tokenizer=audio_frame"),
        ("clips", "trainer=ddp", ""),
        ("clips", "callbacks=ema", ""),
    ],
)
def test_keys_of_an_experiment_reach_only_options_that_have_them(
    configure, recipe_data, experiment, changed, left_out
):
    path = recipe_data(experiment)
    config = configure(*TINY, f"experiment={experiment}", f"data.path={path}", changed)
    assert left_out in " ".join(presets.LEFT_OUT) and bool(left_out) == bool(presets.LEFT_OUT)
    if experiment == "clips":
        assert config["trainer"]["max_epochs"] in (50, 100)
        assert config["callbacks"]["best"]["monitor"] == "val/loss"
    _take_a_step(config)


def test_a_key_that_both_options_have_applies(configure):
    tokenizer = configure("experiment=photos", "tokenizer=image_patch")["tokenizer"]
    assert tokenizer["image_size"] == 64 and tokenizer["patch_size"] == 8


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ("modality=audio", "block=classic", *WORDS, "data.train_size=8", "data.val_size=8"),
            "task.head_norm",
        ),
        (
            ("modality=mixed", "tokenizer@beside.audio=audio_patch", "data.train_size=8"),
            "@beside.audio=audio_patch",
        ),
    ],
)
def test_the_same_holds_for_dialects_and_modalities(configure, settings, said):
    config = configure(*TINY, *settings)
    assert said in " ".join(presets.LEFT_OUT)
    _take_a_step(config)


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """What `unimodal train ...` says where it is refused."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr(sys, "argv", ["unimodal"])
    monkeypatch.setattr(sys, "path", list(sys.path))

    def _typed(*arguments: str) -> str:
        assert run("train", [*arguments, f"output={tmp_path / 'run'}"]) == 1
        return capsys.readouterr().err

    return _typed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("experiment=clips", "augment=none", "augment.hflip=true"), "there is no key augment.hflip"),
        (
            ("experiment=photos", "modality=all"),
            "does not read: an experiment for one source does not go with",
        ),
        (("modality=joint",), "no data is chosen"),
        (
            ("modality=audio", "task=ctc", "data=reference_text"),
            'the samples have no "audio"; they have text',
        ),
        (("modality=joint", "data=digits"), "tokenizer=null: no tokenizer is chosen"),
        (
            ("task/vocabulary=letters",),
            "what is chosen as task has no vocabulary; choose another task",
        ),
        (("task=ctc", "task/pooling=mean"), "what is chosen as task has no pooling; choose another task"),
        (
            ("modality=all", "task@mix.image.task=segmentation"),
            "what is chosen as task@mix.image.task has no",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_in_a_sentence(typed, arguments, said):
    error = typed(*arguments)
    assert said in error and "Traceback" not in error


def test_a_trainer_that_lightning_refuses_is_refused_in_a_sentence(typed):
    assert "Choose trainer=auto or trainer=cpu" in typed("trainer.accelerator=cpu", "trainer.devices=0")


OWN = {
    "experiment/mistyped.yaml": "defaults:\n  - override /modality: video\naugment: {hflipp: true}\n",
    "experiment/further.yaml": "defaults:\n  - photos\n  - override /tokenizer: image_patch\n  - _self_\n",
}


@pytest.fixture
def own_folder(tmp_path) -> Path:
    for name, text in OWN.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(f"# @package _global_\n{text}")
    return tmp_path / "own"


def test_a_mistyped_key_in_a_preset_is_not_left_out(own_folder, typed):
    error = typed("--config-dir", str(own_folder), "experiment=mistyped")
    assert "VideoAugment does not take hflipp; it takes rotate," in error


def test_an_experiment_may_go_on_from_another_and_choose_otherwise(configure, own_folder):
    config = configure(f"hydra.searchpath=[file://{own_folder}]", "experiment=further")
    assert config["tokenizer"]["_target_"].endswith("ImagePatchTokenizer")
    assert config["tokenizer"]["image_size"] == 64 and "num_layers" not in config["tokenizer"]
    assert config["augment"]["hflip"] is True


def _outcome(configure, overrides) -> str:
    """Empty if a step can be taken, else the sentence that refuses it."""
    try:
        _take_a_step(configure(*overrides))
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        return explain(error, "train", list(overrides))
    return ""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("experiment", RECIPES)
def test_every_experiment_with_every_option_takes_a_step_or_is_refused_in_a_sentence(
    configure, recipe_data, experiment
):
    path, steps = recipe_data(experiment), 0
    for group in GROUPS:
        for option in _options(group):
            own = option in ("folder", "table", "hub") or group != "data"
            data = (f"data.path={path}",) if own else ()
            overrides = (*TINY, f"experiment={experiment}", *data, f"{group}={option}")
            said = _outcome(configure, [one for one in overrides if one != "trainer.accelerator=cpu"])
            steps += not said
            raw = [one for one in ("_target_'", "KeyError", "TypeError", "AttributeError") if one in said]
            assert not raw and "\n" not in said, f"{overrides}: {said}"
            assert not said or len(said.split()) > 6, f"{overrides}: {said}"
    assert steps > 30


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("experiment=clips", "augment=none"),
        ("experiment=clips", "debug=overfit", "trainer.max_epochs=2"),
        ("experiment=photos", "tokenizer=image_patch"),
        ("experiment=sentences", "tokenizer=text_byte"),
        ("experiment=sounds", "tokenizer=audio_spectrogram"),
        ("experiment=speech", "augment=none"),
    ],
)
def test_an_experiment_with_another_option_trains(recipe_data, tmp_path, settings, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["unimodal"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    path, output = recipe_data(settings[0].partition("=")[2]), tmp_path / "run"
    overrides = [*TINY, *settings, f"data.path={path}", f"output={output}", "logger=csv"]
    if "trainer.max_epochs=2" not in settings:
        overrides += ["trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"]
    assert run("train", overrides) == 0
    assert json.loads((output / "metrics.json").read_text())["steps"] > 0
