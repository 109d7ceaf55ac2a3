"""Expressive, optimisable: what the blocks do before the first step."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from unimodal.backbone.rope import rotation
from unimodal.backbone.transformer import Transformer


def untouched(block, **knobs):
    torch.manual_seed(0)
    return Transformer(dim=32, depth=3, num_heads=4, block=block, **knobs)


def gradients(model, tokens):
    """The gradient at the first block's input and the one at the last block's output."""
    ends = {}
    model.blocks[0].register_forward_pre_hook(lambda _, args: ends.update(first=args[0]))
    model.blocks[-1].register_forward_hook(lambda _, args, out: ends.update(last=out))
    leaf = tokens.embeds.clone().requires_grad_()
    out = model(tokens.with_embeds(leaf)).embeds
    loss = (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(1))).sum()
    return torch.autograd.grad(loss, [ends["first"], ends["last"]])


@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_every_block_is_the_identity_to_the_bit(dialect, tokens, layer_scale):
    model, x = untouched(replace(dialect, layer_scale=layer_scale)), tokens(2, 7)
    turned = rotation(x.positions, 8, 10_000.0, torch.float32)
    for block in model.blocks:
        for is_causal in (False, True):
            assert torch.equal(block(x.embeds, turned, None, is_causal), x.embeds)


@pytest.mark.parametrize("num_registers", [0, 3])
def test_the_untouched_backbone_returns_what_it_read(dialect, tokens, num_registers):
    model, x = untouched(dialect, num_registers=num_registers, final_norm=False), tokens(2, 7, lengths=[7, 4])
    assert torch.equal(model(x).embeds, x.embeds)


@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_the_gradient_reaches_the_first_block_undiminished(dialect, tokens, layer_scale):
    first, last = gradients(untouched(replace(dialect, layer_scale=layer_scale)), tokens(2, 7))
    assert last.abs().max() > 0
    assert torch.equal(first, last)


@pytest.mark.parametrize("layer_scale", [None, 0.1])
def test_residual_init_normal_is_not_the_identity(dialect, tokens, layer_scale):
    model = untouched(replace(dialect, residual_init="normal", layer_scale=layer_scale))
    x = tokens(2, 7)
    for block in model.blocks:
        assert (block(x.embeds) - x.embeds).abs().max() > 1e-2
    first, last = gradients(model, x)
    assert not torch.allclose(first, last, atol=1e-3)


def test_after_one_step_every_weight_of_every_block_learns(dialect, tokens):
    model, x = untouched(dialect), tokens(2, 7)
    target = torch.randn(x.embeds.shape, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    asleep = []
    for _ in range(2):
        optimizer.zero_grad()
        (model(x).embeds * target).sum().backward()
        asleep.append({n for n, p in model.blocks.named_parameters() if not p.grad.any()})
        optimizer.step()
    assert any("query" in name for name in asleep[0])  # the branches wake first ...
    assert not any(name.endswith(("out.weight", "down.weight")) for name in asleep[0])
    assert asleep[1] == set()  # ... and what stands behind them next


@pytest.mark.parametrize("residual_init", ["zero", "normal"])
def test_weights_start_as_the_table_in_initialise_says(dialect, residual_init):
    config = replace(dialect, residual_init=residual_init, layer_scale=0.3)
    model = untouched(config, num_registers=64)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            zero = residual_init == "zero" and name.endswith(("attention.out", "mlp.down"))
            std = 0.0 if zero else (3 * module.in_features) ** -0.5
            torch.testing.assert_close(module.weight.std().item(), std, rtol=0.1, atol=0)
            assert module.bias is None or not module.bias.any()
        elif name.endswith("norm"):
            assert all((p == (n == "weight")).all() for n, p in module.named_parameters())
        elif name.endswith("scale"):
            assert (module.weight == torch.tensor(0.3)).all()
    torch.testing.assert_close(model.registers.std().item(), 0.02, rtol=0.1, atol=0)


def test_layer_scale_multiplies_the_branch(dialect, tokens, transformer):
    plain = transformer(dialect).blocks[0]
    scaled = transformer(replace(dialect, layer_scale=0.25)).blocks[0]
    scaled.load_state_dict(plain.state_dict(), strict=False)
    x = tokens(2, 7).embeds
    with torch.no_grad():
        for block in (plain, scaled):
            block.attention.out.weight.zero_()
            if block.attention.out.bias is not None:
                block.attention.out.bias.zero_()
        scaled.mlp_scale.weight.fill_(0.25)
        torch.testing.assert_close(scaled(x) - x, 0.25 * (plain(x) - x), atol=1e-6, rtol=1e-5)
