"""What a user is told of rows once they are read: sizes, columns, classes, and what was decided."""

from collections.abc import Iterator
from typing import Any

from unimodal.data.sources.labels import class_counts

SHOWN = 20  # classes in one line


def described(source: Any) -> Iterator[str]:
    """Yield the sizes, columns and classes of a `RowSource` and what was decided about it, a line each."""
    sizes = ", ".join(f"{len(source.indices[name]):,} {name}" for name in source.split_names)
    yield f"data: {sizes}; {', '.join(source.columns.media)}"
    if source.columns.guessed:
        guessed = ", ".join(f"{role}={column}" for role, column in source.columns.guessed.items())
        yield f"columns guessed: {guessed} (data.columns)"
    if source.class_names:
        counts = class_counts([source.parsed[row] for row in source.indices.get("train", [])])
        shown = [f"{name} {counts[name]:,}" for name in source.class_names[:SHOWN]]
        more = f" and {len(source.class_names) - SHOWN} more" if len(source.class_names) > SHOWN else ""
        yield f"{len(source.class_names)} classes ({source.kind}): {', '.join(shown)}{more}"
    elif source.target_names:
        yield f"numbers to predict: {', '.join(source.target_names)}"
    yield from source.notes
    if source.problems and source.on_bad_sample == "skip":
        yield f"{len(source.problems)} rows cannot be used and are left out; unimodal check-data lists them"
