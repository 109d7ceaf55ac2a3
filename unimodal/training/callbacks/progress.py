"""What a run shows while it goes on: a bar on a terminal, a line a validation elsewhere."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar

from unimodal.training.console import say

SHORT = {"train/samples_per_second": "samples/s", "train/tokens_per_second": "tokens/s"}


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, with short names and without the version."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        """The figures at the end of the bar."""
        return shown_figures(trainer)


class ProgressLines(L.Callback):
    """One line after each validation, for logs and pipes."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        figures = "  ".join(f"{name} {value}" for name, value in shown_figures(trainer).items())
        step = str(trainer.global_step) + f"/{trainer.max_steps}" * (trainer.max_steps > 0)
        say(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  step {step}  {figures}")


def shown_figures(trainer: L.Trainer) -> dict[str, str]:
    """Loss, the monitored figure and the rates, as text."""
    figures = {}
    for name, value in trainer.progress_bar_metrics.items():
        if name == "v_num":
            continue
        rate = name in SHORT
        figures[SHORT.get(name, name)] = f"{value:,.0f}" if rate else f"{value:.4g}"
    return figures
