"""The model's code as flat files, which transformers can load.

`from unimodal.x.y import z` becomes `from .y import z`.
"""

import ast
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from unimodal.hub.portable.names import find

HERE = "unimodal.hub.portable"
ENTRIES = (f"{HERE}.configuration_unimodal", f"{HERE}.modeling_unimodal")
PARTS = f"{HERE}.parts"
THIRD_PARTY = {"torch", "numpy", "transformers", "tokenizers"}
LOWEST_ROWS = ("unimodal.types", "unimodal.backbone", "unimodal.tokenizers")
DOCSTRING = '''"""What the config may name, by `_target_`. Nothing else is ever built: a config is data."""'''


class Import(NamedTuple):
    """One `import` statement: the module, dotted, and the line that names it."""

    module: str
    line_idx: int


def write_code(folder: Path, classes: Iterable[str], modules: Iterable[str] = ()) -> None:
    """Write what the model needs, and nothing else, into an existing folder.

    Args:
        folder: of config and weights.
        classes: dotted names of all that the config names by `_target_`. A class from outside of unimodal is
            copied with its module.
        modules: of model classes, dotted, that are wanted beside the common ones.

    Raises:
        ValueError: if a class cannot be imported, or its module needs more than the lowest rows of unimodal,
            torch, numpy and transformers.
    """
    found = {name: _home(name) for name in sorted(classes)}
    sources = {PARTS: _parts(found)}
    todo = [*ENTRIES, *modules, *(module for module, _ in found.values())]
    while todo:
        module = todo.pop()
        if module in sources or not _is_copied(module):
            continue
        sources[module] = _source(module)
        _check(module, sources[module])
        todo.extend(one.module for one in imports(sources[module]))
    stems = _stems(sources)
    for module, source in sources.items():
        (folder / f"{stems[module]}.py").write_text(_flat(source, stems), encoding="utf-8")


def imports(source: str) -> list[Import]:
    """Every import of a file; a relative one starts with dots."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno - 1) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(Import("." * node.level + (node.module or ""), node.lineno - 1))
    return found


def _home(name: str) -> tuple[str, str]:
    """The module that defines a class, and the class's name there."""
    made = find(name)
    if made.__module__ == "__main__":
        raise ValueError(f"{name} is defined in __main__; move it into a module of its own to export it.")
    return made.__module__, made.__name__


def _parts(found: dict[str, tuple[str, str]]) -> str:
    lines = sorted({f"from {module} import {attribute}" for module, attribute in found.values()})
    entries = [f'    "{name}": {attribute},' for name, (_, attribute) in found.items()]
    return "\n".join([DOCSTRING, "", *lines, "", "PARTS = {", *entries, "}", ""])


def _is_copied(module: str) -> bool:
    top = module.partition(".")[0]
    return top not in THIRD_PARTY and top not in sys.stdlib_module_names


def _source(module: str) -> str:
    path = importlib.import_module(module).__file__
    if path is None or not path.endswith(".py"):
        raise ValueError(f"{module} is no Python file, which an exported folder could hold.")
    return Path(path).read_text(encoding="utf-8")


def _check(module: str, source: str) -> None:
    """A file from outside may import little: where the folder is loaded, nothing else is there."""
    if module.partition(".")[0] == "unimodal":
        return
    for one in imports(source):
        lowest = any(one.module == row or one.module.startswith(f"{row}.") for row in LOWEST_ROWS)
        if not lowest and (one.module.startswith(".") or _is_copied(one.module)):
            raise ValueError(
                f"{module} cannot be exported: it imports {one.module}, but may import only torch, numpy, "
                f"transformers and {', '.join(LOWEST_ROWS)}."
            )


def _stems(modules: Iterable[str]) -> dict[str, str]:
    """A file name for each module: its last word, or, where that is taken, all its words.

    A `types.py` would stand in for Python's own wherever somebody starts Python inside of the folder.
    """
    stems: dict[str, str] = {}
    for module in sorted(modules, key=lambda name: not name.startswith("unimodal.")):  # ours come first
        stem, taken = module.rpartition(".")[2], {*stems.values(), *sys.stdlib_module_names}
        stem = module.replace(".", "_") if stem in taken else stem
        while stem in taken:
            stem += "_"
        stems[module] = stem
    return stems


def _flat(source: str, stems: dict[str, str]) -> str:
    lines = source.splitlines(keepends=True)
    for module, idx in imports(source):
        if module in stems:
            lines[idx] = lines[idx].replace(f"from {module} import", f"from .{stems[module]} import")
            if f"from .{stems[module]} import" not in lines[idx]:
                raise ValueError(
                    f"`{lines[idx].strip()}` cannot be exported; write `from {module} import ...`."
                )
    return "".join(lines)
