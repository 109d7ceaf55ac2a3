"""Which samples share a row, so that few rows hold all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unimodal.data.collate import collate
from unimodal.data.lengths import num_tokens
from unimodal.types import Batch


@dataclass(frozen=True)
class PackingCollate:
    """`collate`, and `rows` int [B]: which row the model computes each sample in (`backbone.packing`).

    A batch of which no two samples fit into one row has none.

    Attributes:
        preprocess: of each tokenizer, by field.
        max_row_tokens: of a row with several samples; None: as many as the batch's longest sample has.
    """

    preprocess: Mapping[str, Any]
    max_row_tokens: int | None = None

    def __call__(self, examples: list[dict[str, Any]]) -> Batch:
        """Examples to a batch."""
        lengths = [num_tokens(example, self.preprocess) for example in examples]
        rows = first_fit_decreasing(lengths, self.max_row_tokens or max(lengths))
        batch = collate(examples)
        return batch if len(set(rows)) == len(rows) else batch | {"rows": torch.tensor(rows)}


def first_fit_decreasing(lengths: Sequence[int], room: int) -> list[int]:
    """The row of each item, from 0: longest first, each into the first row that has room for it.

    At most 11/9 of the fewest possible rows (and 6/9 of one; Dosa 2007). An item longer than `room` has a row
    to itself.
    """
    rows, free = [0] * len(lengths), list[int]()
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        row = next((row for row, left in enumerate(free) if left >= lengths[item]), len(free))
        if row == len(free):
            free.append(max(room, lengths[item]))
        rows[item], free[row] = row, free[row] - lengths[item]
    return rows
