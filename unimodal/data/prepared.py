"""Samples as the tokenizers want them: decoded and fitted; what cannot be used is an error, or left out."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from unimodal.data.cuts import are_noted, cut_fields, note_cuts
from unimodal.data.decoded_cache import DecodedCache
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.media import FIT
from unimodal.data.parts import as_parts, fit_parts
from unimodal.types import Sample

MAX_SKIPPED = 0.01  # share of a split that may be skipped
log = logging.getLogger(__name__)


class PreparedSamples(Sequence[Sample]):
    """Decodes and fits the fields that tokenizers read, when asked for.

    With `on_bad_sample=skip` the next good sample stands in for one that cannot be used: a rule, not a
    draw, so that a resumed run sees the same. In validation the substitute does not count.

    Args:
        samples: as a source gives them.
        preprocess: of each tokenizer, by field.
        on_bad_sample: `error` or `skip`.
        training: whether substitutes count.
        caches: of decoded media, by field.
        max_skipped: share that may be skipped.
        allow_missing: samples may lack fields; each becomes the `parts` that it has, in the order of
            `preprocess`.
        takes_parts: the task reads such samples, which an error then may say.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocess: Mapping[str, Any],
        on_bad_sample: str = "error",
        training: bool = True,
        caches: Mapping[str, DecodedCache] | None = None,
        max_skipped: float = MAX_SKIPPED,
        allow_missing: bool = False,
        takes_parts: bool = False,
    ):
        if on_bad_sample not in ("error", "skip"):
            raise ValueError(f"data.on_bad_sample={on_bad_sample} is neither error nor skip.")
        self.samples, self.preprocess = samples, preprocess
        self.on_bad_sample, self.training, self.caches = on_bad_sample, training, caches or {}
        self.max_skipped, self.allow_missing = max_skipped, allow_missing
        self.takes_parts = takes_parts
        self.skipped: set[int] = set()
        self.cuts: dict[int, frozenset[str]] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        if not 0 <= index < len(self):
            raise IndexError(index)
        for step in range(len(self)):
            place = (index + step) % len(self)
            try:
                raw = self.samples[place]
                sample = self._fitted(place, raw)
            except BadSample as error:
                self._skip(place, error)
                continue
            if are_noted():
                self._note_cuts(place, raw, sample)
            return sample if self.training or not step else sample | {"counted": False}
        raise BadSample("no sample of this split can be used.")

    def good(self) -> Iterator[Sample]:
        """All that can be used, each once; nothing stands in for the rest."""
        for index in range(len(self)):
            try:
                yield self._fitted(index, self.samples[index])
            except BadSample as error:
                self._skip(index, error)

    def _fitted(self, index: int, sample: Sample) -> Sample:
        if "parts" in sample:
            return fit_parts(sample, self.preprocess)
        for field, preprocess in self.preprocess.items():
            if sample.get(field) is None:
                if self.allow_missing:
                    continue
                raise ValueError(self._lacks(field, sample))
            if field in self.caches:
                fit = partial(_fit_field, field, sample, preprocess)
                sample = sample | {field: self.caches[field].get(index, fit)}
            elif field in FIT:
                sample = FIT[field](sample, preprocess)
        return as_parts(sample, self.preprocess) if self.allow_missing else sample

    def _note_cuts(self, index: int, raw: Sample, fitted: Sample) -> None:
        if index not in self.cuts:  # looked up once in each process that loads
            self.cuts[index] = cut_fields(raw, fitted, self.preprocess)
        note_cuts(self.cuts[index])

    def _lacks(self, field: str, sample: Sample) -> str:
        knob = f"Choose modality={_modality(sample)}, or data that has {field}."
        if self.preprocess.keys() & sample.keys():
            enough = "data.allow_missing=true: one is enough" if self.takes_parts else "each sample needs all"
            knob = f"The task reads {', '.join(self.preprocess)}; {enough}."
        column = f" A table's column is named with data.columns.{field}=NAME." * (len(self.preprocess) > 1)
        return f'the samples have no "{field}"; they have {", ".join(sample)}. {knob}{column}'

    def _skip(self, index: int, error: BadSample) -> None:
        if self.on_bad_sample == "error":
            raise BadSample(f"{error} (data.on_bad_sample=skip leaves it out)") from error
        if index in self.skipped:
            return
        log.warning("skipped: %s", error)
        self.skipped.add(index)
        if len(self.skipped) > max(1, self.max_skipped * len(self)):
            raise ValueError(
                f"{len(self.skipped)} of {len(self)} samples cannot be used, more than "
                f"{self.max_skipped:.0%}; the last: {error}. unimodal check-data lists them all."
            ) from error


def _modality(sample: Sample) -> str:
    """What a sample with these fields is."""
    return next((field for field in sample if field in FIT), "NAME")


def _fit_field(field: str, sample: Sample, preprocess: Any) -> Any:
    return FIT[field](sample, preprocess)[field]
