"""A folder that any machine with transformers loads: config, weights and code; processors come later."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import GenerationConfig

from unimodal.hub.portable import modeling_unimodal
from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.describe import LANGUAGE_MODELING, describe
from unimodal.hub.portable.flatten import write_code
from unimodal.hub.portable.names import find
from unimodal.hub.portable.nodes import named
from unimodal.hub.portable.parts import PARTS
from unimodal.hub.trained import Trained

MAX_SHARD_SIZE = "5GB"
SAMPLING = {"temperature": 0.8, "top_k": None, "top_p": 0.95}  # of a language model that does not say


def write_portable(folder: Path, trained: Trained) -> None:
    """Write config.json, model.safetensors, the code and, of a language model, generation_config.json.

    A task of another kind than classification, regression and language modelling is written without its
    head, for `AutoModel`.

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
    write_code(folder, named(config))
    config.save_pretrained(folder)
    if trained.task["_target_"] == LANGUAGE_MODELING:
        _generation(config, trained).save_pretrained(folder)
    save_torch_state_dict(weights, folder, max_shard_size=MAX_SHARD_SIZE, metadata={"format": "pt"})


def _weights(config: UnimodalConfig, trained: Trained) -> dict[str, Tensor]:
    """What the exported model holds; metrics and the objective's own state stay behind."""
    assert config.architectures
    with torch.device("meta"), _parts_of(config):
        model = getattr(modeling_unimodal, config.architectures[0])(config)
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
    return {key: _whole(trained.weights[key].detach()) for key in wanted}


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


def _whole(tensor: Tensor) -> Tensor:
    """Without what its storage holds beside it, as torch's Hann window does, which safetensors refuses."""
    alone = tensor.contiguous()
    return alone if alone.untyped_storage().nbytes() == alone.nbytes else alone.clone()


def _generation(config: UnimodalConfig, trained: Trained) -> GenerationConfig:
    """The run's sampling; a text starts with the end of the one before it, as in training."""
    new = {"max_new_tokens": trained.task["sample_len"]} if "sample_len" in trained.task else {}
    temperature, top_k, top_p = (trained.task.get(knob, usual) for knob, usual in SAMPLING.items())
    sampling = {
        "do_sample": True,
        "temperature": temperature,
        "top_k": top_k or 0,  # 0: all
        "top_p": top_p or 1.0,
    }
    ids = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return GenerationConfig(**ids, **new, **(sampling if temperature else {"do_sample": False}))
