"""What of a checkpoint goes into a task, and why the rest does not."""

from dataclasses import dataclass, field

from torch import Tensor

from unimodal.tasks.base import Task
from unimodal.training.pretrained.origin import Origin


@dataclass
class Report:
    """Filled in part by part.

    Attributes:
        origin: the checkpoint.
        tensors: to be loaded, by name.
        partly: those of them with rows that the checkpoint did not have.
        reasons: for what is new: why, and the names that share the reason.
        notes: lines for the user.
    """

    origin: Origin
    tensors: dict[str, Tensor] = field(default_factory=dict)
    partly: set[str] = field(default_factory=set)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def new(self, name: str, reason: str) -> None:
        """Leave a tensor as it was initialised."""
        self.reasons.setdefault(reason, []).append(name)

    def fresh(self, task: Task) -> list[str]:
        """Names of the parameters that are new, wholly or in part."""
        return [
            name
            for name, _ in task.named_parameters(remove_duplicate=False)
            if name not in self.tensors or name in self.partly
        ]

    def summary(self, task: Task) -> str:
        """One line: how much was loaded, from where, and what is new."""
        names = [name for name, _ in task.named_parameters(remove_duplicate=False)]
        loaded = sum(name in self.tensors for name in names)
        line = f"pretrained: {loaded} of {len(names)} tensors from {self.origin.name}"
        line += f" ({self.origin.trained_on})"
        new = [f"{', '.join(map(short, names))} ({reason})" for reason, names in self.reasons.items()]
        return line + (f"; new: {'; '.join(new)}" if new else "")


def short(name: str) -> str:
    """A parameter's name as a user knows it."""
    return name.removeprefix("model.").removeprefix("tokenizers.")
