"""Rows that are files: messages call each by its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimodal.data.sources.tables import Table


class Files(Table):
    """One row a file.

    Args:
        root: under which all lie, resolved.
        columns: `file`, names relative to the root, and what else is known of each.
        problems: of files that are no rows.
    """

    def __init__(self, root: Path, columns: dict[str, Any], problems: Sequence[str] = ()):
        super().__init__(str(root), columns, problems=problems, root=root)

    def where(self, index: int) -> str:
        """The path."""
        return str(Path(self.name) / self.columns["file"][index])
