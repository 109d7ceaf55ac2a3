"""Ends a run whose metric no longer improves, after the learning rate has decayed."""

from dataclasses import replace
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from unimodal.training.console import say
from unimodal.training.optimization import Optimization


class SmoothedEarlyStopping(EarlyStopping):
    """Lightning's EarlyStopping on an exponential moving average of the metric over validations.

    With `decay=True` a run with a stable learning rate (`scheduler=wsd`) does not stop at once: the learning
    rate starts to decay, as in a shorter run, and the run ends when it has decayed. While the learning rate
    warms up or decays, the run does not stop. Other schedules stop at once.

    Args:
        monitor: the name of the metric.
        mode: whether `min` or `max` is better.
        smoothing: share of the average that a validation keeps; 0 is the metric itself.
        decay: see above.
        **options: of Lightning's EarlyStopping, such as `patience` (in validations) and `min_delta`.

    Raises:
        ValueError: if `smoothing` is not in [0, 1).
    """

    def __init__(
        self, monitor: str, mode: str = "min", smoothing: float = 0.6, decay: bool = True, **options: Any
    ):
        if not 0 <= smoothing < 1:
            raise ValueError(
                f"callbacks.early_stopping.smoothing={smoothing} is not in [0, 1); set it to 0 to monitor "
                "the metric itself."
            )
        super().__init__(monitor, mode=mode, **options)
        self.smoothing, self.decay = smoothing, decay
        self.average: float | None = None
        self.num_steps: int | None = None  # of the shortened schedule, once the learning rate decays

    @property
    def state_key(self) -> str:
        """Lightning's key for this state in a checkpoint, as that of EarlyStopping."""
        return super().state_key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def state_dict(self) -> dict[str, Any]:
        """Return Lightning's state, the average and the length of the shortened schedule."""
        return super().state_dict() | {"average": self.average, "num_steps": self.num_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; a checkpoint of Lightning's EarlyStopping has no average."""
        super().load_state_dict(state_dict)
        self.average, self.num_steps = state_dict.get("average"), state_dict.get("num_steps")

    def shorten(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Give schedule and trainer the length `num_steps`, if the learning rate decays already."""
        if self.num_steps is None:
            return
        optimization, scheduler = pl_module.optimization, trainer.lr_scheduler_configs[0].scheduler
        assert isinstance(optimization, Optimization) and isinstance(scheduler, LambdaLR)
        pl_module.optimization = replace(optimization, num_steps=self.num_steps)
        scheduler.lr_lambdas = pl_module.optimization.factors(scheduler.optimizer)
        end, limit = trainer.global_step + self.num_steps - scheduler.last_epoch, trainer.max_steps
        trainer.fit_loop.epoch_loop.max_steps = end if limit < 0 else min(end, limit)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        """Called by Lightning, with the metric of a validation."""
        if bool(torch.isfinite(current)):
            value = float(current)
            kept = value if self.average is None else self.average
            self.average = self.smoothing * kept + (1 - self.smoothing) * value
            current = torch.tensor(self.average)
        return super()._evaluate_stopping_criteria(current)

    def _run_early_stopping_check(self, trainer: L.Trainer) -> None:
        """Called by Lightning after each validation, or each epoch where the metric is one of training."""
        stops = trainer.should_stop
        super()._run_early_stopping_check(trainer)
        exhausted = self.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED
        if trainer.should_stop and not stops and exhausted and self._decays(trainer):
            trainer.should_stop, self.stopped_epoch = False, 0
            self.stopping_reason = EarlyStoppingReason.NOT_STOPPED

    def _decays(self, trainer: L.Trainer) -> bool:
        """Whether the schedule goes on instead of stopping; where it is stable, it starts to decay."""
        optimization: Any = trainer.lightning_module.optimization
        if not self.decay or not isinstance(optimization, Optimization) or not optimization.is_stable_first:
            return False
        position = trainer.lr_scheduler_configs[0].scheduler.last_epoch
        num_steps = optimization.decaying_from(position)
        if num_steps is not None:
            before, self.num_steps = optimization.num_steps, num_steps
            self.shorten(trainer, trainer.lightning_module)
            say(
                f"{self.monitor} has not improved for {self.wait_count} validations: the learning rate "
                f"decays from here, and the run has {num_steps:,} steps instead of {before:,}"
            )
        return True
