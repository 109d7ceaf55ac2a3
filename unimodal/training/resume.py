"""A run that goes on in its folder: what may have changed since, what then happens, and what is refused.

The config in the checkpoint is compared with the new one before anything is trained. Keys of `FREE` may
change and take effect; any other change is refused unless `resume_allow` names it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.lr_scheduler import LambdaLR

from unimodal.data.loader import batches_done
from unimodal.tasks.learner import Learner
from unimodal.training import checkpoints
from unimodal.training.callbacks.checkpointing import BestCheckpoint
from unimodal.training.callbacks.early_stopping import SmoothedEarlyStopping
from unimodal.training.config_differences import MISSING, differences, shown
from unimodal.training.console import say
from unimodal.training.optimization import Optimization

Config = dict[str, Any]

FREE = (
    "optimizer",
    "scheduler",
    "trainer",
    "callbacks",
    "logger",
    "output",
    "command",
    "compile",
    "baseline",
    "min_steps",
    "resume_allow",
    "debug",
    "pretrain.callbacks",
    "block",  # what it decides stands in backbone and tokenizer
    "loader.batch_size",
    "loader.eval_batch_size",
    "loader.num_workers",
    "loader.pin_memory",
    "loader.max_tokens",
    "loader.max_row_tokens",
    "loader.pack",
    "data.path",  # the data itself is compared by its content
    "data.root",
    "data.cache_gib",
    "data.allow_changed",
    "data.allow_outside_root",
)
BATCHES = (
    "loader.batch_size",
    "loader.max_tokens",
    "loader.max_row_tokens",
    "loader.pack",
    "trainer.devices",
)
QUIET = ("command", "output", "resume_allow", "block", "baseline")
CAUSES = ("seed", "backbone", "data")  # from which other keys are often taken
BOUND = ("trainer.overfit_batches", "trainer._target_", "optimizer._target_")  # of these, what may not
SOURCE = re.compile(r"mix\.[^.]+\.(loader|data)\.")
PROGRESS = ("ready", "started", "processed", "completed")


def go_on(last: Path | None, complete: Config, task: Learner, data: Any, trainer: L.Trainer) -> None:
    """Make an interrupted run go on as its new config says: where it is, how fast it learns, when it ends.

    Args:
        last: its checkpoint; None for a new run.
        complete: the new config, with what the data filled in.
        task: built from it, with the optimization that it asks for.
        data: the data module, whose training loader was made once.
        trainer: of the new config.

    Raises:
        ValueError: naming the keys that may not change, weights that do not fit, or a length that the run has
            passed already.
    """
    if last is None:
        return
    checkpoints.check_strategy(last, trainer)
    state = checkpoints.read_state(last)
    changed, accepted = _check_config(last, state, complete, task)
    place = _Place.read(state, data, trainer.accumulate_grad_batches)
    done = {"max_epochs": place.epoch, "max_steps": int(state["global_step"])}
    for key, limit in (("max_epochs", trainer.max_epochs), ("max_steps", trainer.max_steps)):
        if limit is not None and 0 <= limit < done[key]:
            raise ValueError(
                f"trainer.{key}={limit} is less than the {done[key]} that the run in {last.parent.parent} "
                "has done; raise it."
            )
    for line in changed:
        say(line)
    optimization = task.optimization
    assert isinstance(optimization, Optimization)
    task.optimization = replace(optimization, num_steps=place.last_step(trainer, done["max_steps"]))
    constants = _constants(task) if accepted else {}
    trainer.callbacks.append(_GoOn(place, constants, bool(accepted)))  # type: ignore[attr-defined]  # set by a connector


def _check_config(
    last: Path, state: Mapping[str, Any], complete: Config, task: Learner
) -> tuple[list[str], list[str]]:
    """Raise ValueError for what may not change; return lines on what changed, and keys of `resume_allow`."""
    saved, allow = state["unimodal"]["config"], complete.get("resume_allow") or []
    causes_first = sorted(differences(saved, complete), key=lambda found: not _within(found[0], CAUSES))
    changed = {key: values for key, *values in causes_first if not _is_new_and_off(*values)}
    bound = {key: values for key, values in changed.items() if not _is_free(key, _has_units(state))}
    refused = {key: values for key, values in bound.items() if not _within(key, allow)}
    if refused:
        raise ValueError(_refusal(refused, last, allow))
    if bound:
        _check_weights(last, task, list(bound))
    lines = [
        f"resumed with {key}={shown(new)}, which was {shown(old)}"
        for key, (old, new) in changed.items()
        if not _within(key, QUIET) and str(old).replace(str(saved["output"]), complete["output"]) != new
    ]
    return lines, list(bound)


def _is_new_and_off(old: Any, new: Any) -> bool:
    """Whether the key is one that the version of the interrupted run did not have, and is not used."""
    return old is MISSING and not new


def _constants(task: Learner) -> dict[str, Tensor]:
    """The buffers that follow from the config, such as tokenizer.mean; a checkpoint has those of its own."""
    counted = [module for module in task.modules() if isinstance(module, _NormBase)]
    gathered = {id(buffer) for module in counted for buffer in module.buffers()}
    return {name: buffer.clone() for name, buffer in task.named_buffers() if id(buffer) not in gathered}


@dataclass(frozen=True)
class _Place:
    """Where a run stands, counted in the steps of its new config.

    Attributes:
        epoch: that it is in.
        batches: of it that count as handed out.
        position: in the schedule.
        length: batches of an epoch.
        accumulate: batches of a step.
        moved: whether a step or an epoch is not what it was.
    """

    epoch: int
    batches: int
    position: int
    length: int
    accumulate: int
    moved: bool

    @classmethod
    def read(cls, state: Mapping[str, Any], data: Any, accumulate: int) -> "_Place":
        """From a checkpoint, for the loader of the new config."""
        units: Mapping[str, int] = data.train_loader.units
        loader: Mapping[str, Any] = state.get(type(data).__qualname__) or {"epoch": 0, "batches": 0}
        before = state["unimodal"]["config"]["trainer"]["accumulate_grad_batches"]
        moved = before != accumulate or any(loader.get(key, one) != one for key, one in units.items())
        epoch, batches, length = loader["epoch"], batches_done(loader, **units), units["length"]
        position = int(state["lr_schedulers"][0]["last_epoch"])
        if moved:
            position = epoch * math.ceil(length / accumulate) + batches // accumulate
        return cls(epoch, batches, position, length, accumulate, moved)

    def last_step(self, trainer: L.Trainer, steps: int) -> int:
        """The position at which the run ends, at its number of epochs or of steps."""
        ends = []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            ends.append(trainer.max_epochs * math.ceil(self.length / self.accumulate))
        if trainer.max_steps >= 0:
            ends.append(self.position + trainer.max_steps - steps)
        return max(min(ends), 1)


class _GoOn(L.Callback):
    """Replaces what Lightning restores from the checkpoint although the config says otherwise by now.

    Args:
        place: where the run stands.
        constants: buffers that keep the values of the new config.
        anew: metrics do not compare with those of the old config.
    """

    def __init__(self, place: _Place, constants: Mapping[str, Tensor], anew: bool):
        self.place, self.constants, self.anew = place, constants, anew

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Called by Lightning, before it restores its loops and callbacks."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if self.place.moved:
            _move(
                checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"],
                checkpoint,
                self.place,
            )
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, EarlyStopping) and callback.state_key in checkpoint["callbacks"]:
                stopping = checkpoint["callbacks"][callback.state_key]
                stopping["patience"] = callback.patience
                if stopping.get("num_steps") and self.place.moved:
                    before = int(checkpoint["lr_schedulers"][0]["last_epoch"])
                    stopping["num_steps"] = round(
                        stopping["num_steps"] * self.place.position / max(before, 1)
                    )
        for callback in (one for one in callbacks if isinstance(one, BestCheckpoint)):
            if self.anew or callback.state_key not in checkpoint["callbacks"]:  # or by another metric
                checkpoint["callbacks"].pop(callback.state_key, None)
                if trainer.is_global_zero:
                    callback.set_aside()
        averaged = any(isinstance(callback, WeightAveraging) for callback in callbacks)
        if "current_model_state" in checkpoint and not averaged:  # state_dict is the average
            pl_module.load_state_dict(checkpoint["current_model_state"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Called by Lightning, after it has restored weights, optimizer and schedule."""
        for name, buffer in pl_module.named_buffers():
            if name in self.constants:
                buffer.copy_(self.constants[name])
        fresh: Any = pl_module.configure_optimizers()
        [optimizer], scheduler = trainer.optimizers, trainer.lr_scheduler_configs[0].scheduler
        assert isinstance(scheduler, LambdaLR)
        for group, wanted in zip(optimizer.param_groups, fresh["optimizer"].param_groups, strict=True):
            group.update({key: value for key, value in wanted.items() if key != "params"})
        scheduler.base_lrs = list(fresh["lr_scheduler"]["scheduler"].base_lrs)
        scheduler.last_epoch = self.place.position
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in (one for one in callbacks if isinstance(one, SmoothedEarlyStopping)):
            callback.shorten(trainer, pl_module)
        rates = [
            rate * factor(scheduler.last_epoch)
            for rate, factor in zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        ]
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        scheduler._last_lr = rates


