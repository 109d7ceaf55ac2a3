"""Logs the learning rate under a short name."""

from typing import Any

import lightning as L


class LearningRate(L.Callback):
    """Logs `train/lr` with the other figures of the step."""

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Called by Lightning."""
        pl_module.log("train/lr", trainer.optimizers[0].param_groups[0]["lr"])
