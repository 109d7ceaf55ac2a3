"""What the model is made of, before training."""

from typing import cast

import lightning as L
from torch import nn

from unimodal.tasks.learner import Learner
from unimodal.training.console import say, table


class Summary(L.Callback):
    """One line a part: trained and all parameters."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        rows = {}
        parts = _parts(cast(Learner, pl_module))
        counted: set[int] = set()
        for name, part in parts.items():
            own = [p for p in part.parameters() if id(p) not in counted]
            counted.update(id(p) for p in own)
            size, trained = sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)
            rows[name] = f"{size:>13,} parameters" + ("" if trained == size else f", {trained:,} trained")
        device, precision = trainer.strategy.root_device, trainer.precision
        rows |= _split(trainer)
        rows["on"] = f"{trainer.world_size} x {device.type}, {precision}"
        say(table(rows))


def _split(trainer: L.Trainer) -> dict[str, str]:
    """How many parameters an optimizer updates in which way, where there are several ways."""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    hidden = [p for group in groups if group.get("hidden") for p in group["params"]]
    if not hidden:
        return {}
    others = sum(p.numel() for group in groups if not group.get("hidden") for p in group["params"])
    size = sum(p.numel() for p in hidden)
    return {"optimizer": f"Muon for {len(hidden)} matrices ({size:,} parameters), AdamW for {others:,}"}


def _parts(learner: Learner) -> dict[str, nn.Module]:
    """Backbones and tokenizers by name, then all else; in joint training the sources are named."""
    named = {id(module): name for name, module in learner.named_modules()}
    parts: dict[str, nn.Module] = {}
    for model in learner.models:
        parts |= {_short(named[id(model.backbone)]): model.backbone}
        parts |= {_short(named[id(one)]): one for one in model.tokenizers.values()}
    return parts | {"head" if len(learner.models) == 1 else "heads": learner}


def _short(name: str) -> str:
    """`tasks.photos.model.tokenizers.image` -> `photos image`, `model.backbone` -> `backbone`."""
    return " ".join(part for part in name.split(".") if part not in ("tasks", "model", "tokenizers"))
