"""Which parameters learn, how fast, from when on; and runs that do it, stop, go on and are evaluated."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import lightning as L
import pytest
import torch
import yaml

from unimodal.training import build, checkpoints
from unimodal.training.evaluate import evaluate
from unimodal.training.finetune.base import trained_share
from unimodal.training.finetune.full import Full
from unimodal.training.finetune.head import Head
from unimodal.training.finetune.layers import Layers
from unimodal.training.finetune.lora import LoRA
from unimodal.training.optimization import Optimization, Pace
from unimodal.training.pretrained.start import make_start
from unimodal.training.train import train

SMALL = ("backbone.dim=32", "backbone.depth=2", "backbone.num_heads=2", "trainer=cpu")
HEAD = {"head.weight", "head.bias"}
PROJECT = {"model.tokenizers.image.project.weight", "model.tokenizers.image.project.bias"}


@pytest.fixture
def make_task(configure):
    def _make_task(*overrides, **changes):
        config = configure(*SMALL, *overrides)
        config["task"] |= changes
        return build.make_task(build.complete(config, build.make_source(config)))

    return _make_task


def learning(task):
    return {name for name, parameter in task.named_parameters() if parameter.requires_grad}


def block(task, index):
    return {name for name, _ in task.named_parameters() if f".blocks.{index}." in name}


def test_full_leaves_everything_as_it_is(make_task):
    task = make_task()
    Full().apply(task)
    assert all(parameter.requires_grad for parameter in task.parameters())


def test_head_trains_the_head_alone(make_task):
    task = make_task()
    Head().apply(task)
    assert learning(task) == HEAD


def test_head_trains_the_pooling_and_the_tokenizer_where_asked(make_task):
    task = make_task("task/pooling=attention")
    Head(train_tokenizer=True).apply(task)
    pooling = {f"pooling.{name}" for name, _ in task.pooling.named_parameters()}
    assert learning(task) == HEAD | PROJECT | pooling


@pytest.mark.parametrize("way", [Head, Layers, LoRA])
def test_what_is_new_learns_whatever_the_rest_does(make_task, way):
    task = make_task()
    way(fresh=sorted(PROJECT)).apply(task)
    assert learning(task) >= HEAD | PROJECT


def test_layers_trains_exactly_the_last_blocks_the_norm_and_the_head(make_task):
    task = make_task("backbone.depth=3")
    Layers(num_layers=2).apply(task)
    assert learning(task) == HEAD | block(task, 1) | block(task, 2) | {"model.backbone.norm.weight"}
    with pytest.raises(ValueError, match="num_layers=4 is not between 1 and depth=3"):
        Layers(num_layers=4).apply(make_task("backbone.depth=3"))


def test_a_head_tied_to_the_embedding_learns(make_task):
    task = make_task("modality=text", "task.tied=true")
    Head().apply(task)
    assert learning(task) == {"model.tokenizers.text.embedding.weight"}


def test_lora_trains_less_than_five_percent_of_tiny(make_task):
    size = ("backbone.dim=128", "backbone.depth=4", "backbone.num_heads=4")  # backbone=tiny
    task = make_task(*size, class_names=list("abcde"))
    LoRA().apply(task)
    trained, everything = trained_share(task)
    assert trained / everything < 0.05
    assert learning(task) - HEAD == {
        f"model.backbone.blocks.{i}.attention.{linear}.lora_{side}.default.weight"
        for i in range(4)
        for linear in ("query", "value")
        for side in "AB"
    }


def _shake(task):
    for parameter in task.parameters():
        torch.nn.init.normal_(parameter, std=0.1)


def test_adapters_change_nothing_at_first_and_merge_into_the_same_function(make_task):
    task, way = make_task(), LoRA(target_modules=["query", "key", "value", "out", "gate", "up", "down"])
    _shake(task)
    batch = {"pixel_values": torch.rand(3, 3, 32, 32), "labels": torch.tensor([0, 1, 2])}
    plain, names = task(batch).logits, list(task.state_dict())
    way.inject(task)
    assert torch.equal(task(batch).logits, plain)
    _shake(task)
    adapted = task(batch).logits
    assert not torch.allclose(adapted, plain, atol=1e-2)
    way.merge(task)
    torch.testing.assert_close(task(batch).logits, adapted, atol=1e-5, rtol=1e-5)
    assert list(task.state_dict()) == names


def test_lora_without_peft_says_what_to_install(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "unimodal.training.finetune.lora.find_spec", lambda name: None if name == "peft" else found(name)
    )
    with pytest.raises(ValueError, match=r"needs peft: pip install 'unimodal\[lora\]'"):
        LoRA()


def test_bad_knobs_are_named(make_task):
    with pytest.raises(ValueError, match=r"finetune\.r=0"):
        LoRA(r=0)
    with pytest.raises(ValueError, match="no linear layer is called q; there are down, gate, key"):
        LoRA(target_modules=["q", "value"]).apply(make_task())
    with pytest.raises(ValueError, match=r"finetune\.layer_decay=1\.5"):
        Full(layer_decay=1.5)
    with pytest.raises(ValueError, match=r"finetune\.frozen_epochs=-1"):
        Full(frozen_epochs=-1)


def test_freeze_takes_patterns_and_names_near_ones(make_task):
    task = make_task()
    Full(freeze=["model.backbone.blocks.0.*", "*.bias"]).apply(task)
    everything = {name for name, _ in task.named_parameters()}
    assert learning(task) == {n for n in everything - block(task, 0) if not n.endswith(".bias")}
    with pytest.raises(ValueError, match=r"finetune\.freeze=head\.weigth matches no .*head\.weight"):
        Full(freeze=["head.weigth"]).apply(make_task())
    with pytest.raises(ValueError, match="leaves nothing to train"):
        Full(freeze=["*"]).apply(make_task())


def _optimize(task, way, first_step=0):
    depth = len(task.model.backbone.blocks)
    return Optimization(
        lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=0.1),
        lambda step, num_steps: 1.0,
        10,
        lambda name: Pace(first_step if way.waits(name) else 0, way.rate(name, depth)),
    )(task)


def test_layer_decay_slows_each_layer_below_the_head(make_task):
    task, way = make_task("backbone.num_registers=1"), Full(layer_decay=0.5)
    optimizer = _optimize(task, way)["optimizer"]
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rate = {name: rates[id(parameter)] for name, parameter in task.named_parameters()}
    assert rate["head.weight"] == rate["model.backbone.norm.weight"] == pytest.approx(0.1)
    assert {rate[name] for name in block(task, 1)} == {0.05}
    assert {rate[name] for name in block(task, 0)} == {0.025}
    assert rate["model.tokenizers.image.project.weight"] == rate["model.backbone.registers"] == 0.0125
    assert optimizer.param_groups[0]["lr"] == 0.1  # what train/lr shows
    assert Full(layer_decay=0.5, fresh=["model.tokenizers.image.project.weight"]).rate(
        "model.tokenizers.image.project.weight", 2
    ) == pytest.approx(1)


def test_one_pace_gives_the_two_groups_of_always(make_task):
    groups = _optimize(make_task(), Full())["optimizer"].param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(0.1, 0.1), (0.1, 0.0)]


def test_a_backbone_that_waits_stays_to_the_bit_then_learns(make_task):
    task, way = make_task(), Full(frozen_epochs=1)
    _shake(task)
    made = _optimize(task, way, first_step=2)
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    for step in range(3):
        for parameter in task.parameters():
            parameter.grad = torch.ones_like(parameter)
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
        moved = {name for name, p in task.named_parameters() if not torch.equal(p, before[name])}
        assert moved == (HEAD | PROJECT if step < 2 else set(before))


@pytest.mark.parametrize("option", ["head", "layers", "lora"])
def test_without_trained_weights_there_is_nothing_to_adapt(configure, option):
    config = configure(*SMALL, f"finetune={option}")
    with pytest.raises(ValueError, match=rf"finetune={option} adapts trained weights; set pretrained=RUN\."):
        make_start(config, build.make_source(config))
    config = configure(*SMALL, "finetune.frozen_epochs=1")
    with pytest.raises(ValueError, match=r"holds an untrained backbone; set pretrained=RUN"):
        make_start(config, build.make_source(config))


@pytest.fixture
def first(small_run, tmp_path):
    """A short run to start from."""
    path = tmp_path / "first"
    train(small_run(f"output={path}"), path)
    return f"pretrained={path}"


def test_a_lora_run_is_evaluated_to_the_bit_without_its_origin(small_run, configure, tmp_path, first):
    run = tmp_path / "run"
    figures = train(small_run(first, "finetune=lora", "trainer.limit_val_batches=null"), run)
    assert yaml.safe_load((run / "config.yaml").read_text())["pretrained"] == str(tmp_path / "first")
    assert json.loads((run / "metrics.json").read_text()) == figures
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    again = evaluate(
        configure(f"checkpoint={run}", "trainer=cpu", "trainer.precision=32-true", verb="evaluate")
    )
    assert again == {name: value for name, value in figures.items() if name.startswith("val/")}
    merged = build.restore_task(*checkpoints.load(run), merged=True)
    assert not any("lora" in name for name in merged.state_dict())


def test_a_run_starts_from_one_that_had_adapters(small_run, tmp_path, first, capsys):
    adapted = tmp_path / "adapted"
    train(small_run(first, "finetune=lora", f"output={adapted}"), adapted)
    train(small_run(f"pretrained={adapted}", "finetune=head"), tmp_path / "run")
    said = capsys.readouterr().out
    assert "pretrained: 27 of 27 tensors" in said
    assert "finetune: head trains 5,130 of" in said


def test_a_waiting_that_never_ends_is_refused(small_run, tmp_path, first):
    with pytest.raises(ValueError, match="frozen_epochs=1 is 4 steps of 4: the backbone would never learn"):
        train(small_run(first, "finetune.frozen_epochs=1"), tmp_path / "run")


class Stop(L.Callback):
    """Ends the run with an error after so many steps."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 14:
            raise RuntimeError("stopped")


