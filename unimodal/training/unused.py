"""The no-hang rule: what no task uses does not learn, and processes wait for nothing that never comes."""

from collections.abc import Iterable
from typing import Any

import torch

from unimodal.data.datamodule import DataModule
from unimodal.data.joint_datamodule import JointDataModule
from unimodal.tasks.learner import Learner
from unimodal.training.build import Config
from unimodal.training.console import say

SHOWN = 3


def hold(learner: Learner, config: Config, data: DataModule | JointDataModule, world_size: int) -> None:
    """Freeze what a frozen source owns, and what nothing uses, where several parts or processes meet.

    Args:
        learner: on the CPU, as it will be trained.
        config: complete, of the run.
        data: what it trains on.
        world_size: number of processes.
    """
    for name, node in (config.get("mix") or {}).items():
        if node["frozen"]:
            own = learner.by_source[name]
            shared = {id(p) for p in own.model.backbone.parameters()}
            for parameter in own.parameters():
                parameter.requires_grad_(parameter.requires_grad and id(parameter) in shared)
            if node["weight"] and not any(parameter.requires_grad for parameter in own.parameters()):
                raise ValueError(f"nothing of {name} learns; set mix.{name}.weight=0: it is still validated.")
    if config.get("mix") or config.get("beside") or world_size > 1:
        freeze_unused(learner, data.first_batches())


def freeze_unused(learner: Learner, batches: Iterable[Any]) -> list[str]:
    """Freeze the parameters that get no gradient from any of the batches, with a printed notice.

    DDP would wait for their gradients, weight decay would shrink them, and a table of what learns would lie.

    Args:
        learner: on the CPU, as it will be trained.
        batches: at least one of each kind that training will see.

    Returns:
        The names of the parameters that were frozen.
    """
    trained = {name: p for name, p in learner.named_parameters() if p.requires_grad}
    mode = learner.training
    learner.train()
    with torch.random.fork_rng(devices=[]):
        for batch in batches:
            _loss(learner(batch)).backward()
    learner.train(mode)
    unused = [name for name, parameter in trained.items() if parameter.grad is None]
    for parameter in trained.values():
        parameter.grad = None
    for name in unused:
        trained[name].requires_grad_(False)
    if unused:
        more = f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else ""
        say(f"frozen, for no task uses them: {', '.join(unused[:SHOWN])}{more}")
    return unused


def _loss(output: Any) -> torch.Tensor:
    outputs = output.values() if isinstance(output, dict) else [output]
    return sum((one.loss for one in outputs), torch.zeros(()))
