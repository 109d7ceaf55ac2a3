"""What the folders above a file say: its split and its class."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unimodal.data.sources.paths import field_of
from unimodal.data.sources.scan import Scan
from unimodal.data.sources.splits import SplitNames


@dataclass(frozen=True)
class Found:
    """A media file: its name relative to the root, its field by its extension, its split and its class."""

    name: str
    field: str
    split: str | None
    label: str | None


def split_folders(scan: Scan, names: SplitNames) -> dict[str, str]:
    """Folders right under the root that are splits: canonical split by folder; empty if there are none.

    A single folder called like a split stands among others for a class (`train` beside `car` and `bus`),
    unless it has folders of its own.

    Raises:
        ValueError: for a folder beside splits that is none: its files would be lost silently.
    """
    folders = scan.folders(scan.root)
    splits = [name for name in folders if name in names]
    others = [name for name in folders if name not in names]
    nested = any(scan.folders(scan.root / name) for name in splits)
    if others and len(splits) < 2 and not nested:
        return {}
    if splits:
        return {name: names.canonical(name, str(scan.root)) for name in folders}
    return {}


def classify(scan: Scan, names: SplitNames) -> Iterator[Found]:
    """Every media file below the root, split by split, in the order of names.

    Raises:
        ValueError: for a root that seems to be one level too high, and as `split_folders`.
    """
    splits = split_folders(scan, names)
    if not splits:
        _check_level(scan, names)
        yield from class_folders(scan, scan.root, None)
        return
    for folder, split in splits.items():
        yield from class_folders(scan, scan.root / folder, split)
    scan.problems += [f"{scan.root / name}: lies beside the split folders" for name in scan.files(scan.root)]
    scan.count_others(scan.root)


def class_folders(scan: Scan, base: Path, split: str | None) -> Iterator[Found]:
    """The media files below a folder; the first folder on the way to each is its class, if there are any."""
    depth = len(base.relative_to(scan.root).parts)
    classes = bool(scan.folders(base))
    for name in scan.walk(base):
        parts = name.split("/")[depth:]
        label = parts[0] if len(parts) > 1 else None
        if label is None and classes and field_of(name) != "text":
            scan.problems.append(f"{scan.root / name}: lies beside the class folders, so it has no class")
            continue
        yield Found(name, field_of(name) or "", split, label)


def _check_level(scan: Scan, names: SplitNames) -> None:
    folders = scan.folders(scan.root)
    if len(folders) != 1 or scan.files(scan.root):
        return
    inner = scan.root / folders[0]
    deeper = scan.folders(inner)
    if len(deeper) > 1 and not scan.files(inner):
        raise ValueError(
            f"{scan.root} holds one folder, {folders[0]}, which holds {', '.join(deeper[:5])}; "
            f"did you mean data.path={inner}?"
        )
