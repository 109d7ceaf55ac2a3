"""Lists of parts in a column: [{"text": "Look:"}, {"image": "photos/1.jpg"}, ...]."""

import json
from collections.abc import Iterator
from typing import Any

from unimodal.data.decoding.encoded import BadSample

FIELDS = ("image", "audio", "video", "text")


def part_list(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The modality and the value of each part; csv holds the list as JSON.

    Keys without a value do not count: in parquet every part has all of them.

    Raises:
        BadSample: if it is no such list, or empty.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadSample(f"{where}: parts is no valid JSON: {error}.") from error
    if not isinstance(value, list) or not value:
        raise BadSample(f'{where}: parts must be a list such as [{{"text": ...}}, {{"image": ...}}].')
    for place, part in enumerate(value):
        given = {name: one for name, one in part.items() if one is not None} if isinstance(part, dict) else {}
        if len(given) != 1 or not given.keys() <= set(FIELDS):
            said = ", ".join(given) or type(part).__name__
            raise BadSample(f"{where}: part {place} has {said}; one of {', '.join(FIELDS)} was wanted.")
        yield from given.items()