@pytest.mark.slow
@pytest.mark.parametrize("option", ["lora", "head"])
def test_an_interrupted_fine_tuning_ends_as_the_uninterrupted_one(
    small_run, tmp_path, monkeypatch, first, option
):
    settings = (first, f"finetune={option}", "debug=none", "data.val_fraction=0.8", "loader.batch_size=64")
    settings += ("trainer.max_epochs=4", "tokenizer.patch_size=16")
    settings += ("finetune.frozen_epochs=1", "finetune.layer_decay=0.8") if option == "lora" else ()
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(small_run(*settings, f"output={whole}"), whole)
    config = small_run(*settings, f"output={broken}")
    config["callbacks"]["stop"] = {"_target_": "finetune_stop.Stop"}
    monkeypatch.setitem(sys.modules, "finetune_stop", SimpleNamespace(Stop=Stop))
    with pytest.raises(RuntimeError, match="stopped"):
        train(config, broken)
    (tmp_path / "first").rename(tmp_path / "elsewhere")  # is not read again
    train(small_run(*settings, f"output={broken}"), broken)
    one, two = (torch.load(run / checkpoints.LAST, weights_only=True) for run in (whole, broken))
    for name, value in one["state_dict"].items():
        assert torch.equal(value, two["state_dict"][name]), name
    states = [content["optimizer_states"][0]["state"] for content in (one, two)]
    assert all(
        torch.equal(a["exp_avg"], b["exp_avg"]) for a, b in zip(*map(dict.values, states), strict=True)
    )
    assert (
        len(states[0]) == len(states[1]) == (11 if option == "lora" else 3)
    )  # the projection's weight is new
