"""`unimodal train data.folds=5`: one training a fold, then the metrics of all of them in a table."""

import gc
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_only

from unimodal.tasks.intervals import accuracy_interval
from unimodal.training.build import Config
from unimodal.training.console import say
from unimodal.training.intervals import interval_names, metric_rows
from unimodal.training.pretraining import without_unused
from unimodal.training.subruns import check_same, moved
from unimodal.training.train import resumable, train


def is_cross_validation(config: Config) -> bool:
    """Whether the config asks for the trainings of all folds.

    Raises:
        ValueError: if a source of joint training does.
    """
    for name, node in (config.get("mix") or {}).items():
        folds = (node.get("data") or {}).get("folds")
        if folds is not None:
            raise ValueError(
                f"mix.{name}.data.folds={folds} asks for cross-validation, which joint training does not "
                f"support; set mix.{name}.data.folds=null, or train the source alone with modality=NAME."
            )
    data = config.get("data") or {}
    return data.get("folds") is not None and data.get("fold") is None


def cross_validate(config: Config, output: Path, config_dirs: Iterable[Path] = ()) -> dict[str, Any]:
    """Train each fold into a run folder of its own; returns what `metrics.json` of `output` contains.

    Started again with the same `output`, it continues with the fold that was interrupted. Folds that were
    trained alone, with `data.fold=K output=OUTPUT/fold-K`, are taken as they are.

    Args:
        config: resolved, of train.yaml, with `data.folds` and without `data.fold`.
        output: the folder of the folds' run folders.
        config_dirs: the user's own folders of yaml files.

    Raises:
        ValueError: if the folder holds a finished cross-validation, a finished fold has another config, or a
            run does not fit together.
    """
    resumable(output)
    config = without_unused(config)
    num_folds, figures = config["data"]["folds"], []
    for fold in range(1, num_folds + 1):
        folder = output / f"fold-{fold}"
        own = _of_fold(config, fold, output, folder)
        if (folder / "metrics.json").exists():
            check_same(folder, own, "fold", "folds must have the same")
            say(f"fold {fold} of {num_folds} is finished: {folder}")
            figures.append(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
            continue
        say(f"\nfold {fold} of {num_folds}")
        figures.append(train(own, folder, config_dirs))
        gc.collect()  # the model of a finished fold is part of reference cycles
    summary = summarize(figures)
    _write(summary, output)
    say("\n" + "\n".join(table_lines(summary)))
    say(f"\n  run  {output} (fold-1 to fold-{num_folds}, metrics.json)")
    return summary


def _of_fold(config: Config, fold: int, output: Path, folder: Path) -> Config:
    """The config of one fold, with its own folder in place of the common one."""
    own = {"data": config["data"] | {"fold": fold}, "output": str(folder)}
    command = {"command": f"{config['command']} data.fold={fold}"} if config.get("command") else {}
    return moved(config, output, folder) | own | command


def summarize(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation over the folds of each metric that all of them have.

    Args:
        folds: what metrics.json contains of each.
    """
    names = [
        name
        for name, value in folds[0].items()
        if name.startswith(("val/", "test/"))
        and isinstance(value, float)
        and all(name in fold for fold in folds)
    ]
    values = {name: np.array([fold[name] for fold in folds], np.float64) for name in names}
    return {
        "monitor": folds[0]["monitor"],
        "mean": {name: float(column.mean()) for name, column in values.items()},
        "deviation": {name: float(column.std(ddof=1)) for name, column in values.items()},
        **_pooled(folds),
        "num_samples": sum(fold.get("val/num_samples", 0) for fold in folds),
        "seconds": round(sum(map(_seconds, folds)), 1),
        "folds": [dict(fold) for fold in folds],
    }


def _seconds(fold: Mapping[str, Any]) -> float:
    """The duration of a fold's training, with that of its pretraining."""
    return float(fold["seconds"] + fold.get("pretraining", {}).get("seconds", 0))


def _pooled(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The accuracy over the samples of all folds and its interval; nothing where samples have no class."""
    if not all("val/accuracy_interval" in fold for fold in folds):
        return {}
    num = sum(fold["val/num_samples"] for fold in folds)
    right = sum(round(fold["val/accuracy"] * fold["val/num_samples"]) for fold in folds)
    return {"pooled": {"val/accuracy": right / num, **interval_names(accuracy_interval(right, num), "val")}}


def table_lines(summary: Mapping[str, Any]) -> list[str]:
    """A line a fold and a column a metric, then mean and standard deviation."""
    names = list(summary["mean"])
    rows = [(f"fold {place}", fold) for place, fold in enumerate(summary["folds"], 1)]
    rows += [("mean", summary["mean"]), ("deviation", summary["deviation"])]
    widths = [max(len(name), 8) for name in names]
    lines = [f"  {'':<9}" + "".join(f"  {name:>{width}}" for name, width in zip(names, widths, strict=True))]
    for title, row in rows:
        cells = (f"  {row[name]:>{width}.4f}" for name, width in zip(names, widths, strict=True))
        lines.append(f"  {title:<9}" + "".join(cells))
    pooled = metric_rows(summary.get("pooled", {}) | {"val/num_samples": summary["num_samples"]})
    return [*lines, *(f"  all folds: {name} {row}" for name, row in pooled.items() if "interval" in row)]


@rank_zero_only
def _write(summary: Mapping[str, Any], output: Path) -> None:
    (output / "metrics.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
