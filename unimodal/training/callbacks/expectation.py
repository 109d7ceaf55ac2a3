"""What a run will take, printed once after its first steps."""

import sys
import time
from typing import Any

import lightning as L
import torch

from unimodal.training.console import say

SKIPPED, MEASURED = 5, 15  # optimizer steps: the first ones compile kernels and fill caches
SHORT_EPOCH = 40  # steps; such an epoch is skipped as a whole, because the first one decodes the data
MIN_SECONDS = 30.0  # of a run that is worth a line


class Expectation(L.Callback):
    """Prints the duration, tokens and memory to expect of the rest of a run, once, after its first steps.

    Validation is timed apart; a GPU is waited for twice in all.
    """

    def __init__(self) -> None:
        self.begin = self.start = self.validation_start = time.monotonic()
        self.first: int | None = None  # the step from whose end on time is taken; None before and afterwards
        self.num_batches = self.num_tokens = 0  # since then
        self.paused = 0.0  # seconds of validation since then
        self.validation: float | None = None  # seconds of the last one

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        per_epoch = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
        skipped = per_epoch if SKIPPED < per_epoch <= SHORT_EPOCH else SKIPPED
        self.begin, self.first = time.monotonic(), trainer.global_step + skipped

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        self.validation_start = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        if not trainer.sanity_checking:
            self.validation = time.monotonic() - self.validation_start
            self.paused += self.validation

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning."""
        step = trainer.global_step
        if self.first is None or step < self.first:
            return
        if self.num_batches == 0:
            _wait(trainer)
            self.start, self.paused = time.monotonic(), 0.0
        else:
            self.num_tokens += outputs["num_tokens"]
        self.num_batches += 1
        if step >= self.first + MEASURED and self.num_batches > 1:
            _wait(trainer)
            self.first = None
            self._report(trainer, pl_module)

    def _report(self, trainer: L.Trainer, pl_module: Any) -> None:
        now, measured = time.monotonic(), self.num_batches - 1
        batch_seconds = (now - self.start - self.paused) / measured
        steps = pl_module.optimization.num_steps - trainer.lr_scheduler_configs[0].scheduler.last_epoch
        num_batches = steps * trainer.accumulate_grad_batches
        num_validations = _num_validations(trainer, num_batches)
        seconds = num_batches * batch_seconds + num_validations * (self.validation or 0.0)
        if steps <= 0 or now - self.begin + seconds < MIN_SECONDS:
            return
        tokens = trainer.world_size * self.num_tokens / measured
        without = ", without validation" * (num_validations > 0 and self.validation is None)
        say(
            f"expected: {steps:,} more steps in about {_duration(seconds)}{without} "
            f"({batch_seconds * trainer.accumulate_grad_batches:.2g} s a step), "
            f"{_large(tokens * num_batches)} tokens ({_large(tokens / batch_seconds)} a second)"
            + _memory(trainer)
        )


def _wait(trainer: L.Trainer) -> None:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize(trainer.strategy.root_device)


def _num_validations(trainer: L.Trainer, num_batches: int) -> float:
    """Of so many training batches, and one of the best weights behind them."""
    if not trainer.enable_validation:
        return 0
    interval = trainer.val_check_batch or trainer.num_training_batches
    return num_batches / (interval * (trainer.check_val_every_n_epoch or 1)) + 1


def _memory(trainer: L.Trainer) -> str:
    """The most that this process has taken so far, on the GPU or of the machine's memory."""
    device = trainer.strategy.root_device
    if device.type == "cuda":
        size = torch.cuda.max_memory_allocated(device)
    elif sys.platform == "win32":  # has no resource module
        return ""
    else:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return f", {size / 2**30:.1f} GiB of memory" + " a process" * (trainer.world_size > 1)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _large(number: float) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
