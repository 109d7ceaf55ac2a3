import pytest
import torch

from unimodal.tasks.pooling import (
    AdaptivePooling,
    AttentionPooling,
    FirstPooling,
    LastPooling,
    MeanMaxPooling,
    MeanPooling,
)
from unimodal.types import TokenSequence

POOLINGS = {
    "mean": MeanPooling,
    "first": FirstPooling,
    "first two": lambda: FirstPooling(2),
    "last": LastPooling,
    "attention": lambda: AttentionPooling(32),
    "mean and maximum": MeanMaxPooling,
    "adaptive": lambda: AdaptivePooling([2, 1, 1]),
}


@pytest.fixture(params=POOLINGS)
def pooling(request):
    torch.manual_seed(0)
    return POOLINGS[request.param]()


def sequence(lengths=(6, 6), num=6, padded=None, fill=0.0):
    """Random tokens; what is beyond each row's length holds `fill`."""
    embeds = torch.randn(len(lengths), 6, 32, generator=torch.Generator().manual_seed(1))[:, :num]
    mask = torch.arange(num) < torch.tensor(lengths)[:, None]
    embeds = torch.where(mask[..., None], embeds, torch.tensor(fill))
    padded = not mask.all() if padded is None else padded
    return TokenSequence(
        embeds, mask, torch.arange(num).float()[None, :, None].expand(1, -1, 3), padded=padded
    )


def test_what_padding_holds_does_not_matter(pooling):
    assert torch.equal(pooling(sequence((6, 3))), pooling(sequence((6, 3), fill=1e3)))


def test_padding_does_not_change_the_vector(pooling):
    padded = pooling(sequence((6, 4)))[1]
    cut = pooling(sequence((4, 4), num=4))[1]
    assert torch.allclose(padded, cut, atol=1e-6)


def test_a_row_does_not_depend_on_the_others(pooling):
    both, whole = pooling(sequence((6, 4))), sequence((6, 4))
    alone = pooling(TokenSequence(whole.embeds[1:], whole.mask[1:], whole.positions))
    assert torch.allclose(both[1:], alone, atol=1e-6)


def test_the_promise_of_no_padding_changes_nothing(pooling):
    assert torch.allclose(pooling(sequence(padded=True)), pooling(sequence(padded=False)), atol=1e-6)


def test_a_vector_has_the_shape_and_gradient_of_its_tokens(pooling):
    tokens = sequence((6, 4))
    embeds = tokens.embeds.requires_grad_()
    vectors = pooling(tokens.with_embeds(embeds))
    assert vectors.shape == (2, 32 * getattr(pooling, "num_vectors", 1))
    vectors.square().sum().backward()
    assert embeds.grad[0, 0].any() or embeds.grad[0, -1].any()
    assert not embeds.grad[1, 4:].any()


def test_the_mean_is_that_of_the_real_tokens():
    tokens = sequence((6, 3))
    assert torch.allclose(MeanPooling()(tokens)[1], tokens.embeds[1, :3].mean(0), atol=1e-6)


def test_the_first_tokens_are_averaged():
    tokens = sequence()
    assert torch.equal(FirstPooling()(tokens), tokens.embeds[:, 0])
    assert torch.allclose(FirstPooling(2)(tokens), (tokens.embeds[:, 0] + tokens.embeds[:, 1]) / 2)


def test_the_last_real_token_is_taken():
    tokens = sequence((6, 3))
    assert torch.equal(LastPooling()(tokens), torch.stack([tokens.embeds[0, 5], tokens.embeds[1, 2]]))


def test_attention_pooling_sees_every_real_token():
    torch.manual_seed(0)
    pooling, tokens = AttentionPooling(32), sequence((6, 3))
    embeds = tokens.embeds.requires_grad_()
    pooling(tokens.with_embeds(embeds)).square().sum().backward()
    assert torch.equal(embeds.grad.abs().sum(-1) > 0, tokens.mask)


def test_attention_pooling_does_not_depend_on_the_order():
    torch.manual_seed(0)
    pooling, tokens = AttentionPooling(32), sequence()
    turned = tokens.with_embeds(tokens.embeds.flip(1))
    assert torch.allclose(pooling(tokens), pooling(turned), atol=1e-6)


def on_a_grid(times=1, rows=6, columns=8):
    """Tokens [1, N, 4] of a grid, and the same as [1, 4, T, H, W]."""
    axes = torch.meshgrid(*(torch.arange(size) for size in (times, rows, columns)), indexing="ij")
    positions = torch.stack(axes, -1).reshape(1, -1, 3).float()
    embeds = torch.randn(1, positions.shape[1], 4, generator=torch.Generator().manual_seed(2))
    tokens = TokenSequence(embeds, torch.ones(1, positions.shape[1], dtype=torch.bool), positions)
    return tokens, embeds.transpose(1, 2).reshape(1, 4, times, rows, columns)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 3, 4), (4, 2, 2)])
def test_adaptive_pooling_equals_torchs_where_the_grid_divides(size):
    tokens, volume = on_a_grid(times=4)
    wanted = torch.nn.functional.adaptive_avg_pool3d(volume, size)
    pooled = AdaptivePooling(size)(tokens).unflatten(1, (-1, 4)).transpose(1, 2)
    assert torch.allclose(pooled, wanted.flatten(2), atol=1e-6)


def test_adaptive_pooling_of_one_cell_is_the_mean():
    tokens = sequence((6, 3))
    assert torch.allclose(AdaptivePooling([1, 1, 1])(tokens), MeanPooling()(tokens), atol=1e-6)


def test_a_cell_without_a_token_is_zero():
    tokens, _ = on_a_grid(rows=2, columns=2)
    pooled = AdaptivePooling([1, 4, 4])(tokens).unflatten(1, (4, 4, 4))
    assert (pooled.abs().sum(-1) > 0).sum() == 4 and torch.equal(pooled[0, 0, 0], tokens.embeds[0, 0])


@pytest.mark.parametrize("size", [(1, 4), (0, 4, 4), (1, 4, 4, 4)])
def test_a_grid_that_is_no_grid_is_refused(size):
    with pytest.raises(ValueError, match="output_size"):
        AdaptivePooling(size)


def test_the_maximum_is_that_of_the_real_tokens():
    tokens = sequence((6, 3), fill=1e3)
    assert torch.equal(MeanMaxPooling()(tokens)[1, 32:], tokens.embeds[1, :3].amax(0))
