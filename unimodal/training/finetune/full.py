"""Everything learns."""

from dataclasses import dataclass
from typing import ClassVar

from unimodal.training.finetune.base import FineTuning


@dataclass(frozen=True, kw_only=True)
class Full(FineTuning):
    """The whole model learns; also what training from scratch does."""

    needs_pretrained: ClassVar[bool] = False

    def trains(self, name: str, depth: int) -> bool:
        """Every parameter."""
        return True
