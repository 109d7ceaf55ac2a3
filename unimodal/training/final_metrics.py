"""The metrics that a run reports: of its best checkpoint, over all samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from unimodal.data.datamodule import DataModule
from unimodal.data.joint_datamodule import JointDataModule
from unimodal.tasks.learner import Learner
from unimodal.training import checkpoints
from unimodal.training.build import Config
from unimodal.training.callbacks.cut_inputs import CutInputs, cut_metrics
from unimodal.training.callbacks.throughput import Throughput
from unimodal.training.intervals import interval_metrics

Data = DataModule | JointDataModule


def final_metrics(
    config: Config, trainer: L.Trainer, task: Learner, datamodule: Data, output: Path
) -> dict[str, Any]:
    """Return what metrics.json says of the run, by name.

    `trainer.limit_val_batches` is of the validations during training; what is reported is of all samples, as
    `val/num_samples` says, unless the run only debugs, as `debug` then says.
    """
    steps, epochs = trainer.global_step, trainer.current_epoch
    debug = config["debug"] or ("fast_dev_run" if config["trainer"]["fast_dev_run"] else None)
    if not debug:
        trainer.limit_val_batches = 1.0
    best = output / checkpoints.BEST
    checkpoint = best if trainer.strategy.broadcast(best.exists()) else None
    metrics: dict[str, Any] = {}
    for split in (split for split in ("val", "test") if split in datamodule.source.split_names):
        metrics |= _validate(trainer, task, datamodule, split, checkpoint)
        checkpoint = None  # the weights are loaded
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    metrics |= next((c.metrics or {} for c in callbacks if isinstance(c, CutInputs)), {})
    rates = next((c.rates(trainer.world_size) for c in callbacks if isinstance(c, Throughput)), {})
    metrics["monitor"] = monitored(trainer, task)
    metrics |= {"debug": debug} if debug else {}
    return (
        metrics | {name: round(rate, 1) for name, rate in rates.items()} | {"steps": steps, "epochs": epochs}
    )


def monitored(trainer: L.Trainer, task: Learner) -> str:
    """The metric that decides which checkpoint is best."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    monitors = [c.monitor for c in callbacks if isinstance(c, ModelCheckpoint) and c.monitor]
    return next(iter(monitors), task.monitor)


def _validate(
    trainer: L.Trainer, task: Learner, datamodule: Data, split: str, checkpoint: Path | None = None
) -> dict[str, Any]:
    """Return the metrics of a split, of a checkpoint or of the weights as they are.

    Nothing is logged: the last step in the loggers need not be that of the best weights.
    """
    trainer.strategy.barrier()
    datamodule.eval_split, loggers, trainer.loggers = split, trainer.loggers, []
    validated = trainer.validate(
        task, datamodule=datamodule, ckpt_path=checkpoint, verbose=False, weights_only=True
    )
    datamodule.eval_split, trainer.loggers = "val", loggers
    return named(validated, split) | interval_metrics(task, split) | cut_metrics(trainer, datamodule, split)


def named(validated: list[Mapping[str, float]], split: str) -> dict[str, Any]:
    """Return what Lightning's `validate` gave by the name of the split; numbers of samples are int."""
    return {
        name.replace("val/", f"{split}/", 1): int(value) if "/num_" in name else value
        for result in validated
        for name, value in result.items()
    }
