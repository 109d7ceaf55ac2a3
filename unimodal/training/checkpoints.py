"""Checkpoints hold plain data only, and what they say is data: no code runs from one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy

from unimodal.training import distributed_checkpoint as sharded
from unimodal.training.build import Config
from unimodal.training.mix import views, weights_of

FORMAT = 1
BUILT = ("backbone", "tokenizer", "task", "data")  # the sections that anything is built from
PLAIN = ("seed", "loader")
JOINT = ("mix", "share", "batches", "temperature")  # old checkpoints do not have them
SHARDING = (".FullySharded", ".ModelParallelStrategy")  # strategies that shard the optimizer
BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"


class SaveConfig(Callback):
    """Puts the complete config into every checkpoint, from which the model can be rebuilt without its data.

    Args:
        config: plain data.
    """

    def __init__(self, config: Config):
        self.config = config

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Called by Lightning."""
        checkpoint["unimodal"] = {"format": FORMAT, "config": self.config}


def is_checkpoint(path: str | Path) -> bool:
    """Whether `find` would find one."""
    path = Path(path)
    return path.is_file() or sharded.is_sharded(path) or any((path / name).exists() for name in (BEST, LAST))


def find(path: str | Path) -> Path:
    """The checkpoint that a path means: a file, a folder of shards, or a run folder, whose best one it is.

    Raises:
        ValueError: if there is none.
    """
    path = Path(path)
    if path.is_file() or sharded.is_sharded(path):
        return path
    for name in (BEST, LAST):
        if (path / name).exists():
            return path / name
    if (path / "config.json").exists():
        raise ValueError(
            f"{path} is no run but a Hugging Face folder, which a run can start from: pretrained="
        )
    why = f"it has no {BEST}" if path.exists() else "it does not exist"
    raise ValueError(f"{path} is no checkpoint and no run folder ({why}).")


def load(path: str | Path, config_dirs: Iterable[Path] = ()) -> tuple[Config, dict[str, torch.Tensor]]:
    """What a checkpoint says of model and data, and its weights, on the CPU.

    Args:
        path: checkpoint or run folder.
        config_dirs: the user's own folders of yaml files, whose `_target_`s count as declared.

    Raises:
        ValueError: if the file is no checkpoint of ours, or names code that no yaml declares.
    """
    file = find(path)
    content = _read(file)
    saved = content.get("unimodal") if isinstance(content, dict) else None
    if not saved:
        raise ValueError(f"{file} is no checkpoint of unimodal.")
    if saved["format"] > FORMAT:
        raise ValueError(
            f"{file} has format {saved['format']}; this version reads up to {FORMAT}. Upgrade unimodal."
        )
    config = {key: saved["config"][key] for key in (*BUILT, *PLAIN)}  # what is not checked does not get out
    config["beside"] = saved["config"].get("beside") or {}
    config |= {key: saved["config"].get(key) for key in JOINT}
    config["finetune"] = saved["config"].get("finetune")  # old checkpoints do not have it
    config["command"] = str(saved["config"].get("command") or "")
    check_targets(config, config_dirs, file)
    return config, content["state_dict"]


def of_source(
    saved: Config, weights: dict[str, torch.Tensor], source: str | None, key: str = "only"
) -> tuple[Config, dict[str, torch.Tensor]]:
    """One source of a joint run as a run of its own; a single run as it is.

    Args:
        saved: what `load` gave.
        weights: likewise.
        source: its name.
        key: with which the user says it.

    Raises:
        ValueError: if the run has no such source, or has several and none is named.
    """
    sources = views(saved)
    if not sources and source:
        raise ValueError(f"{key}={source}: the checkpoint is not of joint training, it has one source.")
    if not sources:
        return saved, weights
    if source not in sources:
        wanted = f"{key}={source} is not one of" if source else f"choose one with {key}="
        raise ValueError(f"the checkpoint is of joint training; {wanted}: {', '.join(sources)}.")
    return sources[source], weights_of(source, weights)


def weights(file: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint, on the CPU."""
    return _read(file)["state_dict"]


def read_state(file: Path) -> dict[str, Any]:
    """All that a checkpoint holds beside the weights and the optimizer's moments; of a file, these too.

    Raises:
        ValueError: if it is not plain data.
    """
    content = _plainly(file, sharded.read_rest) if file.is_dir() else _read(file)
    if not isinstance(content, dict) or "unimodal" not in content:
        raise ValueError(f"{file} is no checkpoint of unimodal.")
    return content


def check_strategy(last: Path, trainer: Trainer) -> None:
    """Raise ValueError where the optimizer's state is of another kind than this trainer's strategy reads.

    A file of trainer=fsdp numbers the parameters as the model does, any other as the optimizer's groups do:
    what one wrote the other would give to the wrong parameters.
    """
    sharding = isinstance(trainer.strategy, ModelParallelStrategy)
    if last.is_dir() and not sharding:
        raise ValueError(f"{last} is a folder of shards; go on with trainer=fsdp.")
    strategy = read_state(last)["unimodal"]["config"]["trainer"].get("strategy")
    sharded_before = isinstance(strategy, Mapping) and str(strategy.get("_target_")).endswith(SHARDING)
    if sharded_before != sharding and not last.is_dir():
        before, now = ("with", "without") if sharded_before else ("without", "with")
        raise ValueError(
            f"{last} was saved {before} trainer=fsdp, and the optimizer cannot go on {now} it; set trainer "
            "as before, or start a new run with another output=DIR and pretrained=RUN."
        )


def steps_before(last: Path, trainer: Trainer) -> int:
    """The optimizer steps behind a checkpoint from which a run is about to go on.

    Raises:
        ValueError: if it is not plain data, or this trainer cannot go on from it.
    """
    if not last.is_dir():
        return int(_read(last)["global_step"])
    check_strategy(last, trainer)
    for file in last.parent.iterdir():  # the best one too, from which the final figures come
        if sharded.is_sharded(file):
            _plainly(file, sharded.check)
    return int(_plainly(last, sharded.read_rest)["global_step"])


def _read(file: Path) -> Any:
    whole = partial(torch.load, map_location="cpu", weights_only=True)
    return _plainly(file, sharded.read if file.is_dir() else whole)


def _plainly(file: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(file)
    except Exception as error:
        raise ValueError(f"{file} cannot be read as a checkpoint of plain data: {error}") from error


def check_targets(
    node: Any, config_dirs: Iterable[Path], file: str | Path, known: Iterable[str] | None = None
) -> None:
    """Raise where nested plain data from `file` names a class that it may not.

    Args:
        node: the data.
        config_dirs: folders whose yaml files declare what may be named.
        file: in the message.
        known: what else may be named, and only as an object of its own; by default what unimodal's yaml
            files declare.
    """
    package = [Path(str(files("unimodal.conf")))] if known is None else []
    declared = _declared_targets([*package, *config_dirs]) | set(known or ())
    for target in _targets(node):
        if target not in declared:
            raise ValueError(
                f"{file} names {target}, which no yaml of unimodal declares. If it is your own code, "
                "name the folder of its yaml with --config-dir."
            )


def _declared_targets(folders: Iterable[Path]) -> set[str]:
    declared: set[str] = set()
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            declared.update(_targets(yaml.safe_load(file.read_text(encoding="utf-8"))))
    return declared


def _targets(node: Any) -> Iterator[str]:
    """All `_target_`s of nested plain data."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _targets(value)
