"""Anything that Hugging Face's `datasets` opens: a hub name, a saved dataset, a folder of parquet files."""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc
from datasets import Audio, ClassLabel, Image, Video

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.sources.joined import JoinedRows
from unimodal.data.sources.labels import Labels
from unimodal.data.sources.policy import Policy
from unimodal.data.sources.reading import of_rows
from unimodal.data.sources.row_source import RowSource
from unimodal.data.sources.splits import SplitNames
from unimodal.data.sources.tables import Rows, lengths_of, named, named_column
from unimodal.suggestions import nearest

FEATURES: dict[str, Any] = {"image": Image, "audio": Audio, "video": Video}
BLOCK = 1000  # rows of a stream that are kept at a time


class HubSource(RowSource):
    """Splits of a dataset; media columns are taken undecoded and decoded by us.

    Args:
        path: a name on the hub, a folder that `save_to_disk` wrote, or one that `load_dataset` reads.
        name: the dataset's configuration.
        revision: of the hub's repository.
        columns: by role, as for tables; features such as `Image` and `ClassLabel` speak for themselves.
        splits: what the dataset calls them, such as {"val": "validation_matched"}.
        labels: how labels are read.
        streaming: read rows as they come instead of storing the dataset; needs little memory and disk, but
            every process reads every row. Shuffles within blocks of rows.
        allow_outside_root: let rows name files outside the folder.
        policy: see `Policy`.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        revision: str | None = None,
        columns: Mapping[str, Any] | None = None,
        splits: Mapping[str, str | None] | None = None,
        labels: Labels | None = None,
        streaming: bool = False,
        allow_outside_root: bool = False,
        **policy: Any,
    ):
        loaded = load(path, name, revision, streaming)
        root = Path(path if Path(path).is_dir() else datasets.config.HF_CACHE_HOME).resolve()
        names, several = SplitNames(splits), len(loaded) > 1
        said_label = (columns or {}).get("label")
        hidden = [
            name for name, part in loaded.items() if name not in names and _has_no_label(part, said_label)
        ]
        left_out = {name: len(loaded.pop(name)) for name in hidden} if len(hidden) < len(loaded) else {}
        parts = [
            (
                _rows(dataset, f"{path} {split}", root),
                names.canonical(split, path) if several else None,
            )
            for split, dataset in loaded.items()
        ]
        rows = parts[0][0] if len(parts) == 1 else JoinedRows([rows for rows, _ in parts])
        given = [split for part, split in parts for _ in range(len(part))]
        said = _by_features(next(iter(loaded.values())).features) | {
            role: column for role, column in (columns or {}).items() if column is not None
        }
        reading = of_rows(rows, path, given, said, names, allow_outside_root)
        reading.notes += [
            f"{name}: {num:,} samples without labels are left out" for name, num in left_out.items()
        ]
        self.block = BLOCK if streaming else None
        super().__init__(reading, labels or Labels(), Policy(**policy))


def load(path: str, name: str | None, revision: str | None, streaming: bool) -> dict[str, Any]:
    """The dataset's splits, media columns undecoded.

    Raises:
        ValueError: if `datasets` cannot open it; says what it said.
    """
    try:
        saved = Path(path).is_dir() and any(
            (Path(path) / file).exists() for file in ("dataset_dict.json", "state.json")
        )
        if saved:
            opened = datasets.load_from_disk(path)
        else:
            opened = datasets.load_dataset(path, name=name, revision=revision, streaming=streaming)
    except Exception as error:  # anything may come out of a loader
        raise ValueError(_explain(path, name, error)) from error
    parts = dict(opened) if isinstance(opened, dict) else {"train": opened}
    return {str(split): _undecoded(dataset) for split, dataset in parts.items()}


def _explain(path: str, name: str | None, error: Exception) -> str:
    said = str(error).strip().split("\n")[0]
    place = Path(path)
    if not place.exists() and place.parent.is_dir():
        names = [entry.name for entry in place.parent.iterdir()]
        hint = nearest(place.name, names)
        return f"data.path={path} is no folder here{hint or ''} and no dataset that could be fetched: {said}"
    configuration = f" data.name={name}" if name else ""
    return f"datasets cannot open data.path={path}{configuration}: {type(error).__name__}: {said}"


def _undecoded(dataset: Any) -> Any:
    if dataset.features is None:  # a stream that does not say
        dataset = dataset._resolve_features()
    for column, feature in dataset.features.items():
        listed = isinstance(feature, datasets.List | datasets.LargeList)
        one = feature.feature if listed else feature
        if isinstance(one, tuple(FEATURES.values())):
            undecoded = FEATURES[_role_of(one)](decode=False)
            dataset = dataset.cast_column(column, type(feature)(undecoded) if listed else undecoded)
    return dataset


def _role_of(feature: Any) -> str:
    return next(role for role, kind in FEATURES.items() if isinstance(feature, kind))


def _by_features(features: Mapping[str, Any]) -> dict[str, str]:
    """The columns whose feature says what they are, where only one does."""
    said = {}
    for role, kind in (*FEATURES.items(), ("label", ClassLabel)):
        found = [column for column, feature in features.items() if isinstance(feature, kind)]
        if len(found) == 1 or (role in found):
            said[role] = role if role in found else found[0]
    return said


def _has_no_label(dataset: Any, label: str | Sequence[str] | None = None) -> bool:
    """Whether a stored split has classes, in the columns `label` if given, and none of its rows is of one."""
    classes = [column for column, feature in dataset.features.items() if isinstance(feature, ClassLabel)]
    if label is not None:
        classes = [column for column in classes if column in ([label] if isinstance(label, str) else label)]
    if not classes or isinstance(dataset, datasets.IterableDataset):
        return False
    table = dataset.select_columns(classes).with_format("arrow")[:]
    largest = [pc.max(table[column]).as_py() for column in classes]
    return all(one is None or one < 0 for one in largest)


def _rows(dataset: Any, name: str, root: Path) -> Rows:
    streamed = isinstance(dataset, datasets.IterableDataset)
    return StreamRows(dataset, name, root) if streamed else DatasetRows(dataset, name, root)


class DatasetRows(Rows):
    """Rows of a `datasets.Dataset`, which lies on the disk, memory-mapped.

    Args:
        dataset: media columns undecoded.
                name: for messages.
        root: under which the files that rows name must lie, resolved.
    """

    def __init__(self, dataset: Any, name: str, root: Path):
        self.dataset, self.name, self.column_names = dataset, name, list(dataset.column_names)
        self.root, self.classes = root, _classes_of(dataset.features)

    def __len__(self) -> int:
        return len(self.dataset)

    def row(self, index: int) -> dict[str, Any]:
        """One row's values by column; classes by their names."""
        values = self.dataset[index]
        return values | {column: named(values[column], names) for column, names in self.classes.items()}

    def column(self, name: str) -> list[Any]:
        """One column's values; classes by their names."""
        return named_column(self.dataset.select_columns([name])[:][name], self.classes.get(name))

    def list_lengths(self, name: str) -> list[int | None] | None:
        """By the column's values, where its feature is a list."""
        if not isinstance(self.dataset.features[name], datasets.List | datasets.LargeList):
            return None
        return lengths_of(self.dataset.select_columns([name]).with_format("arrow")[:][name])

    def where(self, index: int) -> str:
        """Dataset, split and row."""
        return f"{self.name} row {index}"

    def place(self, index: int) -> tuple[Path, Path]:
        """The same for all rows."""
        return self.root, self.root


