"""How long a run is: more epochs where the data is small, and then fewer validations than epochs."""

from typing import Any

import lightning as L

from unimodal.training.console import say
from unimodal.training.optimization import count_steps

Config = dict[str, Any]

NUM_VALIDATIONS = 40  # of a lengthened run, at most; the best of more is a matter of luck on a small split


def lengthen(config: Config, num_batches: int, trainer: L.Trainer) -> None:
    """Give a run at least `min_steps` optimizer steps, by more epochs than `trainer.max_epochs`.

    `trainer.max_steps` still limits the run. The result depends on the config and the number of batches only,
    so that a run that goes on has the same length.

    Args:
        config: of the run; it stays as the user typed it.
        num_batches: of an epoch, before `trainer.limit_train_batches`.
        trainer: whose number of epochs and interval of validation are set.

    Raises:
        ValueError: if `min_steps` is negative.
    """
    node, wanted = config["trainer"], config.get("min_steps") or 0
    if wanted < 0:
        raise ValueError(f"min_steps={wanted} is negative; set min_steps to 0 or more optimizer steps.")
    if trainer.max_steps >= 0:
        wanted = min(wanted, trainer.max_steps)
    num_steps = steps_of(node, num_batches, 1)
    before = trainer.max_epochs
    if before is None or before < 0 or not num_steps or node["fast_dev_run"]:
        return
    epochs = -(-wanted // num_steps)
    if epochs <= before:
        return
    trainer.fit_loop.max_epochs = epochs
    interval = -(-epochs // NUM_VALIDATIONS) if _validates_each_epoch(node) else 1
    if interval > 1:
        trainer.check_val_every_n_epoch = interval
    say(
        f"{num_steps:,} step{'s' * (num_steps > 1)} per epoch: {epochs:,} epochs instead of {before:,}, so "
        f"that the run has at least {wanted:,} steps (min_steps)"
        + f", validated every {interval} epochs"
        * (interval > 1)
    )


def steps_of(node: Config, num_batches: int, max_epochs: int | None, max_steps: int = -1) -> int:
    """Return the optimizer steps of so many epochs, with the limits of the config's `trainer` node."""
    limit = node["overfit_batches"] or node["limit_train_batches"]
    return count_steps(num_batches, node["accumulate_grad_batches"], max_epochs, max_steps, limit)


def _validates_each_epoch(node: Config) -> bool:
    """Whether the user left it open how often the model is validated."""
    return node["check_val_every_n_epoch"] == "auto" and node["val_check_interval"] is None


def validation_interval(value: Any) -> int | None:
    """Return a number of epochs, or None where `trainer.val_check_interval` counts across epochs."""
    if value == "auto":
        return 1
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(
            f"trainer.check_val_every_n_epoch={value} is not a number of epochs; set it to 1 or "
            "more, or to auto."
        )
    return value
