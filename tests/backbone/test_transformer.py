"""What may and what must not change a token's output."""

from dataclasses import replace

import pytest
import torch

from unimodal.backbone.block import DropPath
from unimodal.backbone.transformer import Transformer

CALLS = [{}, {"causal": True}]
KNOBS = [
    {},
    {"num_kv_heads": 2},
    {"num_registers": 3},
    {"layer_types": ["sliding", "full"], "window": 2},
]


def join(*sequences, segments=None):
    """One row of several, positions restarting."""
    first = sequences[0]
    return replace(
        first,
        embeds=torch.cat([s.embeds for s in sequences], 1),
        mask=torch.cat([s.mask for s in sequences], 1),
        positions=torch.cat([s.positions for s in sequences], 1),
        segments=segments,
    )


def with_tokens_changed(x, where):
    embeds = x.embeds.clone()
    embeds[:, where] += torch.randn(embeds[:, where].shape, generator=torch.Generator().manual_seed(9))
    return x.with_embeds(embeds)


def close(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


@torch.no_grad()
def test_the_output_has_the_inputs_shape_and_its_mask_and_positions(dialect, transformer, tokens):
    x = tokens(2, 7, lengths=[7, 4])
    y = transformer(dialect, num_registers=3)(x)
    assert y.embeds.shape == x.embeds.shape
    assert y.mask is x.mask and y.positions is x.positions


@pytest.mark.parametrize("knobs", KNOBS)
@torch.no_grad()
def test_causal_tokens_do_not_see_the_future(dialect, transformer, tokens, knobs):
    model, x = transformer(dialect, **knobs), tokens(2, 9)
    before, after = model(x, causal=True).embeds, model(with_tokens_changed(x, 5), causal=True).embeds
    close(after[:, :5], before[:, :5], atol=1e-6)
    assert ((after[:, 5:] - before[:, 5:]).abs().amax((0, 2)) > 1e-3)[:3].all()


@torch.no_grad()
def test_without_causal_every_token_sees_every_other(dialect, transformer, tokens):
    model, x = transformer(dialect), tokens(2, 9)
    change = (model(with_tokens_changed(x, 5)).embeds - model(x).embeds).abs().amax((0, 2))
    assert (change > 1e-4).all()


@pytest.mark.parametrize("num_registers", [0, 3])
@torch.no_grad()
def test_a_prefix_is_seen_by_all_and_the_rest_stays_causal(dialect, transformer, tokens, num_registers):
    model, x = transformer(dialect, num_registers=num_registers), tokens(2, 9)
    prefix = (torch.arange(9) < 4).expand(2, -1)
    before = model(x, causal=True, prefix=prefix).embeds
    inside = (model(with_tokens_changed(x, 3), causal=True, prefix=prefix).embeds - before).abs().amax((0, 2))
    assert (inside > 1e-4).all()
    after = model(with_tokens_changed(x, 6), causal=True, prefix=prefix).embeds
    close(after[:, :6], before[:, :6], atol=1e-6)


@pytest.mark.parametrize("knobs", KNOBS)
@torch.no_grad()
def test_a_prefix_of_everything_is_bidirectional(dialect, transformer, tokens, knobs):
    model, x = transformer(dialect, **knobs), tokens(2, 9, lengths=[9, 6])
    everything = torch.ones(2, 9, dtype=torch.bool)
    close(model(x, causal=True, prefix=everything).embeds[x.mask], model(x).embeds[x.mask])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("knobs", [KNOBS[0], KNOBS[3]])
@torch.no_grad()
def test_packed_sequences_equal_separate_ones(dialect, transformer, tokens, call, knobs):
    model = transformer(dialect, **knobs)
    parts = [tokens(2, num, seed=num) for num in (3, 5, 4)]
    packed = join(*parts, segments=torch.tensor([[0] * 3 + [1] * 5 + [2] * 4] * 2))
    close(model(packed, **call).embeds, torch.cat([model(part, **call).embeds for part in parts], 1))


@torch.no_grad()
def test_packed_sequences_with_registers_equal_separate_ones_under_causal(dialect, transformer, tokens):
    model = transformer(dialect, num_registers=3)
    parts = [tokens(2, num, seed=num) for num in (3, 5)]
    packed = join(*parts, segments=torch.tensor([[0] * 3 + [1] * 5] * 2))
    separate = torch.cat([model(part, causal=True).embeds for part in parts], 1)
    close(model(packed, causal=True).embeds, separate)


@pytest.mark.parametrize("call", CALLS)
@torch.no_grad()
def test_registers_do_not_leak_between_segments(dialect, transformer, tokens, call):
    model, x = transformer(dialect, num_registers=3), tokens(2, 8)
    packed = replace(x, segments=torch.tensor([[0] * 3 + [1] * 5] * 2))
    before, after = model(packed, **call).embeds, model(with_tokens_changed(packed, 1), **call).embeds
    close(after[:, 3:], before[:, 3:], atol=1e-6)
    assert (after[:, 1] - before[:, 1]).abs().max() > 1e-2


@torch.no_grad()
def test_registers_change_what_tokens_become(dialect, transformer, tokens):
    model, x = transformer(dialect, num_registers=3), tokens(2, 8)
    before = model(x, causal=True).embeds
    model.registers.normal_(std=2.0, generator=torch.Generator().manual_seed(3))
    assert (model(x, causal=True).embeds - before).abs().amax((0, 2)).min() > 1e-4


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("junk", [3.0, 1e6, 1e15])
@torch.no_grad()
def test_what_padding_holds_changes_no_real_token(dialect, transformer, tokens, call, knobs, junk):
    model, x = transformer(dialect, **knobs), tokens(3, 8, lengths=[8, 5, 1])
    noise = junk * torch.randn(x.embeds.shape, generator=torch.Generator().manual_seed(4))
    dirty = x.with_embeds(torch.where(x.mask[..., None], x.embeds, noise))
    close(model(dirty, **call).embeds[x.mask], model(x, **call).embeds[x.mask], atol=1e-6)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("knobs", KNOBS)
@torch.no_grad()
def test_padding_to_a_longer_batch_changes_no_real_token(dialect, transformer, tokens, call, knobs):
    model, x = transformer(dialect, **knobs), tokens(3, 8, lengths=[8, 5, 1])
    together = model(x, **call).embeds
    for row, length in enumerate((8, 5, 1)):
        short = slice(row, row + 1), slice(length)
        places = x.positions[:, :length]
        alone = replace(x, embeds=x.embeds[short], mask=x.mask[short], positions=places, padded=False)
        close(together[short], model(alone, **call).embeds)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("knobs", KNOBS)
def test_a_row_that_is_all_padding_gives_no_nan(dialect, transformer, tokens, call, knobs):
    model, x = transformer(dialect, **knobs), tokens(2, 8, lengths=[8, 0])
    y = model(x, **call).embeds
    y[x.mask].sum().backward()
    assert y.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("call", CALLS)
@torch.no_grad()
def test_order_and_size_of_the_batch_change_nothing(dialect, transformer, tokens, call):
    model, x = transformer(dialect, num_registers=2), tokens(4, 8, lengths=[8, 3, 5, 8])
    whole, order = model(x, **call).embeds, torch.tensor([2, 0, 3, 1])
    shuffled = model(replace(x, embeds=x.embeds[order], mask=x.mask[order]), **call).embeds
    close(shuffled, whole[order])
    for row in range(4):
        one = replace(x, embeds=x.embeds[row : row + 1], mask=x.mask[row : row + 1])
        close(model(one, **call).embeds, whole[row : row + 1])


@pytest.mark.parametrize("call", CALLS)
@torch.no_grad()
def test_positions_are_shared_or_of_each_row(modern, transformer, tokens, call):
    model, x = transformer(modern, num_registers=2), tokens(2, 8)
    own = replace(x, positions=x.positions.expand(2, -1, -1).clone())
    close(model(own, **call).embeds, model(x, **call).embeds, atol=1e-6)
    own.positions[1] *= 3
    change = (model(own, **call).embeds - model(x, **call).embeds).abs().amax((1, 2))
    assert change[0] < 1e-6 and change[1] > 1e-3


@torch.no_grad()
def test_without_positions_bidirectional_tokens_are_a_set(classic, transformer, tokens):
    model, x, order = transformer(classic), tokens(2, 8), torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    close(model(x.with_embeds(x.embeds[:, order])).embeds, model(x).embeds[:, order])


@pytest.mark.parametrize("call", CALLS)
@torch.no_grad()
def test_a_wide_window_is_full_attention(dialect, transformer, tokens, call):
    x = tokens(2, 9, lengths=[9, 6])
    sliding = transformer(dialect, layer_types=["sliding", "sliding"], window=9)
    close(sliding(x, **call).embeds[x.mask], transformer(dialect)(x, **call).embeds[x.mask])


@torch.no_grad()
def test_a_narrow_window_limits_sight(dialect, transformer, tokens):
    model, x = transformer(dialect, layer_types=["sliding", "sliding"], window=2), tokens(2, 12)
    change = (model(with_tokens_changed(x, 3)).embeds - model(x).embeds).abs().amax((0, 2))
    assert (change[:8] > 1e-5).all()  # two blocks of two tokens on either side
    assert (change[8:] < 1e-6).all()


@torch.no_grad()
def test_one_full_block_lifts_the_window(dialect, transformer, tokens):
    model, x = transformer(dialect, layer_types=["sliding", "full"], window=2), tokens(2, 12)
    change = (model(with_tokens_changed(x, 3)).embeds - model(x).embeds).abs().amax((0, 2))
    assert (change > 1e-5).all()


@pytest.mark.parametrize("call", CALLS)
def test_checkpointing_gives_the_same_gradients(dialect, transformer, tokens, call):
    x, gradients = tokens(2, 8, lengths=[8, 5]), []
    for checkpointing in (False, True):
        model = transformer(dialect, num_registers=2, checkpointing=checkpointing).train()
        model(x, **call).embeds[x.mask].square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        close(recomputed, plain, atol=1e-6)


def test_checkpointing_runs_each_block_twice(modern, transformer, tokens):
    model, calls = transformer(modern, checkpointing=True).train(), []
    model.blocks[1].attention.register_forward_hook(lambda *_: calls.append(1))
    model(tokens(1, 4)).embeds.sum().backward()
    assert len(calls) == 2


@torch.no_grad()
def test_the_final_norm_is_the_last_thing(dialect, transformer, tokens):
    model, x = transformer(dialect), tokens(2, 8)
    bare = transformer(dialect, final_norm=False)
    bare.load_state_dict(model.state_dict(), strict=False)
    close(model.norm(bare(x).embeds), model(x).embeds, atol=1e-6)


@pytest.mark.parametrize("knobs", KNOBS)
def test_bf16_autocast_stays_near_fp32(dialect, transformer, tokens, knobs):
    model, x = transformer(dialect, **knobs), tokens(2, 8, lengths=[8, 5])
    exact = model(x, causal=True).embeds
    with torch.autocast("cpu", torch.bfloat16):
        coarse = model(x, causal=True).embeds
    coarse.float()[x.mask].sum().backward()
    torch.testing.assert_close(coarse.float()[x.mask], exact[x.mask], atol=0.15, rtol=0.05)


def test_prefix_without_causal_is_refused(modern, tokens):
    with pytest.raises(ValueError, match="causal=True"):
        Transformer(32, 1, 4, modern)(tokens(1, 4), prefix=torch.ones(1, 4, dtype=torch.bool))


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_an_invalid_drop_path_is_named(modern, transformer, ratio):
    with pytest.raises(ValueError, match=f"backbone.drop_path={ratio} is not a probability"):
        transformer(modern, drop_path=ratio)


@torch.no_grad()
def test_drop_path_changes_nothing_in_evaluation_and_draws_nothing_at_zero(dialect, transformer, tokens):
    x = tokens(2, 8, lengths=[8, 5])
    plain, skipping = transformer(dialect), transformer(dialect, drop_path=0.5).eval()
    assert plain.state_dict().keys() == skipping.state_dict().keys()
    assert torch.equal(plain.eval()(x).embeds, skipping(x).embeds)
    state = torch.get_rng_state()
    plain.train()(x)
    assert torch.equal(torch.get_rng_state(), state)


@torch.no_grad()
def test_drop_path_leaves_a_branch_out_for_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    kept = DropPath(0.25).train()(torch.ones(4000, 3, 2))
    assert (kept == kept[:, :1, :1]).all()
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean() == pytest.approx(1, abs=0.03)


def test_drop_path_rises_with_depth(modern, transformer):
    model = transformer(modern, drop_path=0.3)
    ratios = [block.drop_path.ratio for block in model.blocks]
    assert ratios == pytest.approx([0.3 * (i + 1) / len(ratios) for i in range(len(ratios))])


def test_a_recomputed_block_skips_the_same_branches(modern, transformer, tokens):
    x, gradients = tokens(4, 8), []
    for checkpointing in (False, True):
        model = transformer(modern, drop_path=0.5, checkpointing=checkpointing).train()
        torch.manual_seed(0)
        model(x).embeds.square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        close(recomputed, plain, atol=1e-6)
