"""The sources of joint training as the configs of runs of their own."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

Config = dict[str, Any]
REQUIRED = ("tokenizer", "task", "data", "loader", "weight", "loss_weight", "frozen")
OWN = ("tokenizer", "beside", "task", "data", "augment", "loader")  # what each source has for itself
SHARING = ("backbone", "none")
BATCHES = ("one_source", "several")
ALONE = ""  # in place of a source's name where there is one run
WITHIN = re.compile(r"tasks\.[^.]+\.")


def views(config: Config) -> dict[str, Config]:
    """What each source of joint training would be as a run of its own, by name; none for a single run.

    Raises:
        ValueError: for a source that says too little, a name that cannot be one, or a switch that does not
            exist.
    """
    mix: Mapping[str, Any] = config.get("mix") or {}
    for name, node in mix.items():
        _check(name, node)
        _check_places(name, node["tokenizer"], config["backbone"]["block"])
    if mix:
        _check_loss_weights(mix)
        _check_choice("share", config["share"], SHARING)
        _check_choice("batches", config["batches"], BATCHES)
    return {
        name: config | {section: node.get(section) for section in OWN} | {"mix": {}}
        for name, node in mix.items()
    }


def check_one_kind(config: Config) -> None:
    """Raise ValueError where joint training and a single run are both chosen: one would silently win."""
    chosen = [key for key in ("tokenizer", "data", "task") if config.get(key)]
    if config.get("mix") and chosen:
        raise ValueError(
            f"the sources of mix ({', '.join(config['mix'])}) are chosen and so is {chosen[0]}, which joint "
            "training does not read: an experiment for one source does not go with modality=all or joint. "
            "Set experiment=none and mix.NAME.data, or modality=joint; for a run of one source take mix out."
        )


def with_views(config: Config, changed: Mapping[str, Config]) -> Config:
    """The config with each source as it is in `changed`: what `views` gave, or the single run as `ALONE`."""
    if ALONE in changed:
        return changed[ALONE]
    mix = {name: node | {key: changed[name][key] for key in OWN} for name, node in config["mix"].items()}
    return config | {"mix": mix}


def weights_of(name: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One source's part of a joint state dict, under the names of a run of its own."""
    own = f"tasks.{name}."
    return {within_task(key): value for key, value in weights.items() if key.startswith(("backbone.", own))}


def within_task(name: str) -> str:
    """What a parameter of joint training is called in a run of its source alone."""
    return f"model.{name}" if name.startswith("backbone.") else WITHIN.sub("", name, count=1)


def _check(name: str, node: Any) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"mix.{name}: a source is called by small letters, digits and underscores.")
    if hasattr(nn.ModuleDict(), name):
        raise ValueError(f"mix.{name}: torch calls something else {name}; take another name.")
    missing = [key for key in REQUIRED if not isinstance(node, Mapping) or key not in node]
    if missing:
        raise ValueError(
            f"mix.{name} has no {missing[0]}; add the source with +source@mix.{name}=image "
            "(or audio, text, video)."
        )


def _check_places(name: str, tokenizer: Config, block: Config) -> None:
    """A block without rotary positions takes its tokens for a heap unless the tokenizer adds some."""
    knob = tokenizer.get("learned_positions")
    if block["rope_theta"] is None and knob is False and not tokenizer.get("sincos_positions"):
        raise ValueError(
            f"this block has no positions of its own; set mix.{name}.tokenizer.learned_positions=true."
        )


def _check_loss_weights(mix: Mapping[str, Any]) -> None:
    weights = {name: node["loss_weight"] for name, node in mix.items()}
    wrong = next((name for name, weight in weights.items() if not weight >= 0), None)
    if wrong or not sum(weights.values()):
        raise ValueError(
            f"mix.{wrong or next(iter(mix))}.loss_weight={weights[wrong or next(iter(mix))]}: each must be 0 "
            "or more, and one of them more."
        )


def _check_choice(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{key}={value} is not one of {', '.join(known)}.")
