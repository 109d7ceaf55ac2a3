"""Writes a few of the task's outputs after each validation, to look at."""

from pathlib import Path
from typing import cast

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from unimodal.tasks.learner import Learner
from unimodal.training.console import say


class Samples(L.Callback):
    """Files `samples/step-N.txt` in the run folder; shown on the console and in TensorBoard too.

    Args:
        shown: characters of the first sample on the console after each validation; 0 shows none.
    """

    def __init__(self, shown: int = 160) -> None:
        self.shown = shown

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning. Every process makes the samples: under FSDP2 each holds but a shard."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        samples = cast(Learner, pl_module).samples()
        if not samples or not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join(samples) + "\n"
        (folder / f"step-{trainer.global_step:06d}.txt").write_text(text, encoding="utf-8")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_text("samples", text, trainer.global_step)
        if self.shown:
            say(f"  sample: {samples[0][: self.shown]!r}")
