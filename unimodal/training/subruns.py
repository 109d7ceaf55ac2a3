"""Runs inside the folder of another one: the folds of a cross-validation, and pretraining."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from unimodal.training.build import Config
from unimodal.training.config_differences import MISSING, differences, shown

WITH_PATHS = ("callbacks", "logger", "trainer", "pretrain")  # sections that name the run folder
MAY_DIFFER = (  # between a finished run and what it would be now: nothing that changes its metrics
    "command",
    "baseline",
    "output",
    "logger",
    "compile",
    "resume_allow",
    "loader.eval_batch_size",
    "loader.num_workers",
    "loader.pin_memory",
    "data.path",
    "data.root",
    "data.cache_gib",
    "data.allow_changed",
    "data.allow_outside_root",
)


def moved(config: Config, old: Path, new: Path) -> Config:
    """Return the config of a run in the folder `new` instead of `old`."""
    sections = {key: _moved(config.get(key), str(old), str(new)) for key in WITH_PATHS}
    return config | sections | {"output": str(new)}


def _moved(value: Any, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _moved(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_moved(one, old, new) for one in value]
    within = isinstance(value, str) and (value == old or value.startswith(f"{old}/"))
    return new + value[len(old) :] if within else value


def check_same(folder: Path, own: Config, kind: str, why: str, may_differ: tuple[str, ...] = ()) -> None:
    """Raise ValueError if a finished run was trained with another config.

    Args:
        folder: of the finished run.
        own: the config that the run would have now.
        kind: what the run is, in the message.
        why: why the configs must be the same, in the message.
        may_differ: keys, beside `MAY_DIFFER`, whose values do not count.
    """
    saved = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for key, old, new in differences(saved, own):
        is_new_and_off = old is MISSING and not new  # a key that did not exist yet when the run was trained
        may = any(key == one or key.startswith(f"{one}.") for one in (*MAY_DIFFER, *may_differ))
        if not may and not is_new_and_off:
            raise ValueError(
                f"{key}={shown(new)}, but the finished {kind} in {folder} has {key}={shown(old)}, and {why}; "
                f"set {key} as it was, remove {folder}, or choose another output=DIR."
            )
