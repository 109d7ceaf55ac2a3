"""An exponential moving average of the weights, which is what a run then yields (arXiv 1703.01780)."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy
from torch import Tensor


class AverageWeights(WeightAveraging):
    """Validation, samples and checkpoints (`state_dict`) take the average; training goes on with its own.

    Lightning's EMAWeightAveraging, but for three things: there the average stays in the callback and takes
    the place of whatever is validated after training, such as the best checkpoint; what is frozen or constant
    drifts by rounding (`a * x + (1 - a) * x` is not x); and a short run remembers how it began.

    Args:
        decay: share of the average that a step keeps; after n steps at most (1 + n) / (10 + n).
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} is not in [0, 1).")
        super().__init__(use_buffers=False, multi_avg_fn=self._average)
        self.decay, self.swapped = decay, False

    def _average(self, averaged: list[Tensor], current: list[Tensor], num_averaged: Tensor) -> None:
        """Called by torch's AveragedModel, which copies the first weights."""
        num = int(num_averaged)
        keep = min(self.decay, (1 + num) / (10 + num))
        for mean, value in zip(averaged, current, strict=True):
            mean.lerp_(value, 1 - keep)  # exactly the same where both are

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Called by Lightning.

        Raises:
            ValueError: under FSDP, where no process has whole weights.
        """
        if isinstance(trainer.strategy, ModelParallelStrategy | FSDPStrategy):
            raise ValueError(
                "callbacks=ema averages whole weights, trainer=fsdp shards them; use trainer=ddp."
            )
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            self._average_model.to(trainer.strategy.root_device)  # the model itself goes there later

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Called by Lightning. What is validated from now on is a checkpoint."""
        self._average_model = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Not yet: samples are taken after this."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning, before it saves."""
        if self.swapped:
            self._swap_models(pl_module)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Called by Lightning: whoever saves now shall not take one for the other."""
        self.on_validation_end(trainer, pl_module)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Called by Lightning, for the final validation too, which needs no average."""
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _swap_models(self, pl_module: L.LightningModule) -> None:
        super()._swap_models(pl_module)
        self.swapped = not self.swapped
