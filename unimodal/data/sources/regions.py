"""Labels of what samples consist of: pixels (a mask), words (tags), stretches of sound (segments)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.decoding.masks import NOT_COUNTED, decode_mask
from unimodal.data.decoding.texts import decode_text
from unimodal.data.sources.labels import BadLabel, Labels, class_name, sort_names

OUTSIDE = "O"  # words and moments of no class
CLASSES = "classes.txt"  # beside the data: one class a line, in the order of the mask's values
Spans = list[tuple[float, float, str]]


def words_of(value: Any, where: str) -> list[str]:
    """A list of words, each as `decode_text` leaves it; raises BadSample for anything else."""
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise BadSample(f"{where}: a list of words is wanted.")
    return [decode_text(word, where) for word in value]


def word_spans(words: Sequence[str], tags: Any, where: str) -> Spans:
    """(start, end, tag) of each word in the words joined by spaces; raises BadSample."""
    if not isinstance(tags, list | tuple) or len(tags) != len(words):
        have = len(tags) if isinstance(tags, list | tuple) else "no list of"
        raise BadSample(f"{where}: has {len(words)} words and {have} tags; each word needs one.")
    spans, start = Spans(), 0
    for word, tag in zip(words, tags, strict=True):
        spans.append((start, start + len(word), _name(tag, where)))
        start += len(word) + 1
    return spans


def sound_spans(value: Any, where: str) -> Spans:
    """(start, end, label) in seconds, of a list of such dicts, a dict of three lists, or either as JSON.

    Raises:
        BadSample: for another form, or a stretch that does not end after it starts.
    """
    try:
        found = json.loads(value) if isinstance(value, str) else value
        if isinstance(found, dict):
            found = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
        spans = [(float(one["start"]), float(one["end"]), _name(one["label"], where)) for one in found]
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(
            f'{where}: segments are no list of {{"start": seconds, "end": seconds, "label": name}}: {error}'
        ) from error
    wrong = next((span for span in spans if not 0 <= span[0] < span[1]), None)
    if wrong:
        raise BadSample(f"{where}: a segment goes from {wrong[0]} to {wrong[1]} seconds.")
    return spans


def settle(source: Any, labels: Labels) -> None:
    """Name the classes of a source's regions; rows whose regions cannot be used become problems.

    Masks are only read where neither `data.labels.class_names` nor a `classes.txt` names their classes.

    Args:
        source: a `RowSource` whose splits are settled.
        labels: how labels are read.
    """
    regions = source.samples.regions
    said = None if source.columns.label else labels.class_names or _listed_classes(source.samples)
    if "mask" in regions:
        source.region_names = list(map(str, said)) if said else _found_in_masks(source)
    elif regions.keys() & {"tags", "segments"}:
        used = {name: _names_by_row(source, name) for name in source.split_names}
        names = set().union(*used["train" if "train" in used else "val"].values())
        outside = [OUTSIDE] if OUTSIDE in names or "segments" in regions else []
        source.region_names = list(map(str, said or [*outside, *sort_names(names - {OUTSIDE})]))
        for split, rows in used.items():
            source.indices[split] = np.array(_known(source, split, rows, labels.unseen), np.int64)
    if source.region_names:
        of = "pixels" if "mask" in regions else "words" if "tags" in regions else "stretches of sound"
        source.notes.append(f"{len(source.region_names)} classes of {of}: {', '.join(source.region_names)}")


def _name(value: Any, where: str) -> str:
    try:
        return class_name(value)
    except BadLabel as error:
        raise BadSample(f"{where}: a region {error}") from error


def _listed_classes(samples: Any) -> list[str] | None:
    path = Path(samples.rows.place(0)[1]) / CLASSES
    if not path.is_file():
        return None
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _found_in_masks(source: Any) -> list[str]:
    largest, kept = 0, list[int]()
    split = "train" if "train" in source.indices else "val"
    for row in source.indices[split].tolist():
        try:
            mask = decode_mask(source.samples[row]["mask"])
        except BadSample as error:
            source.problems.append(str(error))
            continue
        kept.append(row)
        counted = mask[mask != NOT_COUNTED]
        largest = max(largest, int(counted.max()) if counted.numel() else 0)
    source.indices[split] = np.array(kept, np.int64)
    source.notes.append(
        f"classes of pixels are the values found in {len(kept):,} masks; {CLASSES} would name them"
    )
    return [str(value) for value in range(largest + 1)]


def _names_by_row(source: Any, split: str) -> dict[int, set[str]]:
    """The labels in each row of a split; a row that cannot be used is a problem instead."""
    found = {}
    for row in source.indices[split].tolist():
        try:
            found[row] = {label for _, _, label in source.samples.spans(row)}
        except BadSample as error:
            source.problems.append(str(error))
    return found


def _known(source: Any, split: str, rows: Mapping[int, set[str]], unseen: str) -> list[int]:
    """Rows whose labels all have a name."""
    strange = {row: names - set(source.region_names) for row, names in rows.items()}
    strange = {row: names for row, names in strange.items() if names}
    if strange and unseen == "ignore":
        source.notes.append(f"{len(strange)} of {split} are left out: they have classes that are not known")
    elif strange:
        source.problems += [
            f"{source.samples.rows.where(row)}: {', '.join(sorted(names))} of {split} is not known from "
            "training (data.labels.unseen=ignore leaves such rows out)"
            for row, names in strange.items()
        ]
    return [row for row in rows if row not in strange]
