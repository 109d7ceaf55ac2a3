import pytest
import torch

from unimodal.backbone.attention import attend
from unimodal.backbone.masks import EVERYWHERE, Visibility, attention_mask, block_mask
from unimodal.backbone.packing import pack, unpack

LENGTHS, ROWS = [5, 2, 9, 1, 3], torch.tensor([1, 0, 2, 0, 0])
CALLS = [{}, {"causal": True}, {"causal": True, "prefix": torch.arange(9).expand(5, -1) < 2}]
ROW_CALLS = [{}, {"causal": True}, {"causal": True, "prefix": torch.arange(9).expand(3, -1) < 4}]
KNOBS = [{}, {"num_registers": 3}, {"layer_types": ["sliding", "full"], "window": 2}, {"checkpointing": True}]


def test_rows_hold_the_samples_one_after_another(tokens):
    x = tokens(5, 9, LENGTHS)
    packed, places = pack(x, ROWS)
    assert packed.embeds.shape == (3, 9, 32) and packed.mask.sum(1).tolist() == [6, 5, 9]
    assert packed.segments[packed.mask].tolist() == [1, 1, 3, 4, 4, 4, 0, 0, 0, 0, 0] + [2] * 9
    assert torch.equal(packed.embeds[0, :6], torch.cat((x.embeds[1, :2], x.embeds[3, :1], x.embeds[4, :3])))
    assert packed.positions[0, :6, 0].tolist() == [0, 1, 0, 0, 1, 2]
    assert torch.equal(unpack(packed.embeds, places), x.embeds * x.mask[..., None])


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("knobs", KNOBS)
def test_packed_samples_become_what_they_become_alone_and_so_do_gradients(
    dialect, transformer, tokens, call, knobs
):
    model, x = transformer(dialect, **knobs), tokens(5, 9, LENGTHS)
    model.train()
    results = []
    for rows in (None, ROWS):
        model.zero_grad()
        y = model(x, rows=rows, **call).embeds[x.mask]
        y.square().sum().backward()
        results.append((y, [p.grad.clone() for p in model.parameters()]))
    (plain, gradients), (packed, others) = results
    torch.testing.assert_close(packed, plain, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_padding_holds_does_not_reach_the_rows(modern, transformer, tokens):
    model, x = transformer(modern), tokens(5, 9, LENGTHS)
    junk = x.with_embeds(torch.where(x.mask[..., None], x.embeds, torch.nan))
    assert torch.equal(model(junk, rows=ROWS).embeds, model(x, rows=ROWS).embeds)


def test_what_can_not_be_packed_is_refused(modern, transformer, tokens):
    x = tokens(5, 9, LENGTHS)
    packed, _ = pack(x, ROWS)
    with pytest.raises(ValueError, match="packed again"):
        pack(packed, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"rows has shape \(4,\) for 5 samples"):
        transformer(modern)(x, rows=ROWS[:4])


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("call", ROW_CALLS)
@torch.no_grad()  # on the CPU FlexAttention has no backward pass
def test_the_mask_of_blocks_sees_what_the_dense_one_sees(tokens, call, window):
    packed, _ = pack(tokens(5, 9, LENGTHS), ROWS)
    segments = packed.segments.clone()
    segments[:, 0] = EVERYWHERE
    see = Visibility(packed.mask, True, "causal" in call, call.get("prefix"), segments, 9)
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, heads, 9, 16, generator=rng) for heads in (4, 2, 2))
    dense, _ = attention_mask(see, window)
    assert not dense.all()
    torch.testing.assert_close(attend(q, k, v, block_mask(see, window), False), attend(q, k, v, dense, False))
