"""`unimodal train`: one run from a config to a folder."""

import gc
import json
import logging
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger

from unimodal.tasks.learner import Learner
from unimodal.training import build, checkpoints, pretraining
from unimodal.training.baseline import compared, fit_baseline
from unimodal.training.callbacks.checkpointing import FinalWeights
from unimodal.training.callbacks.cut_inputs import CutInputs
from unimodal.training.callbacks.expectation import Expectation
from unimodal.training.callbacks.interruption import Interruption
from unimodal.training.callbacks.progress import ProgressBar, ProgressLines
from unimodal.training.console import is_terminal, say, table
from unimodal.training.final_metrics import final_metrics, monitored
from unimodal.training.finetune.base import FineTuning
from unimodal.training.intervals import metric_rows
from unimodal.training.length import lengthen, steps_of
from unimodal.training.metrics_csv import MetricsCSV
from unimodal.training.monitors import make_callbacks
from unimodal.training.optimization import Optimization, Pace
from unimodal.training.pretrained.start import make_start
from unimodal.training.resume import go_on
from unimodal.training.subruns import check_same
from unimodal.training.unused import hold


def train(config: build.Config, output: Path, config_dirs: Iterable[Path] = ()) -> dict[str, Any]:
    """Train, then validate the best checkpoint; returns the figures that metrics.json holds.

    Started again with the same `output`, an interrupted run goes on from its last checkpoint. With
    `pretrain.epochs` a masked pretraining comes first, in a folder of its own, and the run starts from it.

    Args:
        config: resolved, of train.yaml.
        output: the run folder.
        config_dirs: the user's own folders of yaml files; a checkpoint may name what they declare.

    Raises:
        ValueError: if the folder holds a finished run, or the config does not fit together.
    """
    last = resumable(output)
    config = pretraining.without_unused(config)
    if not pretraining.num_epochs(config):
        return _train(config, output, config_dirs)
    pretraining.check(config)
    if last is None:
        _pretrain(config, output, config_dirs)
    return _train(config, output, config_dirs, output / pretraining.FOLDER / checkpoints.LAST)


def _pretrain(config: build.Config, output: Path, config_dirs: Iterable[Path]) -> None:
    """Train the masked model on the inputs, or go on with it; does nothing where it is finished."""
    epochs, folder = pretraining.num_epochs(config), output / pretraining.FOLDER
    own = pretraining.pretraining_config(config, output)
    if (folder / "metrics.json").exists():
        why = "the run starts from its weights"
        check_same(folder, own, "pretraining", why, pretraining.RUN_MAY_CHANGE)
        say(f"the pretraining is finished: {folder}")
        return
    build.make_learner(
        build.complete(config, build.make_source(config))
    )  # else its mistakes show hours later
    of = config["pretrain"]["path"] or "the training inputs"
    say(f"pretraining (pretrain.epochs={epochs}) on {of}, without labels, before the run itself")
    try:
        _train(own, folder, config_dirs)
    except ValueError as error:
        raise ValueError(
            f"pretrain.epochs={epochs}: {error} (pretrain.epochs=0 is no pretraining)"
        ) from error
    gc.collect()  # the model of the pretraining is part of reference cycles
    say("\npretraining is finished; the run itself starts from its last weights")


