"""From a config to the objects of a run. A complete config is plain data and says all that the model is."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
from hydra.utils import get_object
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from unimodal.backbone.transformer import Transformer
from unimodal.data.batching import Batching
from unimodal.data.datamodule import DataModule
from unimodal.data.joint_datamodule import JointDataModule
from unimodal.data.sources.base import Source
from unimodal.data.sources.joint import JointSource
from unimodal.model import Unimodal
from unimodal.tasks.base import Task
from unimodal.tasks.joint import Joint
from unimodal.tasks.learner import Learner
from unimodal.training.finetune.base import FineTuning
from unimodal.training.finetune.full import Full
from unimodal.training.hardware import best_precision
from unimodal.training.length import validation_interval
from unimodal.training.mix import views
from unimodal.training.precision import HALF, ExactLabels

Config = dict[str, Any]
KEYWORDS = ("_target_", "_partial_", "_args_", "_convert_", "_recursive_")
MODEL_SECTIONS = ("tokenizer", "task")


def make(node: Mapping[str, Any], **known: Any) -> Any:
    """The object that a node names as `_target_`, its arguments made first; `_partial_: true` calls it later.

    Hydra's instantiate would look for `${...}` in every string once more. Ours are resolved already, and what
    the data filled in, such as a vocabulary or a class name, may hold anything.

    Raises:
        ValueError: if there is no such object, it does not take these arguments, or one is not set.
    """
    name = str(node["_target_"])
    try:
        target = get_object(name)
    except Exception as error:  # whatever importing somebody's module may raise
        raise ValueError(f"_target_ {name} cannot be imported: {error}") from error
    missing = next((key for key, value in node.items() if value == "???" and key not in known), None)
    if missing:
        raise ValueError(f"{missing} is not set, which {name.rpartition('.')[2]} needs.")
    positional = [_made(value) for value in node.get("_args_", [])]
    named = {key: _made(value) for key, value in node.items() if key not in KEYWORDS} | known
    _check_arguments(name, target, named)
    try:
        made = partial(target, *positional, **named)
        return made if node.get("_partial_") else made()
    except TypeError as error:
        raise ValueError(f"{name} cannot be made: {error}") from error


def _check_arguments(name: str, target: Any, named: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    if unknown := sorted(named.keys() - parameters.keys()):
        raise ValueError(
            f"{name} does not take {', '.join(unknown)}; it takes {', '.join(parameters)}. Take the key out "
            "of the preset or the command line that sets it, or choose the option that has it."
        )


def _made(value: Any) -> Any:
    if isinstance(value, Mapping):
        return make(value) if "_target_" in value else {key: _made(one) for key, one in value.items()}
    return [_made(one) for one in value] if isinstance(value, list | tuple) else value


def make_source(config: Config) -> Source:
    """The data that the config names, in joint training that of each source.

    Raises:
        ValueError: if it names none.
    """
    if sources := views(config):
        return JointSource({name: make_source(view) for name, view in sources.items()})
    if not config.get("data"):
        raise ValueError(
            "no data is chosen; set data=NAME, or in joint training +source@mix.NAME=image (or audio, ...)."
        )
    missing = next((key for key, value in config["data"].items() if value == "???"), None)
    if missing:
        raise ValueError(f"data.{missing} is not set; set data.{missing}=... to where your data is.")
    return make(config["data"])


def complete(config: Config, source: Source) -> Config:
    """Fill in what only the data knows: class names, vocabularies.

    In a tokenizer's or task's yaml an argument may be a function of the data, a node with `_partial_: true`.
    It is called with the source, and its plain result takes its place. What comes out needs no data any more.
    """
    if isinstance(source, JointSource):
        return config | {"mix": {name: _completed(config, name, source) for name in source.sources}}
    if missing := [section for section in MODEL_SECTIONS if config.get(section) is None]:
        raise ValueError(
            f"{missing[0]}=null: no {missing[0]} is chosen; choose one with {missing[0]}=NAME or "
            "modality=NAME, or in joint training (modality=joint) add sources with +source@mix.NAME=image."
        )
    filled = dict(config)
    for section in MODEL_SECTIONS:
        filled[section] = _filled(config[section], source)
    beside = (config.get("beside") or {}).items()
    return filled | {"beside": {name: _filled(node, source) for name, node in beside}}


def _completed(config: Config, name: str, source: JointSource) -> Config:
    """One node of the mix, with what its own source knows."""
    node, view = config["mix"][name], complete(views(config)[name], source.sources[name])
    return node | {section: view[section] for section in (*MODEL_SECTIONS, "beside")}


def _filled(node: Mapping[str, Any], source: Source) -> Config:
    return {key: _ask(value, source) for key, value in node.items()}


def _ask(value: Any, source: Source) -> Any:
    asks = isinstance(value, Mapping) and value.get("_partial_") is True
    return make(value)(source) if asks else value


def make_learner(config: Config) -> Learner:
    """The task of a complete config, or those of its sources, freshly initialised."""
    sources = views(config)
    if not sources:
        return make_task(config)
    shared = make(config["backbone"]) if config["share"] == "backbone" else None
    tasks = {name: make_task(view, shared) for name, view in sources.items()}
    return Joint(tasks, {name: node["loss_weight"] for name, node in config["mix"].items()})


def make_task(config: Config, backbone: Transformer | None = None) -> Task:
    """Tokenizers, backbone and task of a complete config, freshly initialised.

    Args:
        config: of a single run.
        backbone: to be shared, instead of one of its own.

    Raises:
        ValueError: if two tokenizers read the same field.
    """
    made = [make(node) for node in tokenizer_nodes(config)]
    tokenizers = {tokenizer.preprocess.field: tokenizer for tokenizer in made}
    if len(tokenizers) < len(made):
        raise ValueError(f"two tokenizers read the same; a model of several has {', '.join(tokenizers)}.")
    return make(config["task"], model=Unimodal(tokenizers, backbone or make(config["backbone"])))


def tokenizer_nodes(config: Config) -> list[Config]:
    """The tokenizer's node, then those beside it."""
    return [config["tokenizer"], *(config.get("beside") or {}).values()]


