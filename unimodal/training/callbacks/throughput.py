"""Samples and tokens per second of the whole loop: loading, transfer, forward, backward, step."""

import time
from typing import Any

import lightning as L


class Throughput(L.Callback):
    """Logs `train/samples_per_second` and `train/tokens_per_second`, of all processes together.

    Time is taken from the end of one training batch to the end of the next, so that waiting for data counts
    and validation does not. Padding counts where it is computed: not in packed rows.
    """

    def __init__(self) -> None:
        self.last: float | None = None
        self.seconds, self.samples, self.tokens = 0.0, 0, 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Validation may have come between."""
        self.last = None

    on_validation_end = on_train_epoch_start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning."""
        now = time.monotonic()
        if self.last is not None:
            self.seconds += now - self.last
            self.samples += outputs["num_samples"]
            self.tokens += outputs["num_tokens"]
        self.last = now
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning's connector
        if self.seconds and (batch_idx + 1) % every == 0:
            for name, rate in self.rates(trainer.world_size).items():
                pl_module.log(f"train/{name}", rate, prog_bar=True)

    def rates(self, world_size: int = 1) -> dict[str, float]:
        """The averages so far; empty before the second batch."""
        if not self.seconds:
            return {}
        return {
            "samples_per_second": world_size * self.samples / self.seconds,
            "tokens_per_second": world_size * self.tokens / self.seconds,
        }
