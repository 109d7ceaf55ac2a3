"""Saves the state of torch's random numbers, which Lightning does not: dropout goes on where it stopped."""

from typing import Any

import lightning as L
import torch


class RandomState(L.Callback):
    """Puts torch's generators of this process into the checkpoint and takes them out again.

    Order and augmentation of the data need none of this: they are pure functions of (seed, epoch, index).
    """

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Called by Lightning."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        checkpoint["random_state"] = {"cpu": torch.get_rng_state(), "cuda": cuda}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Called by Lightning."""
        state = checkpoint.get("random_state")
        if state is None:
            return
        torch.set_rng_state(state["cpu"].cpu())
        if len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
