"""A low-rank adapter as peft reads it, for the modules that the exported model has when it is loaded."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from unimodal.hub.native.family import Misfit
from unimodal.hub.native.fit import Fit
from unimodal.hub.native.writing import BACKBONE, own_tensors, stock_config
from unimodal.hub.trained import Trained

ADAPTER = "adapter"  # the folder of it, beside the model's files
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """What low-rank adaptation learned (Hu et al. 2021, LoRA, arXiv 2106.09685).

    Attributes:
        r: its rank.
        alpha: its output is multiplied by alpha / r.
        dropout: of its input, in training.
        layers: by the name of the linear layer within the backbone, such as `blocks.0.attention.query`: the
            two matrices, [r, in] and [out, r].
    """

    r: int
    alpha: float
    dropout: float
    layers: Mapping[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Places:
    """Where the layers are in a model of transformers.

    Attributes:
        names: of its modules, by ours.
        modules: the names of all its modules.
        transposed: whether they keep their weights [in, out], as GPT-2's do.
    """

    names: Mapping[str, str]
    modules: tuple[str, ...]
    transposed: bool = False


def portable_places(adapter: Adapter, trained: Trained) -> Places:
    """In the portable classes a layer has the name that it has in the run."""
    ours = (name.rpartition(".")[0] for name in trained.weights)
    return Places({name: f"{BACKBONE}{name}" for name in adapter.layers}, tuple(ours))


def native_places(adapter: Adapter, trained: Trained, fit: Fit) -> Places:
    """In a stock class, whose modules are called otherwise than its tensors on the disk.

    The class is loaded once with weights that say whose they are: every number in a layer's matrix is the
    layer's own.

    Args:
        adapter: of the run.
        trained: its model without the adapter.
        fit: the stock class.

    Raises:
        Misfit: if the class has a layer only as a part of a larger one.
    """
    numbers = dict(zip(adapter.layers, count(1)))
    theirs = fit.family.write_tensors(_numbered(trained, fit, numbers), fit.spec, fit.head)
    stock: Any = getattr(transformers, fit.head.stock)
    with _no_bar():
        model = stock.from_pretrained(None, config=stock_config(trained, fit), state_dict=theirs)
    layers = {name: one for name, one in model.named_modules() if isinstance(one, nn.Linear | Conv1D)}
    found = {name: set(one.weight.unique().tolist()) for name, one in layers.items()}
    places = {ours: _place(ours, number, found, fit) for ours, number in numbers.items()}
    transposed = all(isinstance(layers[name], Conv1D) for name in places.values())
    return Places(places, tuple(name for name, _ in model.named_modules()), transposed)


def write_adapter(folder: Path, adapter: Adapter, places: Places, base: str, task_type: str | None) -> None:
    """Write adapter_config.json and adapter_model.safetensors.

    Args:
        folder: is made.
        adapter: what was learned.
        places: where it belongs.
        base: name of the model: of its folder, or on the hub. A path would tell of this machine only.
        task_type: as peft calls it, or None for any.
    """
    from peft import LoraConfig

    folder.mkdir()
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]  # only multiplied
        lora_dropout=adapter.dropout,
        target_modules=_targets(places),
        fan_in_fan_out=places.transposed,
        base_model_name_or_path=base,
        task_type=task_type,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    written = folder / CONFIG  # in which a set of names stands in any order
    said = json.loads(written.read_text(encoding="utf-8"))
    said["target_modules"] = sorted(said["target_modules"])
    written.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    tensors = {}
    for ours, (down, up) in adapter.layers.items():
        name = f"base_model.model.{places.names[ours]}"
        tensors[f"{name}.lora_A.weight"] = down.float().contiguous()
        tensors[f"{name}.lora_B.weight"] = up.float().contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@contextmanager
def _no_bar() -> Iterator[None]:
    """This loading is none that the user waits for."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _numbered(trained: Trained, fit: Fit, numbers: Mapping[str, int]) -> dict[str, Tensor]:
    ours = own_tensors(trained, fit.field, bool(fit.head.tasks))
    blank = {name: torch.zeros(tensor.shape) for name, tensor in ours.items()}
    return blank | {f"{n}.weight": torch.full_like(blank[f"{n}.weight"], i) for n, i in numbers.items()}


def _place(ours: str, number: int, found: Mapping[str, set[float]], fit: Fit) -> str:
    name = next((name for name, numbers in found.items() if number in numbers), "")
    if not name or found[name] != {number}:
        where = f"only as a part of {name}" if name else "not as a linear layer"
        raise Misfit(
            f"{fit.head.stock} has {ours} {where}, which no adapter can be put on; format=portable has a "
            "place for it, adapter=false merges it."
        )
    return name


def _targets(places: Places) -> list[str]:
    """Endings that are theirs alone, which read better than every name of every block."""
    wanted = set(places.names.values())
    endings = sorted({_within_block(name) for name in wanted})
    meant = {name for name in places.modules if any(name.endswith(f".{ending}") for ending in endings)}
    return endings if meant == wanted else sorted(wanted)


def _within_block(name: str) -> str:
    """What follows the last number: `vit.layers.0.attention.q_proj` -> `attention.q_proj`."""
    parts = name.split(".")
    last = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[last + 1 :])
