"""How examples of different lengths come together in a batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unimodal.data.collate import collate
from unimodal.data.packing import PackingCollate
from unimodal.types import Batch


@dataclass(frozen=True)
class Batching:
    """What `loader` says of lengths.

    Attributes:
        max_tokens: of a training batch, which then has no fixed number of examples; None: it has.
        pack: compute several samples in one row.
        max_row_tokens: of such a row; None: as many as the longest sample of the batch.
    """

    max_tokens: int | None = None
    pack: bool = False
    max_row_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_row_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"loader.{name}={value} must be at least 1.")
        if self.max_row_tokens is not None and not self.pack:
            raise ValueError("loader.max_row_tokens is the length of a packed row; set loader.pack=true.")

    def collate(self, preprocess: Mapping[str, Any]) -> Callable[[list[dict[str, Any]]], Batch]:
        """From examples to a batch."""
        return PackingCollate(preprocess, self.max_row_tokens) if self.pack else collate


PLAIN = Batching()
