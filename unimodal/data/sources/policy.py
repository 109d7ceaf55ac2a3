"""What the user decides about missing splits, bad samples and memory, the same for rows from everywhere."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """The settings that folder, table and hub share.

    Attributes:
        val_fraction: share of the training part that becomes val where none is given; None: none is made, and
            what is given no split is val, as evaluation wants it.
        train_fraction: share of what is left to train on that is used; a smaller one is part of a larger one,
            and val stays what it is.
        folds: number of parts of the training split in cross-validation; None: no cross-validation.
        fold: the part, from 1 to `folds`, that is the validation split; the others are trained on.
        id_pattern: regular expression searched in a file's path relative to the data; its first group, or the
            whole match, is the id of the sample. Samples with the same id stay in the same split.
        seed: of all these choices.
        on_bad_sample: `error`, or `skip` to leave out at most 1%.
        cache_gib: room for decoded media on the disk, so that they are decoded once; 0 keeps none.
        allow_changed: resume a run although the data has changed.
        allow_missing: a row may lack some of its media; one of them is enough.
    """

    val_fraction: float | None = 0.1
    train_fraction: float = 1.0
    folds: int | None = None
    fold: int | None = None
    id_pattern: str | None = None
    seed: int = 0
    on_bad_sample: str = "error"
    cache_gib: float = 2.0
    allow_changed: bool = False
    allow_missing: bool = False

    def __post_init__(self) -> None:
        if self.on_bad_sample not in ("error", "skip"):
            raise ValueError(f"data.on_bad_sample={self.on_bad_sample} is unknown; set it to error or skip.")
        if not 0 < self.train_fraction <= 1:
            raise ValueError(
                f"data.train_fraction={self.train_fraction} is not in (0, 1]; set it to a share such as 0.1."
            )
        self._check_folds()
        try:
            re.compile(self.id_pattern or "")
        except re.error as error:
            raise ValueError(
                f"data.id_pattern={self.id_pattern} is not a regular expression of Python's re: {error}; "
                "correct it, or set data.id_pattern=null."
            ) from error

    def _check_folds(self) -> None:
        if self.folds is None:
            if self.fold is not None:
                raise ValueError(
                    f"data.fold={self.fold} is one part of a cross-validation, but data.folds is null; set "
                    "data.folds to the number of parts, such as data.folds=5."
                )
            return
        if self.folds < 2:
            raise ValueError(f"data.folds={self.folds} is fewer than 2 parts; set data.folds to 2 or more.")
        if self.fold is not None and not 1 <= self.fold <= self.folds:
            raise ValueError(
                f"data.fold={self.fold} is not between 1 and data.folds={self.folds}; set data.fold to the "
                "number of one part."
            )
