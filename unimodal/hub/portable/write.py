"""A folder that any machine with transformers loads: config, weights and code; processors come later."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from unimodal.hub.generation import write_decoding, write_generation
from unimodal.hub.portable.auto import model_class, modules_of
from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.describe import describe
from unimodal.hub.portable.flatten import write_code
from unimodal.hub.portable.names import find
from unimodal.hub.portable.nodes import named
from unimodal.hub.portable.parts import PARTS
from unimodal.hub.trained import CAPTIONING, LANGUAGE_MODELING, Trained
from unimodal.hub.weights import write_weights


def write_portable(folder: Path, trained: Trained) -> None:
    """Write config.json, model.safetensors, the code and, of what writes text, generation_config.json.

    A task that no class is for is written without its head, for `AutoModel`.

    Args:
        folder: exists; files of these names are replaced.
        trained: what the run learned.

    Raises:
        ValueError: if the weights do not fit the nodes, or a class from outside of unimodal needs more than
            an exported folder can hold.
    """
    config = describe(trained)
    weights = _weights(config, trained)
    config.dtype = next(value.dtype for key, value in weights.items() if key.startswith("model.backbone."))
    write_code(folder, named(config), modules_of(trained.task["_target_"]))
    config.save_pretrained(folder)
    if trained.task["_target_"] == LANGUAGE_MODELING:
        write_generation(folder, trained)
    if trained.task["_target_"] == CAPTIONING:
        write_decoding(folder, trained)
    write_weights(folder, weights)


def _weights(config: UnimodalConfig, trained: Trained) -> dict[str, Tensor]:
    """What the exported model holds; metrics and the objective's own state stay behind."""
    assert config.architectures
    with torch.device("meta"), _parts_of(config):
        model = model_class(config.architectures[0])(config)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    for tied in model.all_tied_weights_keys:  # safetensors keeps a shared tensor once
        del wanted[tied]
    wrong = sorted(
        key
        for key, shape in wanted.items()
        if key not in trained.weights or trained.weights[key].shape != shape
    )
    if wrong:
        raise ValueError(
            f"the run's weights do not fit its config: {', '.join(wrong[:5])} are missing or differ."
        )
    return {key: trained.weights[key] for key in wanted}


@contextmanager
def _parts_of(config: UnimodalConfig) -> Iterator[None]:
    """A run may use classes from outside of unimodal: it was built of them. Other configs may not."""
    own = {name: find(name) for name in named(config) if name not in PARTS}
    PARTS.update(own)
    try:
        yield
    finally:
        for name in own:
            del PARTS[name]
