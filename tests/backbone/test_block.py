"""The one block against the stock blocks of transformers, on random weights."""

from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, Qwen3Config, ViTConfig
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer, Qwen3RotaryEmbedding
from transformers.models.vit.modeling_vit import ViTLayer

from unimodal.backbone.block import Block
from unimodal.backbone.rope import rotation

DIM, HEADS, HEAD_DIM, NUM = 32, 4, 8, 11
CAUSAL = torch.full((NUM, NUM), -torch.inf).triu(1)[None, None]  # added to scores, as the stock classes do
QWEN3 = {
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.q_norm": "attention.query_norm",
    "self_attn.k_norm": "attention.key_norm",
    "self_attn.o_proj": "attention.out",
    "post_attention_layernorm": "mlp_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}
VIT = {
    "layernorm_before": "attention_norm",
    "attention.q_proj": "attention.query",
    "attention.k_proj": "attention.key",
    "attention.v_proj": "attention.value",
    "attention.o_proj": "attention.out",
    "layernorm_after": "mlp_norm",
    "mlp.fc1": "mlp.up",
    "mlp.fc2": "mlp.down",
}
GPT2 = {
    "ln_1": "attention_norm",
    "attn.c_proj": "attention.out",
    "ln_2": "mlp_norm",
    "mlp.c_fc": "mlp.up",
    "mlp.c_proj": "mlp.down",
}


def renamed(stock, names):
    """The stock weights under our names."""
    state = {}
    for key, value in stock.state_dict().items():
        module, _, kind = key.rpartition(".")
        if module in names:
            state[f"{names[module]}.{kind}"] = value
    return state


def load(block, state):
    """All weights, but for a key bias, which the classic block does without."""
    state = {k: v for k, v in state.items() if k != "attention.key.bias"}
    block.load_state_dict(state)
    return block.eval()


def inputs():
    return torch.randn(3, NUM, DIM, generator=torch.Generator().manual_seed(1))


def assert_equal(ours, stock):
    assert (stock - inputs()).abs().max() > 0.1  # the branches do something
    torch.testing.assert_close(ours, stock, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
@pytest.mark.parametrize("is_causal", [True, False])
@torch.no_grad()
def test_modern_is_qwen3(modern, randomise, num_kv_heads, is_causal):
    config = Qwen3Config(
        hidden_size=DIM,
        intermediate_size=modern.mlp_dim(DIM),
        num_attention_heads=HEADS,
        num_key_value_heads=num_kv_heads,
        head_dim=HEAD_DIM,
        rms_norm_eps=modern.eps,
        hidden_act=modern.act,
        num_hidden_layers=1,
        rope_parameters={"rope_type": "default", "rope_theta": modern.rope_theta},
        attn_implementation="eager",
    )
    stock = randomise(Qwen3DecoderLayer(config, layer_idx=0), scale=0.1).eval()
    ours = load(Block(DIM, HEADS, num_kv_heads, HEAD_DIM, modern.mlp_dim(DIM), modern), renamed(stock, QWEN3))
    x, places = inputs(), torch.arange(NUM)[None]
    wanted = stock(
        x,
        attention_mask=CAUSAL if is_causal else None,
        position_embeddings=Qwen3RotaryEmbedding(config)(x, places),
    )
    turned = rotation(places.float()[..., None].expand(-1, -1, 3), HEAD_DIM, modern.rope_theta, x.dtype)
    assert_equal(ours(x, turned, is_causal=is_causal), wanted)


@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
@torch.no_grad()
def test_classic_is_vit(classic, randomise, act):
    config = ViTConfig(
        hidden_size=DIM,
        intermediate_size=classic.mlp_dim(DIM),
        num_attention_heads=HEADS,
        layer_norm_eps=classic.eps,
        hidden_act=act,
        attn_implementation="eager",
    )
    stock = randomise(ViTLayer(config), scale=0.1).eval()
    block = Block(DIM, HEADS, HEADS, HEAD_DIM, classic.mlp_dim(DIM), replace(classic, act=act))
    assert stock.attention.k_proj.bias.any()  # which changes nothing: our block has none
    assert_equal(load(block, renamed(stock, VIT))(inputs()), stock(inputs()))


@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
@torch.no_grad()
def test_classic_under_a_causal_mask_is_gpt2(classic, randomise, act):
    config = GPT2Config(
        n_embd=DIM,
        n_head=HEADS,
        n_inner=classic.mlp_dim(DIM),
        layer_norm_epsilon=classic.eps,
        activation_function=act,
        attn_implementation="eager",
    )
    stock = randomise(GPT2Block(config, layer_idx=0), scale=0.1).eval()
    randomise_norms(stock)
    fused = stock.attn.c_attn
    state = {key: value.T if value.ndim == 2 else value for key, value in renamed(stock, GPT2).items()}
    for name, weight, bias in zip(
        ("query", "key", "value"), fused.weight.T.split(DIM), fused.bias.split(DIM), strict=True
    ):
        state |= {f"attention.{name}.weight": weight, f"attention.{name}.bias": bias}
    block = Block(DIM, HEADS, HEADS, HEAD_DIM, classic.mlp_dim(DIM), replace(classic, act=act))
    assert_equal(load(block, state)(inputs(), is_causal=True), stock(inputs(), attention_mask=CAUSAL))


def randomise_norms(stock):
    """GPT-2's norms are called ln: bring their weights near one."""
    for norm in (stock.ln_1, stock.ln_2):
        norm.weight.add_(1)


@torch.no_grad()
def test_a_key_bias_changes_nothing(classic, randomise):
    biased = Block(DIM, HEADS, HEADS, HEAD_DIM, 64, replace(classic, qkv_bias=True))
    plain = Block(DIM, HEADS, HEADS, HEAD_DIM, 64, classic)
    load(plain, randomise(biased).state_dict())
    torch.testing.assert_close(plain(inputs()), biased(inputs()), atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("qkv_bias", [True, False, [True, False, True], (False, True, False)])
def test_qkv_bias_is_for_all_or_for_each(modern, qkv_bias):
    attention = Block(DIM, HEADS, 2, HEAD_DIM, 64, replace(modern, qkv_bias=qkv_bias)).attention
    have = [linear.bias is not None for linear in (attention.query, attention.key, attention.value)]
    assert have == ([qkv_bias] * 3 if isinstance(qkv_bias, bool) else list(qkv_bias))
    assert attention.out.bias is None


@torch.no_grad()
def test_a_head_dim_of_its_own_needs_no_multiple(modern, randomise):
    block = randomise(Block(DIM, 3, 1, 16, 64, modern))
    assert block(inputs()).shape == inputs().shape
