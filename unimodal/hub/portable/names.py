"""From a dotted name in a run's own config to the class.

Names in a folder from elsewhere go through `parts` instead.
"""

import importlib
from typing import Any


def find(name: str) -> Any:
    """The class.

    Raises:
        ValueError: if there is none.
    """
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{name} cannot be imported and so not be exported: {error}") from error
