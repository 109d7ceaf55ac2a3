"""Folders of images beside folders of masks: images/a.jpg and masks/a.png belong together."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from unimodal.data.sources.columns import Columns
from unimodal.data.sources.files import Files
from unimodal.data.sources.metadata import unlisted
from unimodal.data.sources.paths import field_of
from unimodal.data.sources.reading import Reading
from unimodal.data.sources.rows import MediaRows
from unimodal.data.sources.scan import Scan
from unimodal.data.sources.splits import SplitNames

IMAGES, MASKS = "images", ("masks", "annotations")


def read_mask_folders(root: Path, names: SplitNames, allow_outside: bool = False) -> Reading | None:
    """Images and their masks; None if the folder is laid out otherwise.

    Split folders stand above `images` and `masks`, or within both, or there are none. An image without a mask
    is a problem, a mask without an image is left out and counted.
    """
    scan = Scan(root, allow_outside)
    used: set[str] = set()
    bases = [(root, None)] if _masks_in(scan, root) else list(_split_bases(scan, names))
    if not bases:
        return None
    found, spare = list[tuple[str, str, str | None]](), 0
    for base, split in bases:
        images = _by_stem(scan, base / IMAGES)
        masks = _by_stem(scan, base / _masks_in(scan, base))
        spare += len(masks.keys() - images.keys())
        used |= {*images.values(), *masks.values()}
        for stem, image in images.items():
            if stem in masks:
                found.append((image, masks[stem], split or _split_within(stem, names)))
            else:
                scan.problems.append(f"{root / image}: has no mask of the same name")
    columns = {"file": [image for image, _, _ in found], "mask": [mask for _, mask, _ in found]}
    media, regions = {"image": "file"}, {"mask": "mask"}
    samples = MediaRows(
        Files(root, columns, scan.problems), media, allow_outside=allow_outside, regions=regions
    )
    notes = [f"{spare} masks without an image are left out"] if spare else []
    notes += unlisted(root, used | {"classes.txt"}, allow_outside=allow_outside)
    return Reading(samples, Columns(media, regions=regions), [split for _, _, split in found], notes)


def _masks_in(scan: Scan, base: Path) -> str:
    """Name of the folder of masks beside one of images, else empty."""
    folders = scan.folders(base)
    return next((name for name in MASKS if name in folders and IMAGES in folders), "")


def _split_bases(scan: Scan, names: SplitNames) -> Iterator[tuple[Path, str | None]]:
    for folder in scan.folders(scan.root):
        if folder in names and _masks_in(scan, scan.root / folder):
            yield scan.root / folder, names.canonical(folder, str(scan.root))


def _by_stem(scan: Scan, folder: Path) -> dict[str, str]:
    """Image files below a folder: name relative to the root, by path within the folder without extension."""
    files = [name for name in scan.walk(folder) if field_of(name) == "image"]
    return {
        str(PurePosixPath(name).relative_to(folder.relative_to(scan.root)).with_suffix("")): name
        for name in files
    }


def _split_within(stem: str, names: SplitNames) -> str | None:
    first, _, rest = stem.partition("/")
    return names.canonical(first, stem) if rest and first in names else None