def _train(
    config: build.Config, output: Path, config_dirs: Iterable[Path], pretrained: Path | None = None
) -> dict[str, Any]:
    """Train one run; `pretrained` is the checkpoint of its own pretraining."""
    start = time.monotonic()
    last = resumable(output)
    quiet_known_warnings()
    L.seed_everything(config["seed"], workers=True, verbose=False)
    source = build.make_source(config)
    for line in [*source.describe(), *source.hints()]:
        say(line)
    starting = config | {"pretrained": str(pretrained)} if pretrained else config
    complete, task, finetuning = make_start(starting, source, last, config_dirs)
    complete |= {"pretrained": config["pretrained"]}  # as typed: the run folder may be moved
    datamodule = build.make_datamodules(complete, source, task)
    trainer = _make_trainer(complete, task, output)
    datamodule.trainer = trainer
    num_batches = len(datamodule.train_dataloader())
    lengthen(complete, num_batches, trainer)
    depth = len(task.backbones[0].blocks)
    task.optimization = _make_optimization(complete, num_batches, trainer, finetuning, depth)
    go_on(last, complete, task, datamodule, trainer)
    hold(task, complete, datamodule, trainer.world_size)
    if config["compile"]:
        build.compile_blocks(task)
    baseline = None
    if trainer.is_global_zero:
        _write_config(config, output)
        baseline = fit_baseline(config, task, datamodule, monitored(trainer, task))
    say(f"training {_what(config)} into {output}" + (f", resumed from {last.name}" if last else ""))
    _resume_metrics(trainer, last)
    trainer.fit(task, datamodule=datamodule, ckpt_path=last, weights_only=True)
    for stopping in trainer.early_stopping_callbacks:
        if stopping.stopped_epoch:
            say(f"stopped early: {stopping.monitor} has not improved for {stopping.patience} validations")
    figures = final_metrics(config, trainer, task, datamodule, output)
    figures |= {"parameters": build.num_parameters(task), "seconds": round(time.monotonic() - start, 1)}
    if pretrained:
        figures |= {"pretraining": pretraining.pretraining_metrics(config, output)}
    if trainer.is_global_zero:
        figures |= {"baseline": baseline} if baseline else {}
        (output / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _report(config, figures, output)
    return figures


def resumable(output: Path) -> Path | None:
    """The checkpoint that a run in this folder goes on from, None for a new run.

    Raises:
        ValueError: if the run there is finished.
    """
    if (output / "metrics.json").exists():
        raise ValueError(
            f"{output} holds a finished run; choose another output=DIR, from its weights with "
            f"pretrained={output}, or remove it."
        )
    last = output / checkpoints.LAST
    return last if last.exists() else None


def quiet_known_warnings() -> None:
    """Hide advice that does not apply: few workers suit small data; our own lines say what happens."""
    for message in (
        "does not have many workers",
        "predict returned None",
        "number of training batches",
        "sync_dist=True",
        "LeafSpec",
        "could not find the monitored key",  # without validation there is no best checkpoint
        "exists and is not empty",  # of a run that goes on, as the next two
        "dirpath has changed",
        "callbacks used to create the checkpoint",
        "overrides the configure_model",  # ours does nothing where weights are averaged
    ):
        warnings.filterwarnings("ignore", f".*{message}.*")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _make_trainer(config: build.Config, task: Learner, output: Path) -> L.Trainer:
    terminal = is_terminal()
    progress = ProgressBar() if terminal else ProgressLines()
    callbacks = [*make_callbacks(config, task), checkpoints.SaveConfig(config), progress, CutInputs()]
    callbacks.append(Interruption(output / checkpoints.LAST))
    callbacks.append(FinalWeights(output / checkpoints.LAST))  # behind those that may stop the run
    if not config["debug"]:
        callbacks.append(Expectation())
    checkpointing = any(isinstance(one, Checkpoint) for one in callbacks)  # Lightning would add one otherwise
    loggers: list[Logger] = [build.make(node) for node in (config.get("logger") or {}).values() if node]
    return build.make_trainer(
        config,
        output,
        callbacks=callbacks,
        logger=loggers or False,
        enable_progress_bar=terminal,
        enable_checkpointing=checkpointing,
    )


def _make_optimization(
    config: build.Config, num_batches: int, trainer: L.Trainer, finetuning: FineTuning, depth: int
) -> Optimization:
    num_steps = steps_of(config["trainer"], num_batches, trainer.max_epochs, trainer.max_steps)
    waiting = steps_of(config["trainer"], num_batches, finetuning.frozen_epochs)
    if finetuning.frozen_epochs and waiting >= num_steps:
        raise ValueError(
            f"finetune.frozen_epochs={finetuning.frozen_epochs} is {waiting} steps of {num_steps}: "
            "the backbone would never learn; lower it, or take finetune=head."
        )

    def pace(name: str) -> Pace:
        return Pace(waiting if finetuning.waits(name) else 0, finetuning.rate(name, depth))

    return Optimization(build.make(config["optimizer"]), build.make(config["scheduler"]), num_steps, pace)


def _resume_metrics(trainer: L.Trainer, last: Path | None) -> None:
    if last is None:
        return
    step = checkpoints.steps_before(last, trainer)
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV):
            logger.resume(step)


def _write_config(config: build.Config, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _what(config: build.Config) -> str:
    if config.get("mix"):
        return f"{', '.join(config['mix'])} jointly"
    tokenizer, task, data = (
        config[key]["_target_"].rpartition(".")[2] for key in ("tokenizer", "task", "data")
    )
    return f"{task} with {tokenizer} on {data}"


def _report(config: build.Config, figures: dict[str, Any], output: Path) -> None:
    rows = {"what": _what(config), "parameters": f"{figures['parameters']:,}"}
    rows |= metric_rows(figures)
    below = ""
    if "baseline" in figures:
        rows["baseline"], below = compared(figures["baseline"], figures)
    if "debug" in figures:
        rows["debug"] = f"{figures['debug']}: a run to find errors; its metrics say nothing about the model"
    rows["time"] = f"{figures['seconds']:.0f} s for {figures['steps']} steps"
    if seconds := figures.get("pretraining", {}).get("seconds"):
        rows["time"] += f", after {seconds:.0f} s of pretraining"
    if "samples_per_second" in figures:
        rows["speed"] = (
            f"{figures['samples_per_second']:,.0f} samples/s, {figures['tokens_per_second']:,.0f} tokens/s"
        )
    saved = next((name for name in (checkpoints.BEST, checkpoints.LAST) if (output / name).exists()), None)
    rows["run"] = f"{output} ({saved or 'no checkpoint'}, metrics.csv, config.yaml)"
    if saved:
        rows["next"] = f"unimodal evaluate checkpoint={output}"
    say("\n" + table(rows) + f"\n\n{below}" * bool(below))
