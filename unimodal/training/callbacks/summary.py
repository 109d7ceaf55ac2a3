"""What the model is made of, before training."""

from typing import cast

import lightning as L

from unimodal.tasks.base import Task
from unimodal.training.console import say, table


class Summary(L.Callback):
    """One line a part: trained and all parameters."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        rows = {}
        model = cast(Task, pl_module).model
        parts = {**dict(model.tokenizers.items()), "backbone": model.backbone}
        parts["head"] = pl_module
        counted: set[int] = set()
        for name, part in parts.items():
            own = [p for p in part.parameters() if id(p) not in counted]
            counted.update(id(p) for p in own)
            size, trained = sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)
            rows[name] = f"{size:>13,} parameters" + ("" if trained == size else f", {trained:,} trained")
        device, precision = trainer.strategy.root_device, trainer.precision
        rows["on"] = f"{trainer.world_size} x {device.type}, {precision}"
        say(table(rows))
