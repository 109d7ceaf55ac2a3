"""`unimodal evaluate`: the figures of a checkpoint, on its own data or other."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning as L

from unimodal.data.sources.base import Source, class_names
from unimodal.tasks.base import Task
from unimodal.training import build, checkpoints
from unimodal.training.callbacks.cut_inputs import cut_metrics
from unimodal.training.console import say, table
from unimodal.training.decoding import with_decoding
from unimodal.training.final_metrics import named
from unimodal.training.intervals import interval_metrics, metric_rows
from unimodal.training.train import quiet_known_warnings


def evaluate(config: build.Config, config_dirs: Iterable[Path] = ()) -> dict[str, Any]:
    """Validate the checkpoint that `config` (evaluate.yaml) names; returns its figures.

    On the run's own data, machine and number of processes they equal the run's to the bit.
    """
    quiet_known_warnings()
    saved, weights = checkpoints.load(config["checkpoint"], config_dirs)
    if config["only"] or config["data"] or config["zero_shot"] or any(config["decoding"].values()):
        saved, weights = checkpoints.of_source(saved, weights, config["only"])
    saved = with_decoding(_with_changes(saved, config), config["decoding"])
    L.seed_everything(saved["seed"], workers=True, verbose=False)
    source = build.make_source(saved)
    task = build.restore(saved, weights)
    if config["zero_shot"]:
        task = _zero_shot(build.restore_task(saved, weights), source, config)
    datamodule = build.make_datamodules(saved, source, task, eval_split=config["split"])
    trainer = build.make_trainer(
        saved, Path.cwd(), logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    validated = trainer.validate(task, datamodule=datamodule, verbose=False)
    metrics = named(validated, config["split"]) | interval_metrics(task, config["split"])
    metrics |= cut_metrics(trainer, datamodule, config["split"])
    rows = {"checkpoint": str(checkpoints.find(config["checkpoint"]))}
    say(table(rows | metric_rows(metrics, ".6g")))
    if config["output"] and trainer.is_global_zero:
        Path(config["output"]).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics


def _zero_shot(task: Task, source: Source, config: build.Config) -> Task:
    """A classifier of the data's classes by their names."""
    names = class_names(source)
    if source.multilabel:
        raise ValueError("zero_shot=true tells one class a sample; these samples have several.")
    called = config["class_names"] or names
    if len(called) != len(names):
        raise ValueError(f"class_names has {len(called)} names; the data has {len(names)} classes: {names}.")
    return task.zero_shot(called, config["templates"])


def _with_changes(saved: build.Config, config: build.Config) -> build.Config:
    """The run's config, with what evaluate.yaml changes."""
    asked = {key: value for key, value in config["loader"].items() if value is not None}
    mix = {name: node | {"loader": node["loader"] | asked} for name, node in (saved["mix"] or {}).items()}
    changed = saved | {"mix": mix, "loader": saved["loader"] | asked, "trainer": config["trainer"]}
    return changed | ({"data": _measured_alike(config["data"], saved)} if config["data"] else {})


def _measured_alike(data: Mapping[str, Any], saved: build.Config) -> dict[str, Any]:
    """Other data, whose labels mean what the checkpoint's do; all of it is measured.

    Classes stand in the checkpoint's order, one that it lacks is an error; rows without a split are val.
    """
    if "labels" not in data:
        return dict(data)
    task = saved["task"]
    kinds = {"multilabel": "multilabel", "class_names": "class", "target_names": "number"}
    kind = next((kind for key, kind in kinds.items() if task.get(key)), "auto")
    labels = data["labels"] | ({"kind": kind} if data["labels"]["kind"] == "auto" else {})
    if task.get("class_names") and not labels["class_names"]:
        labels |= {"class_names": task["class_names"]}
    return {**data, "labels": labels, "val_fraction": None}
