"""The check that starts from files: the files, and what a clean process found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.hub.trained import CAPTIONING, CONTRASTIVE, LANGUAGE_MODELING
from unimodal.hub.usage_files import Reading
from unimodal.tasks.base import Task
from unimodal.training import build
from unimodal.training.export.asking import Loading
from unimodal.training.export.file_report import FileReport, report
from unimodal.training.export.files import NUM_SCANNED, HeldOut, held_out, names_of, request_of
from unimodal.training.export.kinds import reading_of
from unimodal.training.export.run import Run
from unimodal.training.export.verify import units


@dataclass(frozen=True)
class FileCheck:
    """Held-out files, and how they are compared.

    Attributes:
        task: of the run.
        preprocess: by modality.
        readings: what the card's lines have to know, by modality; of the files' kinds too.
        files: that a clean process is asked about.
        num_whole: the first ones, of which outputs are compared and not the pipeline's answer alone.
        with_head: whether outputs are those of the head.
        writes: whether the folder's answers are texts.
        scale: the unit of each output.
        with_metric: whether the metrics of the run are taken too.
    """

    task: Task
    preprocess: Mapping[str, Any]
    readings: Mapping[str, Reading]
    files: tuple[HeldOut, ...]
    num_whole: int
    with_head: bool
    writes: bool
    scale: tuple[float, ...]
    with_metric: bool

    @classmethod
    def of_run(
        cls,
        config: build.Config,
        run: Run,
        loading: Loading,
        preprocess: Mapping[str, Any],
        place: Path,
    ) -> "FileCheck":
        """Choose the files; decoded samples are written to `place`."""
        num_samples, num_metric = config["num_samples"], config["num_metric_samples"]
        predicts = bool(names_of(run.task)) and loading.with_head
        readings, files = {}, list[HeldOut]()
        for field, one in preprocess.items():
            reading = reading_of(field, one)
            found = []
            if field in _asked(run, loading):
                num = max(num_samples, num_metric or NUM_SCANNED)
                found = held_out(run.saved, field, one, reading, num, place)
            kinds = tuple(dict.fromkeys(name for file in found for name in file.kind))
            readings[field] = reading_of(field, one, kinds)
            files += found[: max(num_samples, num_metric if predicts else 0)]
        writes = run.trained.task["_target_"] == CAPTIONING and loading.with_head
        scale = tuple(units(run.saved["task"]))
        return cls(
            task=run.task,
            preprocess=preprocess,
            readings=readings,
            files=tuple(files),
            num_whole=num_samples,
            with_head=loading.with_head,
            writes=writes,
            scale=scale,
            with_metric=predicts and num_metric > 0,
        )

    def request(self) -> dict[str, Any]:
        """What a clean process has to know; nothing where there are no files."""
        if not self.files:
            return {}
        return request_of(self.files, self.task, self.num_whole, self.with_head, self.writes)

    def report(self, answers: Mapping[str, np.ndarray]) -> FileReport:
        """What the clean process found beside what the run makes of the files."""
        return report(
            self.files,
            answers,
            self.task,
            self.preprocess,
            self.with_head,
            self.scale,
            self.writes,
            self.with_metric,
        )


def _asked(run: Run, loading: Loading) -> list[str]:
    """The modalities of which the card's lines read a sample that can be compared."""
    target, fields = run.trained.task["_target_"], list(run.trained.tokenizers)
    if not loading.with_head or target not in (LANGUAGE_MODELING, CAPTIONING, CONTRASTIVE):
        return [run.field] if run.field != "text" or (names_of(run.task) and loading.with_head) else []
    if target == LANGUAGE_MODELING:  # its texts are continued, which is compared apart
        return []
    if target == CONTRASTIVE:
        return fields
    media = [field for field in fields if field != "text"]
    decoding: Any = run.task
    return media if len(media) == 1 and not decoding.decoding.temperature else []
