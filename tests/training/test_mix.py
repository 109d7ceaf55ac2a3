import torch

from unimodal.training.mix import ALONE, views, weights_of, with_views, within_task

NODE = {
    "tokenizer": {"kind": 1},
    "task": {"kind": 2},
    "data": {"kind": 3},
    "loader": {},
    "weight": 1.0,
    "loss_weight": 1.0,
    "frozen": False,
}
CONFIG = {
    "seed": 0,
    "share": "backbone",
    "batches": "one_source",
    "backbone": {"block": {"rope_theta": 1e4}},
    "tokenizer": None,
    "mix": {"a": NODE, "b": NODE | {"data": {"kind": 4}}},
}


def test_a_view_is_the_config_of_a_run_of_its_own():
    found = views(CONFIG)
    assert found.keys() == {"a", "b"}
    assert found["b"]["data"] == {"kind": 4} and found["b"]["tokenizer"] == {"kind": 1}
    assert found["b"]["mix"] == {} and found["b"]["seed"] == 0
    assert views(CONFIG | {"mix": {}}) == {} == views({})


def test_what_is_changed_in_a_view_comes_back_to_its_place():
    changed = views(CONFIG)
    changed["a"] = changed["a"] | {"task": {"kind": 9}}
    merged = with_views(CONFIG, changed)
    assert merged["mix"]["a"]["task"] == {"kind": 9} and merged["mix"]["b"]["task"] == {"kind": 2}
    assert merged["mix"]["a"]["weight"] == 1.0 and merged["tokenizer"] is None
    assert with_views(CONFIG, {ALONE: {"seed": 5}}) == {"seed": 5}


def test_parameters_have_the_names_of_a_run_of_their_own():
    names = {
        "backbone.norm.weight": "model.backbone.norm.weight",
        "tasks.a.model.backbone.norm.weight": "model.backbone.norm.weight",
        "tasks.a.model.tokenizers.image.project.weight": "model.tokenizers.image.project.weight",
        "tasks.a.head.weight": "head.weight",
        "model.backbone.norm.weight": "model.backbone.norm.weight",
        "head.weight": "head.weight",
    }
    assert {name: within_task(name) for name in names} == names
    weights = {name: torch.zeros(1) for name in (*names, "tasks.b.head.bias")}
    assert weights_of("b", weights).keys() == {"model.backbone.norm.weight", "head.bias"}
