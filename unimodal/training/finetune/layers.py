"""The last blocks learn, and the head."""

from dataclasses import dataclass

from unimodal.tasks.learner import Learner
from unimodal.training.finetune.base import BACKBONE, BLOCK, PartialTuning


@dataclass(frozen=True, kw_only=True)
class Layers(PartialTuning):
    """The last blocks, the final norm and the head learn.

    Attributes:
        num_layers: how many blocks.
    """

    num_layers: int = 2

    def apply(self, task: Learner) -> None:
        """As all do; checks `num_layers` against the depth.

        Raises:
            ValueError: if the backbone has not so many blocks.
        """
        depth = len(task.backbones[0].blocks)
        if not 1 <= self.num_layers <= depth:
            raise ValueError(f"finetune.num_layers={self.num_layers} is not between 1 and depth={depth}.")
        super().apply(task)

    def trains_in_backbone(self, name: str, depth: int) -> bool:
        """The last blocks and the final norm."""
        block = BLOCK.match(name)
        return int(block[1]) >= depth - self.num_layers if block else name.startswith(f"{BACKBONE}norm.")
