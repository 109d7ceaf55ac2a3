"""How many tokens an example becomes, known before any model has seen it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.utils.data import DataLoader

from unimodal.data.sampling import Draw

MEASURED = 64  # examples that a worker measures at a time


@runtime_checkable
class Counted(Protocol):
    """A tokenizer's preprocess; one that makes targets only has no tokens."""

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """Of what its call returned, prefix tokens included."""


def num_tokens(example: Mapping[str, Any], preprocess: Mapping[str, Any]) -> int:
    """Of all modalities of an example together.

    Args:
        example: as a dataset gives it, also of `parts`.
        preprocess: of each tokenizer, by field.

    Raises:
        ValueError: if no preprocess counts them.
    """
    kinds = list(preprocess.values())
    given = example.get("parts") or [(which, example) for which in range(len(kinds))]
    counted = ((kinds[which], tensors) for which, tensors in given)
    total = sum(kind.num_tokens(tensors) for kind, tensors in counted if isinstance(kind, Counted))
    if total < 1:
        raise ValueError(
            f"how many tokens {', '.join(preprocess)} becomes is not known, which loader.pack and "
            "loader.max_tokens need; write `num_tokens` of the tokenizer's preprocess."
        )
    return total


def measure(dataset: Any, preprocess: Mapping[str, Any], num_workers: int = 0) -> list[int]:
    """The tokens of every example, in one pass over a dataset that takes draws."""
    draws: Any = [Draw(0, index) for index in range(len(dataset))]
    options: Any = {"num_workers": num_workers, "collate_fn": _Count(preprocess)}
    loader: DataLoader = DataLoader(dataset, MEASURED, sampler=draws, **options)
    return [length for lengths in loader for length in lengths]


@dataclass(frozen=True)
class _Count:
    """Pickled into workers, so that only numbers come back."""

    preprocess: Mapping[str, Any]

    def __call__(self, examples: list[dict[str, Any]]) -> list[int]:
        return [num_tokens(example, self.preprocess) for example in examples]
