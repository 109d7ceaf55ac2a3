"""Looks at every sample before training does: can it be used, how large is it, is it there twice."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader, Dataset

from unimodal.data.decoding.audio import is_silent, probe_audio
from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.images import probe_image
from unimodal.data.decoding.videos import probe_video
from unimodal.data.media import FIT
from unimodal.data.sources.base import Source
from unimodal.data.sources.row_source import RowSource
from unimodal.data.sources.rows import RowSamples
from unimodal.types import Sample


@dataclass(frozen=True)
class Inspected:
    """What was found of one sample.

    Attributes:
        split: that it is in.
        where: what messages call it.
        key: of its content.
        fitted: as the tokenizer will see it; None if it cannot be used.
        sizes: by name and unit, such as "width (pixels)".
        error: why it cannot be used, or empty.
        warnings: what is odd about it.
    """

    split: str
    where: str
    key: str = ""
    fitted: Sample | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    warnings: Sequence[str] = ()


class Inspection(Dataset):
    """All samples of a source, split by split.

    Args:
        source: whose problems, if it is made of rows, are known already.
        preprocess: of each tokenizer, by field.
    """

    def __init__(self, source: Source, preprocess: Mapping[str, Any]):
        self.preprocess = preprocess
        self.parts: dict[str, Sequence[Sample]] = {
            name: source.usable(name) if isinstance(source, RowSource) else source.split(name)
            for name in source.split_names
        }
        self.places = [(name, i) for name, part in self.parts.items() for i in range(len(part))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Inspected:
        split, row = self.places[index]
        samples = self.parts[split]
        where = samples.where(row) if isinstance(samples, RowSamples) else f"{split} sample {row}"
        try:
            sample = samples[row]
            if "parts" in sample:
                raise ValueError(
                    "check-data does not look into samples in parts; training names those that are bad."
                )
            sizes, warnings = _measure(sample, self.preprocess)
            fitted = sample
            for name, preprocess in self.preprocess.items():
                if name not in sample:
                    raise ValueError(f'the samples have no "{name}"; they have {", ".join(sample)}.')
                fitted = FIT[name](fitted, preprocess) if name in FIT else fitted
                if name == "audio" and is_silent(fitted["audio"]):
                    warnings.append("is silent")
            key = samples.key(row) if isinstance(samples, RowSamples) else where
            return Inspected(split, where, key, fitted, sizes, "", warnings)
        except BadSample as error:
            return Inspected(split, where, error=str(error))

    def all(self, num_workers: int = 0) -> Iterator[Inspected]:
        """One after another, in order."""
        yield from DataLoader(self, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)


def _as_it_is(inspected: Any) -> Any:
    return inspected


def _measure(sample: Sample, wanted: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    sizes: dict[str, float] = {}
    for name in wanted:
        value = sample.get(name)
        if name == "text" and isinstance(value, str):
            sizes["length (characters)"] = len(value)
        if not isinstance(value, Encoded):
            continue
        if name == "image":
            picture = probe_image(value)
            sizes |= {"width (pixels)": picture.width, "height (pixels)": picture.height}
        elif name == "audio":
            sound = probe_audio(value)
            sizes |= {"length (seconds)": sound.seconds, "sample rate (Hz)": sound.sample_rate}
        elif name == "video":
            clip = probe_video(value)
            sizes |= {"length (seconds)": clip.seconds, "frames a second": clip.fps}
    return sizes, []


def repeated(found: Sequence[Inspected], labels: Sequence[Any]) -> tuple[list[str], list[str], list[str]]:
    """Samples of the same content: across splits (leaks), with different labels, and mere repetitions.

    Args:
        found: those that can be used.
        labels: of each, in any form that compares.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        groups[one.key].append(index)
    leaks, contradictions, repetitions = [], [], []
    for rows in groups.values():
        if len(rows) < 2:
            continue
        names = " = ".join(f"{found[row].where} ({found[row].split})" for row in rows[:4])
        names += f" and {len(rows) - 4} more" if len(rows) > 4 else ""
        if len({found[row].split for row in rows}) > 1:
            leaks.append(f"the same content in two splits: {names}")
        if len({str(labels[row]) for row in rows}) > 1:
            said = ", ".join(sorted({str(labels[row]) for row in rows}))
            contradictions.append(f"the same content with different labels ({said}): {names}")
        elif len({found[row].split for row in rows}) == 1:
            repetitions.append(f"the same content twice: {names}")
    return leaks, contradictions, repetitions
