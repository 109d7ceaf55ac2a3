"""metrics.csv: one row a step, written so that a resumed run goes on in the same file."""

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only


class MetricsCSV(Logger):
    """Keeps one row a step and rewrites the file whole, so that a reader never sees half a row.

    Lightning's CSVLogger deletes the file of the run that it resumes; this one keeps its rows up to there.

    Args:
        output: the run folder.
    """

    def __init__(self, output: str | Path):
        super().__init__()
        self.path = Path(output) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        """Lightning's name for the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> "MetricsCSV":
        """Lightning's handle on what is written to."""
        return self

    def resume(self, step: int) -> None:
        """Take over the rows of an interrupted run up to `step`."""
        if self.path.exists():
            with self.path.open(newline="") as file:
                old = [{k: v for k, v in row.items() if v} for row in csv.DictReader(file)]
            self.rows = {int(row["step"]): row for row in old if int(row["step"]) <= step}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures to the row of a step."""
        step = step or 0
        self.rows.setdefault(step, {"step": step}).update(metrics)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml holds them."""

    @rank_zero_only
    def save(self) -> None:
        """Write the file."""
        columns = sorted({key for row in self.rows.values() for key in row} - {"step", "epoch"})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(".csv.part")
        with half.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", "epoch", *columns])
            writer.writeheader()
            writer.writerows(self.rows[step] for step in sorted(self.rows))
        os.replace(half, self.path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Lightning calls this at the end, also after an error."""
        if self.rows:
            self.save()
