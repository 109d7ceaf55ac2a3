import re
from dataclasses import FrozenInstanceError, replace

import pytest

from unimodal.backbone.config import BlockConfig
from unimodal.backbone.transformer import Transformer

SIZES = {"dim": 32, "depth": 2, "num_heads": 4}


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("norm", "batch"),
        ("residual_init", "ones"),
        ("act", "golu"),
        ("qkv_bias", (True, False)),
        ("mlp_ratio", 0.0),
    ],
)
def test_a_bad_block_names_its_knob(knob, value):
    with pytest.raises(ValueError, match=re.escape(f"block.{knob}={value!r}")):
        BlockConfig(**{knob: value})


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"num_heads": 5}, ("dim=32", "num_heads=5")),
        ({"num_kv_heads": 3}, ("num_heads=4", "num_kv_heads=3")),
        ({"head_dim": 7}, ("head_dim", "7")),
        ({"layer_types": ["full"]}, ("layer_types", "depth=2")),
        ({"layer_types": ["full", "narrow"], "window": 2}, ("layer_types", "narrow", "full, sliding")),
        ({"layer_types": ["full", "sliding"]}, ("layer_types", "backbone.window")),
        ({"layer_types": ["full", "sliding"], "window": -1}, ("window=-1",)),
        ({"window": 2}, ("window=2", "layer_types")),
        ({"dim": 0}, ("dim=0",)),
        ({"depth": 0}, ("depth=0",)),
        ({"num_heads": 0}, ("num_heads=0",)),
        ({"num_kv_heads": 0}, ("num_kv_heads=0",)),
        ({"head_dim": -8}, ("head_dim=-8",)),
        ({"num_registers": -1}, ("num_registers=-1",)),
    ],
)
def test_a_bad_backbone_names_its_knob(knobs, named):
    with pytest.raises(ValueError) as error:
        Transformer(**{**SIZES, **knobs})
    assert all(part in str(error.value) for part in named), error.value


def test_odd_heads_are_fine_without_rotation(classic):
    assert Transformer(dim=21, depth=1, num_heads=3, block=classic).head_dim == 7


@pytest.mark.parametrize(
    ("dim", "mlp_ratio", "wanted"), [(128, 8 / 3, 344), (384, 8 / 3, 1024), (768, 4.0, 3072)]
)
def test_the_mlp_is_a_multiple_of_8_wide(modern, dim, mlp_ratio, wanted):
    assert replace(modern, mlp_ratio=mlp_ratio).mlp_dim(dim) == wanted


def test_a_dialect_is_frozen(dialect):
    with pytest.raises(FrozenInstanceError):
        dialect.norm = "rms"


def test_the_defaults_are_the_modern_dialect(modern):
    assert BlockConfig() == modern
