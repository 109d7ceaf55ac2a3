"""Inputs that are longer than a tokenizer takes: found where samples are prepared, counted by the loader."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from unimodal.data.decoding.audio import probe_audio
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.parts import as_parts
from unimodal.types import Sample

NOUNS = {"text": "texts", "audio": "sounds", "prompt": "prompts"}  # by field: what may be cut
_noted: ContextVar[set[str] | None] = ContextVar("noted", default=None)


@runtime_checkable
class Cutting(Protocol):
    """A tokenizer's preprocess that cuts texts at its `max_len`."""

    def is_cut(self, sample: Sample) -> bool:
        """Whether the sample's text has more than `max_len` tokens."""


@contextmanager
def noting_cuts() -> Iterator[set[str]]:
    """The fields of which `note_cuts` finds a cut input within the block, as a set that fills."""
    found: set[str] = set()
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def are_noted() -> bool:
    """Whether the code that runs is within `noting_cuts`."""
    return _noted.get() is not None


def note_cuts(fields: frozenset[str]) -> None:
    """Add fields to the set of the innermost `noting_cuts`."""
    found = _noted.get()
    if found is not None:
        found |= fields


def cut_fields(raw: Sample, fitted: Sample, preprocess: Mapping[str, Any]) -> frozenset[str]:
    """The fields of a sample whose input is cut.

    Images are resized and of clips frames are chosen over their whole length; neither is cut.

    Args:
        raw: as the source gives it.
        fitted: the same, decoded.
        preprocess: of each tokenizer, by field.
    """
    if "parts" in fitted:
        parts = raw["parts"] if "parts" in raw else as_parts(raw, preprocess)["parts"]
        pairs = zip(parts, fitted["parts"], strict=True)
        return frozenset().union(*(cut_fields(*pair, _of(pair[1], preprocess)) for pair in pairs))
    return frozenset(field for field, one in preprocess.items() if _is_cut(field, raw, fitted, one))


def limit_of(field: str, preprocess: Any) -> str:
    """What is too long for a tokenizer, for messages."""
    if field == "audio":
        return f"{preprocess.max_seconds:g} s, the most that the tokenizer takes,"
    return f"the tokenizer's max_len={preprocess.max_len}"


def _of(part: Sample, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    return {field: preprocess[field] for field in part if field in preprocess}


def _is_cut(field: str, raw: Sample, fitted: Sample, preprocess: Any) -> bool:
    kind: Any = type(preprocess)
    if _cuts(kind):
        return preprocess.is_cut(fitted)
    if field != "audio" or field not in fitted:
        return False
    samples, rate = fitted["audio"]
    full = len(samples) >= round(preprocess.max_seconds * rate) - 1  # resampling may round down
    return full and _is_longer(raw["audio"], preprocess.max_seconds)


@lru_cache
def _cuts(kind: type) -> bool:
    return issubclass(kind, Cutting)  # a protocol's check is slow


def _is_longer(sound: Any, max_seconds: float) -> bool:
    """Whether a sound of at least `max_seconds` goes on; where its header does not say, it does."""
    try:
        facts = probe_audio(sound)
    except BadSample:
        return True
    return not facts.seconds or round(facts.seconds * facts.sample_rate) > round(
        max_seconds * facts.sample_rate
    )
