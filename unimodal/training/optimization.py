"""From a model to its optimizer and schedule."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from unimodal.backbone.transformer import Transformer


class Pace(NamedTuple):
    """How a parameter learns beside the schedule.

    Attributes:
        first_step: before it the learning rate is 0. The optimizer's moments are gathered all the same.
        factor: of the learning rate.
    """

    first_step: int = 0
    factor: float = 1.0


def same_pace(name: str) -> Pace:
    """All parameters learn alike."""
    return Pace()


@dataclass(frozen=True)
class Optimization:
    """What a task's `configure_optimizers` calls.

    Attributes:
        optimizer: from parameter groups to an optimizer.
        schedule: from (step, num_steps) to the factor of the learning rate.
        num_steps: of the whole run. We count them ourselves: Lightning's estimate drops a restored loader's
            state.
        pace: of a parameter, by its name.
    """

    optimizer: Callable[[list[dict[str, Any]]], Optimizer]
    schedule: Callable[..., float]
    num_steps: int
    pace: Callable[[str], Pace] = same_pace

    def __call__(self, module: nn.Module) -> dict[str, Any]:
        """Lightning's form: an optimizer and a schedule that moves every step."""
        hidden = hidden_matrices(module) if separates_hidden(self.optimizer) else set()
        optimizer = self.optimizer(parameter_groups(module, self.pace, hidden))
        for group in optimizer.param_groups:
            group["lr"] *= group["factor"]
        scheduler = LambdaLR(optimizer, self.factors(optimizer))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def factors(self, optimizer: Optimizer) -> list[Callable[[int], float]]:
        """Return for each group of parameters the factor of its learning rate at a step."""
        return [self._factor(group["first_step"]) for group in optimizer.param_groups]

    @property
    def is_stable_first(self) -> bool:
        """Whether the learning rate stays constant before it decays, as that of `schedules.wsd`."""
        return bool(getattr(self.schedule, "keywords", {}).get("decay"))

    def decaying_from(self, step: int) -> int | None:
        """Return the number of steps of a run whose schedule decays from `step` on, at most `num_steps`.

        None where the learning rate of this run is not constant there, because it warms up or decays.
        """
        if self.schedule(step, num_steps=self.num_steps) < 1:
            return None
        for num_steps in range(step + 1, self.num_steps):
            before, after = (self.schedule(s, num_steps=num_steps) for s in (step, step + 1))
            if after < before == 1:
                return num_steps
        return None

    def _factor(self, first_step: int) -> Callable[[int], float]:
        return lambda step: self.schedule(step, num_steps=self.num_steps) if step >= first_step else 0.0


def separates_hidden(optimizer: Callable) -> bool:
    """Whether an optimizer's class, or a partial call of it, wants hidden matrices in groups of their own."""
    return getattr(getattr(optimizer, "func", optimizer), "separate_hidden", False)


def hidden_matrices(module: nn.Module) -> set[int]:
    """The ids of the weights of the linear layers within the blocks of the backbones."""
    backbones = [m for m in module.modules() if isinstance(m, Transformer)]
    linears = (m for backbone in backbones for m in backbone.blocks.modules() if isinstance(m, nn.Linear))
    return {id(linear.weight) for linear in linears}


def options_of_modules(module: nn.Module) -> dict[int, dict[str, float]]:
    """By id of a parameter, the `optimizer_options` of its module, such as {"factor": 2.0, "eps": 1e-3}.

    `factor` multiplies the learning rate; all else is for the optimizer.
    """
    asking = [(m, getattr(m, "optimizer_options", None)) for m in module.modules()]
    return {id(p): options for m, options in asking if options for p in m.parameters(recurse=False)}


def parameter_groups(
    module: nn.Module, pace: Callable[[str], Pace] = same_pace, hidden: Collection[int] = ()
) -> list[dict[str, Any]]:
    """For each pace two groups: weights of linear and convolutional layers, which decay, and all else.

    The parameters of a module with `optimizer_options` are groups of their own.
    A group with `hidden=True` has the weights whose ids are in `hidden`, if there are any.

    The groups that learn from the start and fastest come first. Weight decay would pull norms to zero, and
    embeddings of rare tokens more than those of frequent ones. A weight that an embedding and a head share
    counts as an embedding. Frozen parameters are left out.
    """
    shared = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    matrices = {
        id(m.weight)
        for m in module.modules()
        if isinstance(m, nn.Linear | _ConvNd) and id(m.weight) not in shared
    }
    own = options_of_modules(module)
    by_pace: dict[Pace, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            by_pace.setdefault(pace(name), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for one, trained in sorted(by_pace.items(), key=lambda item: (item[0].first_step, -item[0].factor)):
        decayed = [p for p in trained if id(p) in matrices and id(p) not in hidden]
        others = [p for p in trained if id(p) not in matrices and id(p) not in own]
        groups += [{"params": decayed, **one._asdict()}]
        groups += [{"params": others, "weight_decay": 0.0, **one._asdict()}]
        for parameter in (p for p in trained if id(p) in own):
            options = own[id(parameter)]
            factor = one.factor * options.get("factor", 1.0)
            groups += [
                {"params": [parameter], "weight_decay": 0.0, **one._asdict(), **options, "factor": factor}
            ]
        if chosen := [p for p in trained if id(p) in hidden]:
            groups += [{"params": chosen, "hidden": True, **one._asdict()}]
    return groups


def count_steps(
    batches: int, accumulate: int, max_epochs: int | None, max_steps: int, limit: int | float | None = None
) -> int:
    """Optimizer steps of a run.

    Args:
        batches: of one epoch.
        accumulate: batches a step.
        max_epochs: None or -1 for no limit.
        max_steps: -1 for no limit.
        limit: Lightning's `limit_train_batches`, a number or a share.

    Raises:
        ValueError: if the run would never end.
    """
    if isinstance(limit, float):
        batches = int(batches * limit)
    elif limit is not None:
        batches = min(batches, limit)
    by_epochs = -(-batches // accumulate) * max_epochs if max_epochs is not None and max_epochs >= 0 else None
    limits = [n for n in (by_epochs, max_steps if max_steps >= 0 else None) if n is not None]
    if not limits:
        raise ValueError("the run would never end; set trainer.max_epochs or trainer.max_steps.")
    return min(limits)
