"""Hydra's part: compose the config, run the verb once or for each job of a sweep, name the mistake."""

import json
import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from unimodal.cli import CHILD_CONFIG, LAUNCHER_VARIABLES
from unimodal.mistakes import explain
from unimodal.training import presets, schema

Verb = Callable[[dict[str, Any], Path, Iterable[Path]], Any]


def _train(config: dict[str, Any], output: Path, config_dirs: Iterable[Path]) -> float | None:
    """Return the metric that decides which checkpoint is best, for a sweeper to minimise or maximise."""
    from unimodal.training.cross_validation import cross_validate, is_cross_validation
    from unimodal.training.train import train

    folds = is_cross_validation(config)
    figures = (cross_validate if folds else train)(config, output, config_dirs)
    return (figures["mean"] if folds else figures).get(figures["monitor"])


def _evaluate(config: dict[str, Any], output: Path, config_dirs: Iterable[Path]) -> None:
    from unimodal.training.evaluate import evaluate

    evaluate(config, config_dirs)


def _predict(config: dict[str, Any], output: Path, config_dirs: Iterable[Path]) -> None:
    from unimodal.training.predict import predict

    predict(config, config_dirs)


def _export(config: dict[str, Any], output: Path, config_dirs: Iterable[Path]) -> None:
    from unimodal.training.export.export import export

    export(config, config_dirs)


def _check_data(config: dict[str, Any], output: Path, config_dirs: Iterable[Path]) -> None:
    from unimodal.training.check_data import check_data

    if not check_data(config, output):
        raise Refused


class Refused(Exception):  # all has been said already
    """The verb did its work and says no: exit status 1 without another word."""


POOLINGS = "unimodal.tasks.pooling"
VERBS: dict[str, Verb] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "check-data": _check_data,
}


def run(verb: str, arguments: list[str]) -> int:
    """Run a verb as a Hydra application; returns the exit status.

    A mistake of the user's ends in one sentence; HYDRA_FULL_ERROR=1 shows where it came from.
    """
    arguments = [_plain_key(verb, argument) for argument in arguments]
    schema.register()
    OmegaConf.register_new_resolver("run_suffix", lambda: secrets.token_hex(2), use_cache=True, replace=True)
    config_dirs = _config_dirs(arguments)
    sys.path[:0] = [
        str(folder) for folder in config_dirs
    ]  # the user's own classes lie beside their yaml files
    full_error = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and leaving
    command, sys.argv = [sys.argv[0], verb, *arguments], [sys.argv[0], *arguments]
    application = hydra.main(version_base="1.3", config_path="pkg://unimodal.conf", config_name=verb)
    job = _Job(verb, config_dirs, command)
    try:
        application(job)()
        if job.error is not None:
            raise job.error
    except Refused:
        return 1
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if full_error == "1":
            raise
        sys.stderr.write(f"unimodal {verb}: {explain(error, verb, arguments)}\n")
        return 1
    finally:
        os.environ["HYDRA_FULL_ERROR"] = full_error
    return 0


def _plain_key(verb: str, argument: str) -> str:
    """`modality=` is a preset of train to Hydra; for export it names a part of the model."""
    key, equals, value = argument.partition("=")
    return f"only={value}" if verb == "export" and equals and key == "modality" else argument


class _Job:
    """One run: settles the config, and leaves it where the processes that Lightning starts find it."""

    def __init__(self, verb: str, config_dirs: list[Path], command: list[str]):
        self.verb, self.config_dirs, self.command = verb, config_dirs, command
        self.error: Exception | None = None
        self.__name__ = self.__qualname__ = verb  # hydra.main wraps it like a function

    def __call__(self, cfg: DictConfig) -> Any:
        output = Path(HydraConfig.get().runtime.output_dir)
        if self.verb in ("train", "check-data"):
            cfg.output = str(output)  # in a sweep each job has a folder of its own
        overrides = list(HydraConfig.get().overrides.task)
        for line in presets.LEFT_OUT:
            sys.stdout.write(line + "\n")
        try:
            config = _plain(cfg) | {"command": shlex.join(["unimodal", self.verb, *overrides])}
            typed = {override.lstrip("+~").partition("=")[0] for override in overrides}
            config = _settled(config, typed)
            return self._run(_adopted(config, typed, self.config_dirs), output)
        except Exception as error:
            if HydraConfig.get().mode != RunMode.RUN:
                raise
            self.error = error  # `run` raises it: Hydra would first print the overrides

    def _run(self, config: dict[str, Any], output: Path) -> Any:
        dirs = [str(folder) for folder in self.config_dirs]
        handle, name = tempfile.mkstemp(prefix="unimodal-", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"config": config, "output": str(output), "config_dirs": dirs}, file)
        os.environ[CHILD_CONFIG] = name
        sys.argv = self.command  # which Lightning starts its processes with
        try:
            return VERBS[self.verb](config, output, self.config_dirs)
        finally:
            _leave_process_group()
            for variable in (
                CHILD_CONFIG,
                *LAUNCHER_VARIABLES,
            ):  # else the next job of a sweep takes itself for a child
                os.environ.pop(variable, None)
            Path(name).unlink(missing_ok=True)


def _settled(config: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """The config with the defaults that give way to what was typed.

    A typed number of epochs stands above the least number of steps of a recipe. With several tokenizers the
    position of a token depends on what stands before it, so that a grid of positions means nothing: the
    pooling is the mean unless another one was typed.
    """
    if "trainer.max_epochs" in typed and "min_steps" not in typed and "min_steps" in config:
        config["min_steps"] = 0
    pooling = (config.get("task") or {}).get("pooling") or {}
    chosen = any(key.startswith(("task/pooling", "task.pooling")) for key in typed)
    if config.get("beside") and not chosen and pooling.get("_target_") == f"{POOLINGS}.AdaptivePooling":
        config["task"]["pooling"] = {"_target_": f"{POOLINGS}.MeanPooling"}
    return config


def _adopted(config: dict[str, Any], typed: set[str], config_dirs: list[Path]) -> dict[str, Any]:
    """With what a Hugging Face folder in `pretrained` dictates, below what was typed."""
    if not config.get("pretrained"):
        return config
    from unimodal.training.pretrained.adopt import adopt

    return adopt(config, typed, config_dirs)


def _leave_process_group() -> None:
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _plain(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain data; `???` stays where the data will decide."""
    config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def _config_dirs(arguments: list[str]) -> list[Path]:
    """The folder after --config-dir or -cd."""
    folders = []
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            folders.append(value if equals else (arguments[place + 1 : place + 2] or [""])[0])
    return [Path(folder).resolve() for folder in folders if folder]
