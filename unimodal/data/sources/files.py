"""Rows that are files: messages call each by its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unimodal.data.sources.tables import Table


class Files(Table):
    """One row a file.

    Args:
        root: under which all lie, resolved.
        columns: names relative to the root, and what else is known of each.
        problems: of files that are no rows.
        column: which column has the names of the files.
    """

    def __init__(
        self, root: Path, columns: dict[str, Any], problems: Sequence[str] = (), column: str = "file"
    ):
        super().__init__(str(root), columns, problems=problems, root=root)
        self.file_column = column

    def where(self, index: int) -> str:
        """The path."""
        return str(Path(self.name) / self.columns[self.file_column][index])
