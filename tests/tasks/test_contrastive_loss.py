import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from unimodal.tasks.contrastive_loss import MAX_SCALE, InfoNCE, SigLIP, pair_losses

LOSSES = [InfoNCE(), SigLIP()]


def units(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def mean_loss(contrast, pairs, items=None):
    items = torch.arange(2 * len(pairs)).view(-1, 2) if items is None else items
    return pair_losses(contrast, pairs, items, pairs, items, torch.arange(len(pairs))).mean()


def test_infonce_is_the_loss_of_clip():
    pairs, contrast = units(6, 2, 16), InfoNCE(20.0)
    wanted = image_text_contrastive_loss(20.0 * pairs[:, 0] @ pairs[:, 1].T)
    assert torch.allclose(mean_loss(contrast, pairs), wanted, atol=1e-6)


def test_siglip_is_the_loss_of_its_paper():
    pairs, contrast = units(6, 2, 16), SigLIP(10.0, -5.0)
    logits = 10.0 * pairs[:, 0] @ pairs[:, 1].T - 5.0
    signs = 2 * torch.eye(6) - 1
    wanted = -F.logsigmoid(signs * logits).sum() / 6
    assert torch.allclose(mean_loss(contrast, pairs), wanted, atol=1e-6)


@pytest.mark.parametrize("contrast", LOSSES)
def test_a_duplicate_is_no_negative(contrast):
    """The same picture or text once more costs nothing: each row's loss is what it is without the other."""
    pairs = units(4, 2, 8)
    pairs[3, 1] = pairs[2, 1]
    items = torch.tensor([[0, 10], [1, 11], [2, 12], [3, 12]])
    losses = pair_losses(contrast, pairs, items, pairs, items, torch.arange(4))
    without = pair_losses(contrast, pairs[:3], items[:3], pairs[:3], items[:3], torch.arange(3))
    assert torch.allclose(losses[2], without[2], atol=1e-6)
    assert not torch.allclose(losses[0], without[0], atol=1e-6)  # to others it is one more wrong candidate


@pytest.mark.parametrize("contrast", LOSSES)
def test_a_pair_that_does_not_count_changes_nothing(contrast):
    pairs, items = units(5, 2, 8), torch.arange(10).view(5, 2)
    items[4] = -100
    losses = pair_losses(contrast, pairs, items, pairs, items, torch.arange(5))
    without = pair_losses(contrast, pairs[:4], items[:4], pairs[:4], items[:4], torch.arange(4))
    assert torch.allclose(losses[:4], without, atol=1e-6) and losses.isfinite().all()


@pytest.mark.parametrize("contrast", LOSSES)
def test_rows_are_those_of_the_whole(contrast):
    pairs, items = units(6, 2, 8), torch.arange(12).view(6, 2)
    whole = pair_losses(contrast, pairs, items, pairs, items, torch.arange(6))
    part = pair_losses(contrast, pairs[2:5], items[2:5], pairs, items, torch.arange(2, 5))
    assert torch.allclose(part, whole[2:5], atol=1e-6)


def test_the_scale_is_limited_and_can_come_back():
    contrast = InfoNCE(MAX_SCALE)
    with torch.no_grad():
        contrast.log_scale.add_(1.0)
    contrast.limit()
    assert torch.allclose(contrast.log_scale.exp(), torch.tensor([MAX_SCALE]))
    mean_loss(contrast, units(4, 2, 8)).backward()
    assert contrast.log_scale.grad.abs() > 0


def test_a_scale_past_the_limit_is_the_limit_and_can_come_back():
    """As a shard of it may be, which `limit` does not reach."""
    pairs, contrast, at_limit = units(4, 2, 8), InfoNCE(MAX_SCALE), InfoNCE(MAX_SCALE)
    with torch.no_grad():
        contrast.log_scale.add_(1.0)
    found, wanted = mean_loss(contrast, pairs), mean_loss(at_limit, pairs)
    assert torch.allclose(found, wanted)
    found.backward()
    wanted.backward()
    assert torch.allclose(contrast.log_scale.grad, at_limit.log_scale.grad) and contrast.log_scale.grad > 0


def test_the_scales_at_first_are_those_of_the_papers():
    assert torch.allclose(InfoNCE().log_scale, CLIPModel(tiny_clip()).logit_scale, atol=1e-3)
    assert torch.allclose(SigLIP().log_scale.exp(), torch.tensor([10.0])) and SigLIP().bias.item() == -10


def tiny_clip():
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return CLIPConfig(text_config=small, vision_config=small, projection_dim=8)


@pytest.mark.parametrize("scale", [0.0, 101.0])
def test_a_scale_that_can_not_be_is_refused(scale):
    with pytest.raises(ValueError, match=r"task\.contrast\.scale"):
        InfoNCE(scale)
