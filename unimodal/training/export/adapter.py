"""A run with LoRA as two: the model that was adapted, and its adapter."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from unimodal.hub.adapter import ADAPTER, Adapter, native_places, portable_places, write_adapter
from unimodal.hub.native.family import Misfit
from unimodal.hub.native.fit import Fit
from unimodal.hub.trained import LANGUAGE_MODELING, Trained
from unimodal.training import build
from unimodal.training.finetune.lora import BASE, LAYER, LoRA

Weights = Mapping[str, Tensor]


def split(saved: build.Config, weights: Weights) -> tuple[dict[str, Tensor], Adapter]:
    """The weights without the adapter, under the names of a run that never had one, and the adapter.

    Head and tokenizer are as trained.

    Raises:
        ValueError: if the run has none.
    """
    lora = build.make_finetuning(saved)
    if not isinstance(lora, LoRA):
        raise ValueError(
            f"adapter=true needs a run with finetune=lora; this one has finetune={lora.name}, leave it out."
        )
    plain = {name.replace(BASE, "."): tensor for name, tensor in weights.items() if not LAYER.match(name)}
    layers = {}
    for name, down in weights.items():
        found = LAYER.match(name)
        if found and found["side"] == "A":
            layers[found["layer"]] = (down, weights[name.replace(".lora_A.", ".lora_B.")])
    return plain, Adapter(lora.r, lora.alpha, lora.dropout, layers)


def with_adapter(adapter: Adapter, trained: Trained, fitted: Fit) -> tuple[Fit | None, str]:
    """The stock class where it has a place for the adapter; else none, and why."""
    try:
        native_places(adapter, trained, fitted)
    except Misfit as misfit:
        return None, str(misfit)
    return fitted, ""


def put_adapter(folder: Path, adapter: Adapter, trained: Trained, fitted: Fit | None, base: str) -> None:
    """Write the adapter beside its model.

    Args:
        folder: of the model, which is written already.
        adapter: of `split`.
        trained: the model, without it.
        fitted: the stock class of the model, None for a portable one.
        base: name of the model where it will be.
    """
    if fitted is None:  # peft's class for language models hands on what ours do not take
        places, task_type = portable_places(adapter, trained), None
    else:
        places = native_places(adapter, trained, fitted)
        task_type = "CAUSAL_LM" if LANGUAGE_MODELING in fitted.head.tasks else None
    write_adapter(folder / ADAPTER, adapter, places, base, task_type)
