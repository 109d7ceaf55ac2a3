"""The head learns on what a frozen model sees: a linear probe, where the pooling has no weights."""

from dataclasses import dataclass

from unimodal.training.finetune.base import PartialTuning


@dataclass(frozen=True, kw_only=True)
class Head(PartialTuning):
    """Head and pooling learn."""

    def trains_in_backbone(self, name: str, depth: int) -> bool:
        """None."""
        return False
