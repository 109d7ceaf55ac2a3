"""Several tasks on one backbone, or each on its own, learned in one run."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task, num_computed
from unimodal.tasks.learner import NOTHING, Learner
from unimodal.types import Batch

Step = dict[str, Batch]


class Joint(Learner):
    """The tasks of several sources; their losses are added where a step has batches of several.

    The loss of a source in a micro-batch is the mean over its targets in all processes, times its weight. A
    step takes the mean over its micro-batches, so that sources with many targets do not outweigh others.

    A backbone that all tasks share is one module with one name, `backbone`, in parameters and checkpoints;
    what is a source's own is under `tasks.SOURCE`.

    Args:
        tasks: by the name of their source.
        loss_weights: of each source's loss in the sum, and in `val/loss`.
    """

    def __init__(self, tasks: Mapping[str, Task], loss_weights: Mapping[str, float]):
        super().__init__()
        backbones = list({id(task.model.backbone): task.model.backbone for task in tasks.values()}.values())
        self.shared = len(backbones) == 1 and len(tasks) > 1
        if self.shared:
            self.backbone = backbones[0]  # before the tasks, so that this is its name
            self.register_state_dict_post_hook(_drop_aliases)
            self.register_load_state_dict_pre_hook(_add_aliases)
        self.tasks, self.loss_weights = nn.ModuleDict(tasks), dict(loss_weights)
        self._source_sums: dict[str, Tensor] = {}  # [2] each: total and count in the micro-batches of a step

    @property
    def models(self) -> list[Unimodal]:
        """One a source."""
        return [task.model for task in self.by_source.values()]

    @property
    def metric_modes(self) -> dict[str, str]:  # type: ignore[override]  # read only
        """`min` or `max` of the metrics of all sources, by `SOURCE/name`."""
        return {
            f"{name}/{metric}": mode
            for name, task in self.by_source.items()
            for metric, mode in {"loss": "min", **task.metric_modes}.items()
        }

    @property
    def by_source(self) -> dict[str, Task]:
        """The tasks."""
        return {name: cast(Task, task) for name, task in self.tasks.items()}

    def forward(self, batch: Step, count: bool = False) -> dict[str, Output]:
        """Each source's output; or, to `count` it in validation, nothing.

        Both go through here because FSDP2 gathers parameters in a module's `forward` only.
        """
        if not count:
            return {name: self.tasks[name](one) for name, one in batch.items()}
        for name, one in batch.items():
            self.by_source[name].count(one)
        return {}

    def training_step(self, batch: Step, batch_idx: int) -> dict[str, Any]:
        """Return the loss of one micro-batch, and how much was read."""
        outputs = self(batch)
        loss = self.step_loss(self._weighted(outputs), torch.ones((), device=self.device))
        if self.device_mesh is not None:
            loss = loss + sum(self.by_source[name].touch() for name in batch)
        num_samples = sum(len(output.tokens.mask) for output in outputs.values())
        num_tokens = sum(num_computed(output, batch[name]) for name, output in outputs.items())
        return {"loss": loss, "num_samples": num_samples, "num_tokens": num_tokens}

    def _weighted(self, outputs: Mapping[str, Output]) -> Tensor:
        """Return the weighted sum of the losses; processes, of which a step takes the mean, share each."""
        totals = torch.stack([output.loss * output.count for output in outputs.values()])
        counts = torch.stack([output.count.detach().float() for output in outputs.values()])
        reduced = self.trainer.strategy.reduce(torch.stack((totals.detach(), counts)), reduce_op="sum")
        for name, sums in zip(outputs, reduced.unbind(1), strict=True):
            self._source_sums[name] = self._source_sums[name] + sums if name in self._source_sums else sums
        count = reduced[1].clamp_min(NOTHING)
        weights = torch.tensor([self.loss_weights[name] for name in outputs], device=self.device)
        return (weights * totals / count).sum() * self.trainer.world_size

    def _close_step(self) -> Tensor:
        """Log the mean loss of each source in the step too."""
        for name, (total, count) in self._source_sums.items():
            self.log(f"train/{name}/loss", total / count.clamp_min(NOTHING))
        self._source_sums = {}
        return super()._close_step()

    def on_validation_epoch_start(self) -> None:
        """Each task forgets the validation before."""
        for task in self.by_source.values():
            task.on_validation_epoch_start()

    def validation_step(self, batch: Step, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Each source counts its own."""
        self(batch, count=True)

    def on_validation_epoch_end(self) -> None:
        """Log each source's figures as `val/SOURCE/...`, and the weighted mean of their losses."""
        total = sum(self.loss_weights.values())
        mean: Any = 0.0
        for name, task in self.by_source.items():
            figures = task.figures()
            mean = mean + self.loss_weights[name] / total * figures["loss"]
            for key, value in figures.items():
                self.log(f"val/{name}/{key}", value, prog_bar=f"val/{key}" == task.monitor)
        self.log("val/loss", mean)

    def samples(self) -> list[str]:
        """Those of each task, under the name of its source."""
        return [f"{name}: {line}" for name, task in self.by_source.items() for line in task.samples()]


def _is_alias(name: str) -> bool:
    return name.startswith("tasks.") and name.split(".")[2:4] == ["model", "backbone"]


def _drop_aliases(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """The shared backbone is saved once."""
    for name in [name for name in state if name.startswith(prefix) and _is_alias(name[len(prefix) :])]:
        del state[name]


def _add_aliases(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    own = {name: value for name, value in state.items() if name.startswith(f"{prefix}backbone.")}
    for source in cast(Joint, module).tasks:
        for name, value in own.items():
            state[f"{prefix}tasks.{source}.model.{name[len(prefix) :]}"] = value
