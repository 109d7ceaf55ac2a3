"""`pretrain.epochs=N`: masked pretraining without labels before a run, in a folder inside the run folder."""

import json
from pathlib import Path
from typing import Any

from unimodal.training.build import Config
from unimodal.training.subruns import moved

FOLDER = "pretrain"  # inside the run folder
UNLABELLED = (
    "MaskedModeling",
    "MaskedText",
    "LanguageModeling",
)  # tasks that learn without labels themselves
FULL = {"_target_": "unimodal.training.finetune.full.Full"}
LABEL_COLUMNS = ("label", "mask", "tokens", "tags", "segments")
RUN_MAY_CHANGE = ("trainer.accelerator", "trainer.devices", "callbacks")  # since the pretraining ended


def num_epochs(config: Config) -> int:
    """Return the epochs of pretraining that the config asks for; 0 for none."""
    return int((config.get("pretrain") or {}).get("epochs") or 0)


def without_unused(config: Config) -> Config:
    """Return the config with `pretrain: null` where no pretraining is asked for.

    The settings of a pretraining that does not take place are then no difference between two runs.

    Raises:
        ValueError: if the number of epochs is negative, or `pretrain.path` is set without epochs.
    """
    epochs, node = num_epochs(config), config.get("pretrain") or {}
    if epochs < 0:
        raise ValueError(
            f"pretrain.epochs={epochs} is negative; set it to the epochs of pretraining, or 0 for none."
        )
    if not epochs and node.get("path") is not None:
        raise ValueError(
            f"pretrain.path={node['path']} is not used, because pretrain.epochs=0 means no pretraining; set "
            "pretrain.epochs to the number of epochs, or pretrain.path=null."
        )
    return config if epochs else config | {"pretrain": None}


def check(config: Config) -> None:
    """Raise ValueError if a run of this config cannot be pretrained first.

    Args:
        config: resolved, of train.yaml.
    """
    epochs = num_epochs(config)
    if config.get("mix"):
        reason = "joint training cannot be pretrained in the same command, which reads one source"
        remedy = "pretrain in a command of its own (task=masked_modeling) and set pretrained=RUN"
    elif config.get("beside"):
        reason = f"the run reads {', '.join(config['beside'])} too, and masked pretraining reads one modality"
        remedy = "pretrain in a command of its own (task=masked_modeling) and set pretrained=RUN"
    elif config["pretrained"]:
        reason = f"the run already starts from pretrained={config['pretrained']}"
        remedy = (
            "drop one of them, or continue the pretraining in a command of its own (task=masked_modeling)"
        )
    elif config["keep_head"]:
        reason, remedy = "keep_head=true keeps the head of pretrained=, but pretraining has none", "drop it"
    elif (config.get("task") or {}).get("_target_", "").rpartition(".")[2] in UNLABELLED:
        task = config["task"]["_target_"].rpartition(".")[2]
        reason, remedy = f"{task} learns without labels itself", "train it for more epochs instead"
    else:
        return
    raise ValueError(f"pretrain.epochs={epochs}: {reason}; {remedy}, or set pretrain.epochs=0.")


def pretraining_config(config: Config, output: Path) -> Config:
    """Return the config of the pretraining: that of the run, except what masked modeling needs otherwise.

    Args:
        config: of the run.
        output: the run folder.
    """
    own, node = moved(config, output, output / FOLDER), config["pretrain"]
    changed: Config = {
        "task": own["pretrain"]["task"],
        "callbacks": own["pretrain"]["callbacks"],
        "data": _data(config),
        "optimizer": config["optimizer"] | _set(lr=node["lr"]),
        "loader": config["loader"] | {"balanced": False} | _set(batch_size=node["batch_size"]),
        "finetune": FULL | {"layer_decay": 1.0, "freeze": [], "frozen_epochs": 0, "resize_vocabulary": False},
        "baseline": False,
        "pretrain": None,
    }
    if not config["debug"]:  # a debug mode has a length of its own
        length = {"max_epochs": node["epochs"], "max_steps": -1, "min_epochs": None, "min_steps": None}
        changed |= {"trainer": own["trainer"] | length, "min_steps": 0}
    return own | changed


def _data(config: Config) -> Config:
    """The data of the run, or that of `pretrain.path`, of which labels and folds are not read."""
    data, node = dict(config["data"] or {}), config["pretrain"]
    if node["path"] is None:
        return data | _set(train_fraction=node["train_fraction"])
    if "path" not in data:
        raise ValueError(
            f"pretrain.path={node['path']}: the data of this run ({data['_target_'].rpartition('.')[2]}) is "
            "not read from a path; use data=folder, table or hub, or set pretrain.path=null."
        )
    data |= {"path": node["path"], "train_fraction": node["train_fraction"] or 1.0}
    data |= {"folds": None, "fold": None}
    if data.get("labels"):
        data["labels"] = data["labels"] | {"kind": "auto", "separator": None, "class_names": None}
        data["labels"] |= {"unseen": "ignore"}
    if data.get("columns"):
        given = [name for name in LABEL_COLUMNS if data["columns"].get(name) is not None]
        data["columns"] = data["columns"] | dict.fromkeys(given, "none")
    return data


def _set(**values: Any) -> Config:
    """Return the values that are not null."""
    return {key: value for key, value in values.items() if value is not None}


def pretraining_metrics(config: Config, output: Path) -> dict[str, Any]:
    """Return what metrics.json of the run contains about its pretraining.

    Args:
        config: of the run.
        output: the run folder.
    """
    file = output / FOLDER / "metrics.json"
    if not file.exists():  # removed since
        return {"epochs": num_epochs(config)}
    metrics = json.loads(file.read_text(encoding="utf-8"))
    kept = ("epochs", "steps", "seconds", "train/loss", "val/loss")
    return {name: metrics[name] for name in kept if name in metrics}