class StreamRows(Rows):
    """Rows of a stream. A block of rows is kept; what lies before it is read again from the start.

    Args:
        dataset: media columns undecoded.
                name: for messages.
        root: under which the files that rows name must lie, resolved.
    """

    def __init__(self, dataset: Any, name: str, root: Path):
        self.dataset, self.name, self.column_names = dataset, name, list(dataset.features)
        self.root, self.classes = root, _classes_of(dataset.features)
        self.rows: list[dict[str, Any]] = []
        self.first = 0  # the number of the block's first row
        self.stream: Any = None
        self.num_rows = self._count()

    def __len__(self) -> int:
        return self.num_rows

    def row(self, index: int) -> dict[str, Any]:
        """One row's values by column; classes by their names."""
        if not self.first <= index < self.first + len(self.rows):
            self._read_block(index // BLOCK * BLOCK)
        row = self.rows[index - self.first]
        values = {column: row[column] for column in self.column_names}
        return values | {column: named(values[column], names) for column, names in self.classes.items()}

    def column(self, name: str) -> list[Any]:
        """One column's values: reads the stream once."""
        values = [row[name] for row in self.dataset.select_columns([name])]
        return named_column(values, self.classes.get(name))

    def where(self, index: int) -> str:
        """Dataset, split and row."""
        return f"{self.name} row {index}"

    def place(self, index: int) -> tuple[Path, Path]:
        """The same for all rows."""
        return self.root, self.root

    def block(self, index: int) -> int:
        """As they are kept."""
        return index // BLOCK

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"stream": None, "rows": [], "first": 0}

    def _read_block(self, first: int) -> None:
        if self.stream is None or first != self.first + len(self.rows):
            self.stream = iter(self.dataset.skip(first))
        self.rows, self.first = list(islice(self.stream, BLOCK)), first
        if not self.rows:
            raise BadSample(f"{self.name} row {first}: the stream ended early.")

    def _count(self) -> int:
        info = self.dataset.info.splits or {}
        split = info.get(str(self.dataset.split)) if self.dataset.split else None
        if split is not None and split.num_examples:
            return int(split.num_examples)
        return sum(1 for _ in self.dataset.select_columns(self.column_names[:1]))


def _classes_of(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The names of each `ClassLabel`, also in lists."""
    listed = (datasets.List, datasets.LargeList)
    ones = {name: one.feature if isinstance(one, listed) else one for name, one in features.items()}
    return {name: one.names for name, one in ones.items() if isinstance(one, ClassLabel)}