def make_finetuning(config: Config) -> FineTuning:
    """What learns of the model; everything where a config (of an old checkpoint) does not say."""
    node = config.get("finetune")
    return make(node) if node else Full()


def restore_task(saved: Config, weights: Mapping[str, Tensor], merged: bool = False) -> Task:
    """The trained task of a single run, or of one source of joint training; as `restore`."""
    task = restore(saved, weights, merged)
    if not isinstance(task, Task):
        raise ValueError(f"the checkpoint holds several tasks; choose one of {', '.join(saved['mix'])}.")
    return task


def restore(saved: Config, weights: Mapping[str, Tensor], merged: bool = False) -> Learner:
    """What a checkpoint had learned, from what `checkpoints.load` returns.

    Args:
        saved: its config.
        weights: its state dict.
        merged: fold adapters (LoRA) into plain weights; the outputs then differ by rounding.
    """
    task, finetuning = make_learner(saved), make_finetuning(saved)
    finetuning.inject(task)
    task.load_state_dict(weights)
    if merged:
        finetuning.merge(task)
    return task


def make_datamodules(
    config: Config, source: Source, learner: Learner, eval_split: str = "val"
) -> DataModule | JointDataModule:
    """The loaders of a single run, or the mixture of those of all sources."""
    if isinstance(learner, Task):
        return make_datamodule(config, source, learner, eval_split)
    assert isinstance(source, JointSource) and isinstance(learner, Joint)
    modules = {
        name: make_datamodule(view, source.sources[name], learner.by_source[name], eval_split)
        for name, view in views(config).items()
    }
    weights = {name: float(node["weight"]) for name, node in config["mix"].items()}
    several = config["batches"] == "several"
    return JointDataModule(source, modules, weights, config["temperature"], several, config["seed"])


def make_datamodule(config: Config, source: Source, task: Task, eval_split: str = "val") -> DataModule:
    """The loaders that fit the task and its tokenizers."""
    augment = make(config["augment"]) if config.get("augment") else None
    lengths = {field.name for field in fields(Batching)}
    datamodule = DataModule(
        source,
        task.examples,
        task.preprocess,
        augment,
        **{key: value for key, value in config["loader"].items() if key not in lengths},
        batching=Batching(**{key: value for key, value in config["loader"].items() if key in lengths}),
        seed=config["seed"],
        eval_split=eval_split,
    )
    datamodule.takes_parts = task.takes_parts
    return datamodule


def make_trainer(config: Config, output: Path, **known: Any) -> L.Trainer:
    """Lightning's Trainer: our loaders shard themselves, what is `auto` is settled."""
    node = dict(config["trainer"])
    if node["precision"] == "auto":
        node["precision"] = best_precision(node["accelerator"])
    node["check_val_every_n_epoch"] = validation_interval(node.get("check_val_every_n_epoch", "auto"))
    if node["precision"] in HALF:
        if node.get("plugins"):
            raise ValueError(
                f"trainer.precision={node['precision']} is a plugin of its own and does not go with "
                "trainer.plugins; choose trainer.precision=bf16-mixed, or leave trainer.plugins out."
            )
        known |= {"plugins": [ExactLabels(node["precision"])]}
        node["precision"] = None  # which the plugin decides
    node["strategy"] = _strategy(node, bool(config.get("mix") or config.get("beside")))
    if node.get("gradient_clip_algorithm") not in (None, "norm"):
        raise ValueError(
            f"trainer.gradient_clip_algorithm={node['gradient_clip_algorithm']} is not supported; gradients "
            "are clipped by their norm, at trainer.gradient_clip_val."
        )
    if not node.get("max_epochs") and node["max_steps"] < 0 and not node.get("max_time"):
        raise ValueError("the run would never end; set trainer.max_epochs or trainer.max_steps.")
    defaults = {
        "use_distributed_sampler": False,
        "enable_model_summary": False,
        "default_root_dir": str(output),
    }
    try:
        return make(node, **defaults, **known)
    except (MisconfigurationException, ImportError) as error:  # no such device, or no package for it
        raise ValueError(
            f"trainer.accelerator={node['accelerator']} with trainer.devices={node['devices']} does not work "
            f"here: {error} Choose trainer=auto or trainer=cpu, or change these keys."
        ) from error


def _strategy(node: Config, parts_rest: bool) -> Any:
    """DDP waits for every gradient unless it is told that a step may leave some parts of the model alone."""
    strategy = node["strategy"]
    if str(strategy).startswith(("fsdp", "deepspeed")):
        raise ValueError(
            f"trainer.strategy={strategy} keeps gradients where the loss of a step cannot be divided by its "
            "number of targets; trainer=fsdp shards parameters, gradients and optimizer state (FSDP2)."
        )
    if strategy == "auto" and node["devices"] != 1 and parts_rest:
        strategy = "ddp"
    return "ddp_find_unused_parameters_true" if strategy == "ddp" and parts_rest else strategy


def compile_blocks(task: Learner) -> None:
    """torch.compile each block in place, which keeps the names in the checkpoint clean."""
    blocks: list[nn.Module] = [block for backbone in task.backbones for block in backbone.blocks]
    for block in blocks:
        block.compile()


def num_parameters(learner: Learner) -> int:
    """Of tokenizers and backbones, shared ones once; heads do not count."""
    return sum(p.numel() for p in nn.ModuleList(learner.models).parameters())
