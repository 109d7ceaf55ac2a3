"""Samples in parts of one modality each: `{"parts": [{"text": ...}, {"image": ...}, ...], "label": ...}`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.media import FIT
from unimodal.types import Sample


def as_parts(sample: Sample, fields: Iterable[str]) -> Sample:
    """The sample with what it has of `fields`, in their order, as parts."""
    fields = list(fields)
    parts = [{field: sample[field]} for field in fields if sample.get(field) is not None]
    return {key: value for key, value in sample.items() if key not in fields} | {"parts": parts}


def fit_parts(sample: Sample, preprocess: Mapping[str, Any]) -> Sample:
    """Each part decoded and fitted; one that nothing reads stays as it is."""
    return sample | {"parts": [_fitted(part, preprocess) for part in sample["parts"]]}


def part_tensors(
    parts: Sequence[Sample],
    preprocess: Mapping[str, Any],
    change: Callable[[Sample, Any, int], Sample] | None = None,
) -> list[tuple[int, dict[str, Tensor]]]:
    """What `collate` takes: of each part the number of its tokenizer, and its tensors.

    Args:
        parts: fitted.
        preprocess: of each tokenizer, by field, in the model's order.
        change: of a part, its preprocess and its place: what is done to it before.

    Raises:
        BadSample: if no tokenizer reads a part, or there is none.
    """
    fields, made = list(preprocess), []
    for place, part in enumerate(parts):
        [field] = part
        if field not in fields:
            raise BadSample(
                f'a sample has the part "{field}"; the model reads {", ".join(fields)}. '
                f"Add a tokenizer with +tokenizer@beside.{field}=NAME."
            )
        seen = part if change is None else change(part, preprocess[field], place)
        made.append((fields.index(field), preprocess[field](seen)))
    if not made:
        raise BadSample(f"a sample has none of {', '.join(fields)}, which the model reads.")
    return made


def _fitted(part: Sample, preprocess: Mapping[str, Any]) -> Sample:
    [field] = part
    return FIT[field](part, preprocess[field]) if field in FIT and field in preprocess else part
