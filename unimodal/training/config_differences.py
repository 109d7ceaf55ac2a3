"""Where two configs differ, and how their values are written in a message."""

from collections.abc import Iterator, Mapping
from typing import Any

MISSING = object()
SHOWN = 60  # characters of a value in a message


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value of all leaves that differ; a key that is missing has the value MISSING."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(old.get(key, MISSING), new.get(key, MISSING), inner)
    elif _listed(old) != _listed(new):
        yield path, old, new


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def shown(value: Any) -> str:
    """Return a value as a user would type it, cut to a length that suits a message."""
    if value is MISSING:
        return "(not set)"
    if isinstance(value, str) and value == "???":
        return "(the default of the task)"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
