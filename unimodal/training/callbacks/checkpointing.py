"""Which weights a run keeps: the best by metric, then loss, then step; the final ones always compete."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from unimodal.training.console import say

LOSS = "val/loss"


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint with a rule for ties: the lower `val/loss` wins, then the later weights.

    A small validation split gives few different accuracies. Lightning keeps the first of equal ones, whose
    loss may be far from the lowest. The rule applies to `save_top_k=1`. A validation metric is of the weights
    that were validated: other weights, such as those of `every_n_train_steps`, are not saved under it.
    """

    best_loss: float = float("inf")
    validated_step: int = -1

    @property
    def state_key(self) -> str:
        """Lightning's key for this state in a checkpoint, as that of ModelCheckpoint."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note which weights the logged metrics are of; called by Lightning."""
        self.validated_step = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Return whether these weights take the place of the best ones so far; called by Lightning."""
        if str(self.monitor).startswith("val/") and self.validated_step != trainer.global_step:
            return False
        better = super().check_monitor_top_k(trainer, current)
        if current is None or self.save_top_k != 1:
            return better
        loss = float(trainer.callback_metrics.get(LOSS, float("inf")))
        loss = loss if loss == loss else float("inf")  # not a number
        if not better:
            tie = bool(current == self.best_k_models[self.kth_best_model_path]) and loss <= self.best_loss
            better = trainer.strategy.reduce_boolean_decision(tie)
        if better:
            self.best_loss = loss
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state and `best_loss`."""
        return super().state_dict() | {"best_loss": self.best_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore Lightning's state and `best_loss`, also where the run folder has moved since."""
        old, new = str(state_dict.get("dirpath")), str(self.dirpath)
        moved = {key: _moved(value, old, new) for key, value in state_dict.items()}
        super().load_state_dict(moved)
        self.best_loss = state_dict.get("best_loss", float("inf"))  # an old checkpoint has none

    def set_aside(self) -> None:
        """Keep the best checkpoint so far under another name, because what comes does not compare with it."""
        path = Path(str(self.dirpath)) / f"{self.filename}{self.FILE_EXTENSION}"
        if path.exists():
            before = path.with_stem(f"{path.stem}-before")
            path.replace(before)
            say(f"{path.name} starts anew, by {self.monitor}; the one before is {before.name}")


def _moved(value: Any, old: str, new: str) -> Any:
    """Return a part of the state whose paths in the folder `old` are in the folder `new`."""
    if isinstance(value, Mapping):
        return {_moved(key, old, new): inner for key, inner in value.items()}
    return new + value[len(old) :] if isinstance(value, str) and value.startswith(old) else value


class FinalWeights(L.Callback):
    """Validates and saves the weights that training ends with, where nothing else has done so.

    Without this, the weights after the last validation are not compared with the best ones, and with
    `trainer.check_val_every_n_epoch` they are not even saved. Must come after callbacks that stop training.

    Args:
        path: where the weights go if no checkpoint callback without `monitor` has saved them.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.validated_step = path, -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the weights that a run starts or resumes from as known."""
        self.validated_step = trainer.global_step

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that these weights are validated; refuse a monitored metric that validation did not log."""
        if trainer.sanity_checking:
            return
        self.validated_step = trainer.global_step
        logged = [
            name for name in trainer.callback_metrics if name.startswith("val/") and "/num_" not in name
        ]
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        for callback in callbacks:
            monitor = getattr(callback, "monitor", None)
            if isinstance(monitor, str) and monitor.startswith("val/") and monitor not in logged:
                raise ValueError(
                    f"monitor={monitor} of {type(callback).__name__} is not logged by this run; set it to "
                    f"one of {', '.join(logged)}."
                )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate before ModelCheckpoint saves the last epoch, which may have been cut short."""
        if _ends(trainer):
            self._validate(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validate where a callback has stopped training after `on_train_epoch_end`; save."""
        epochs = trainer.fit_loop.epoch_progress.current
        epochs.completed -= 1  # Lightning has counted the epoch, which this validation belongs to
        self._validate(trainer)
        epochs.completed += 1
        always = [c for c in trainer.checkpoint_callbacks if getattr(c, "monitor", None) is None]
        saved = [getattr(callback, "_last_global_step_saved", -1) for callback in always]
        if trainer.global_step not in saved and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self.path)

    def _validate(self, trainer: L.Trainer) -> None:
        """Run validation as Lightning's training loop does, with all its hooks."""
        if trainer.global_step == self.validated_step or not trainer.enable_validation:
            return
        loop, connector = trainer.fit_loop.epoch_loop, trainer._logger_connector
        trainer.validating, first = True, connector._first_loop_iter
        loop._batches_that_stepped -= 1  # the step that loggers are told; Lightning has counted on
        loop.val_loop.run()
        loop._batches_that_stepped += 1
        trainer.training, connector._first_loop_iter = True, first


def _ends(trainer: L.Trainer) -> bool:
    max_steps, max_epochs = trainer.max_steps, trainer.max_epochs
    out_of_steps = max_steps != -1 and trainer.global_step >= max_steps
    out_of_epochs = max_epochs not in (None, -1) and trainer.current_epoch + 1 >= max_epochs
    return out_of_steps or out_of_epochs or (trainer.should_stop and trainer.fit_loop._can_stop_early)
