"""A model's shape as one flat dict: what the family tables speak of.

| key                                  | value                                                              |
| ------------------------------------ | ------------------------------------------------------------------ |
| `dim`, `depth`, `mlp_dim`, `norm`... | the arguments of Transformer and BlockConfig, nulls settled         |
| `qkv_bias`                           | three bools; `layer_scale` is a bool; `layer_types` a list or None |
| `tokenizer.KEY`                      | the arguments of the tokenizer                                     |
"""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from unimodal.backbone.config import BlockConfig
from unimodal.backbone.transformer import Transformer
from unimodal.hub.trained import Node

Spec = dict[str, Any]

TRANSFORMER = "unimodal.backbone.transformer.Transformer"
BLOCK = "unimodal.backbone.config.BlockConfig"
AT_START_ONLY = ("checkpointing", "residual_init", "drop_path")  # mean nothing for trained weights
NOT_SHAPE = ("_target_", "dim", "vocabulary", "mean", "std", "sample_rate")  # of a tokenizer

NEUTRAL: Spec = {
    "num_registers": 0,
    "layer_types": None,
    "window": None,
    "final_norm": True,
    "input_norm": None,
    "norm_bias": False,
    "layer_scale": False,
    "qk_norm": False,
    "rope_theta": None,
    "rope_sliding_theta": None,
    "rope_layout": "interleaved",
    "tokenizer.num_prefix_tokens": 0,
    "tokenizer.learned_positions": False,
    "tokenizer.sincos_positions": False,
    "tokenizer.centred_positions": False,
    "tokenizer.bias": True,
    "tokenizer.norm_eps": None,
    "tied": False,
}
"""What a knob is that a table does not mention."""


def to_spec(backbone: Node, tokenizer: Node) -> Spec:
    """Flatten two nodes."""
    spec = _defaults(Transformer.__init__) | {f.name: f.default for f in fields(BlockConfig)}
    spec |= {key: value for key, value in backbone.items() if key not in ("_target_", "block")}
    spec |= {key: value for key, value in (backbone.get("block") or {}).items() if key != "_target_"}
    block = BlockConfig(**{f.name: spec[f.name] for f in fields(BlockConfig)})
    spec["mlp_dim"] = block.mlp_dim(spec["dim"])
    spec["qkv_bias"] = block.qkv_biases
    spec["layer_scale"] = block.layer_scale is not None
    spec["num_kv_heads"] = spec["num_kv_heads"] or spec["num_heads"]
    spec["head_dim"] = spec["head_dim"] or spec["dim"] // spec["num_heads"]
    if spec["layer_types"] and set(spec["layer_types"]) == {"full"}:
        spec["layer_types"] = None
    for key in ("mlp_ratio", "block", *AT_START_ONLY):
        spec.pop(key, None)
    spec |= {key: value for key, value in NEUTRAL.items() if key not in spec}
    spec |= {f"tokenizer.{key}": value for key, value in tokenizer.items() if key not in NOT_SHAPE}
    size = spec.get("tokenizer.image_size")
    return spec | ({"tokenizer.image_size": [size, size]} if isinstance(size, int) else {})


def to_nodes(spec: Mapping[str, Any], tokenizer: str) -> tuple[Node, Node]:
    """The nodes of backbone and tokenizer; `tokenizer` is the class's dotted name.

    Raises:
        ValueError: if the feed-forward's width is none that the block can have.
    """
    spec, dim = dict(spec), spec["dim"]
    spec["mlp_ratio"] = spec["mlp_dim"] / dim
    spec["layer_scale"] = 1.0 if spec.get("layer_scale") else None
    spec["qkv_bias"] = list(spec["qkv_bias"])
    names = [f.name for f in fields(BlockConfig)]
    settings = {name: spec[name] for name in names if name in spec}
    if BlockConfig(**settings).mlp_dim(dim) != spec["mlp_dim"]:
        raise ValueError(f"a feed-forward {spec['mlp_dim']} wide is no multiple of 8, as the block's is.")
    block = {"_target_": BLOCK} | {f.name: f.default for f in fields(BlockConfig)} | settings
    known = _defaults(Transformer.__init__) | {"checkpointing": False}
    backbone = {key: spec.get(key, known.get(key)) for key in inspect.signature(Transformer).parameters}
    said = {key: value for key, value in spec.items() if key not in NEUTRAL or NEUTRAL[key] != value}
    prefix = "tokenizer."
    theirs = {key.removeprefix(prefix): value for key, value in said.items() if key.startswith(prefix)}
    return (
        {"_target_": TRANSFORMER} | backbone | {"block": block},
        {"_target_": tokenizer, "dim": dim} | theirs,
    )


def _defaults(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
