"""Stock families of transformers, one table a file; a file that is added is found."""

import importlib
import pkgutil
from functools import cache

from unimodal.hub.native.family import Family


@cache
def families() -> dict[str, Family]:
    """All tables, by the name that `format=` takes: every `FAMILIES` of the files here."""
    found: dict[str, Family] = {}
    for module in pkgutil.iter_modules(__path__):
        table = importlib.import_module(f"{__name__}.{module.name}")
        found |= {family.name: family for family in vars(table).get("FAMILIES", ())}
    return found
