"""Says what an interruption by the keyboard leaves behind."""

from pathlib import Path

import lightning as L

from unimodal.training.console import say


class Interruption(L.Callback):
    """Prints how a run that is interrupted can continue.

    Args:
        last: the checkpoint that the run would continue from.
    """

    def __init__(self, last: Path):
        self.last = last

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Print how to continue; Lightning then ends the process."""
        if not isinstance(exception, KeyboardInterrupt):
            return
        step, folder = f"interrupted at step {trainer.global_step:,}", self.last.parent.parent
        if self.last.exists():
            say(f"{step}; the same command with output={folder} continues from {self.last.name}")
        else:
            say(f"{step}; nothing is saved before the first validation, so the run starts again from step 0")