def _move(current: dict[str, int], checkpoint: Mapping[str, Any], place: _Place) -> None:
    """Lightning counts the batches of the epoch too; a finished epoch stays finished."""
    state = next(state for name, state in checkpoint.items() if name.endswith("DataModule"))
    finished = state["batches"] == 0 and current["ready"] > 0
    shift = (place.length if finished else place.batches) - current["ready"]
    for key in PROGRESS:
        current[key] += shift


def _has_units(state: Mapping[str, Any]) -> bool:
    """Whether the loader's state tells what a batch was; before version 0.11 it did not."""
    return any("length" in (state.get(name) or {}) for name in ("DataModule", "JointDataModule"))


def _is_free(key: str, batches: bool) -> bool:
    plain = SOURCE.sub(r"\1.", key)
    return _within(plain, FREE) and not _within(plain, BOUND if batches else BOUND + BATCHES)


def _within(key: str, keys: Iterable[str]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def _refusal(refused: Mapping[str, list[Any]], last: Path, allow: Iterable[str]) -> str:
    key, (old, new) = next(iter(refused.items()))
    others = [name for name in refused if name != key]
    more = f" ({', '.join(others)} changed too)" if others else ""
    return (
        f"{key}={shown(new)}, but the interrupted run in {last.parent.parent} has {key}={shown(old)}"
        f"{more}. Set {key} as it was to go on, start a new run with another output=DIR, or accept the "
        f"change with 'resume_allow=[{','.join([*allow, *refused])}]'."
    )


def _check_weights(last: Path, task: Learner, allowed: list[str]) -> None:
    """Raise where the accepted changes give a model that the saved weights do not fit."""
    saved = checkpoints.weights(last)
    own = task.state_dict()
    for name in dict.fromkeys([*own, *saved]):
        shapes = [tuple(weights[name].shape) if name in weights else None for weights in (saved, own)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"resume_allow cannot accept {', '.join(allowed)}: {name} has the shape {shapes[0]} in "
                f"{last} and {shapes[1]} now. Start a new run with another output=DIR, from these weights "
                f"with pretrained={last.parent.parent}."
            )
