"""A folder that a stock class loads, without any code of ours."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, PreTrainedConfig

from unimodal.hub.generation import write_generation
from unimodal.hub.labels import label_settings, special_ids
from unimodal.hub.native.family import Config
from unimodal.hub.native.fit import Fit
from unimodal.hub.processors.writing import write_processors
from unimodal.hub.trained import LANGUAGE_MODELING, REGRESSION, Trained
from unimodal.hub.weights import write_weights

BACKBONE, HEAD = "model.backbone.", ("head.", "head_norm.")


def write_native(folder: Path, trained: Trained, fit: Fit) -> None:
    """Write config.json, model.safetensors, processors and, of a language model, generation_config.json.

    Args:
        folder: exists; files of these names are replaced.
        trained: what the run learned.
        fit: of `fit.fit`.

    Raises:
        Misfit: if a tensor has no place in the stock class.
    """
    stock_config(trained, fit).save_pretrained(folder)
    ours = own_tensors(trained, fit.field, bool(fit.head.tasks))
    written = fit.family.write_tensors(ours, fit.spec, fit.head)
    write_weights(folder, {name: tensor.float() for name, tensor in written.items()})
    only = Trained(trained.backbone, {fit.field: trained.tokenizers[fit.field]}, trained.task, {})
    write_processors(folder, only, portable=False)
    if trained.task["_target_"] == LANGUAGE_MODELING and fit.head.tasks:
        write_generation(folder, trained)


def stock_config(trained: Trained, fit: Fit) -> PreTrainedConfig:
    """The stock config of the model with its head."""
    config: Config = {"architectures": [fit.head.stock], "dtype": "float32"}
    config |= fit.family.write_config(fit.spec) | fit.head.config(fit.spec)
    if fit.head.tasks:
        config |= label_settings(trained.task)
    if fit.field == "text":
        config |= special_ids(trained.tokenizers["text"]["vocabulary"])
    return CONFIG_MAPPING[config.pop("model_type")](**config)


def own_tensors(trained: Trained, field: str, with_head: bool) -> dict[str, Tensor]:
    """The tensors of backbone, one tokenizer and head, by the names of the tables.

    A regression's head gives the numbers in the data's units: the stock classes know no others.
    """
    tokenizer = f"model.tokenizers.{field}."
    ours: dict[str, Tensor] = {}
    for name, tensor in trained.weights.items():
        if name.startswith(BACKBONE):
            ours[name.removeprefix(BACKBONE)] = tensor
        elif name.startswith(tokenizer):
            ours[f"tokenizer.{name.removeprefix(tokenizer)}"] = tensor
        elif with_head and name.startswith(HEAD):
            ours[name] = tensor
    if with_head and trained.task["_target_"] == REGRESSION:
        std, mean = (torch.tensor(trained.task[key]) for key in ("target_std", "target_mean"))
        ours["head.weight"] = ours["head.weight"] * std[:, None]
        ours["head.bias"] = ours["head.bias"] * std + mean
    return ours
