import pytest
import torch
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding, apply_rotary_pos_emb

from unimodal.backbone.rope import NUM_AXES, rotate, rotation

HEAD_DIM, THETA = 24, 10_000.0  # 12 pairs, four for each axis


def heads(num=9, seed=0):
    return torch.randn(2, 3, num, HEAD_DIM, generator=torch.Generator().manual_seed(seed))


def text(places):
    return places.float()[..., None].expand(-1, -1, NUM_AXES)


def turn(x, positions):
    return rotate(x, rotation(positions, HEAD_DIM, THETA, x.dtype))


def test_text_positions_give_the_usual_rope():
    x, places = heads(), torch.tensor([[0, 1, 2, 3, 50, 100, 101, 300, 511]])
    frequency = THETA ** (-torch.arange(HEAD_DIM // 2, dtype=torch.float64) * 2 / HEAD_DIM)
    angle = places[0, :, None].double() * frequency
    pairs = torch.complex(*x.double().chunk(2, -1)) * torch.polar(torch.ones_like(angle), angle)
    wanted = torch.cat((pairs.real, pairs.imag), -1).float()
    torch.testing.assert_close(turn(x, text(places)), wanted, atol=1e-4, rtol=0)  # fp32 angles up to 511


def test_text_positions_equal_transformers():
    config = Qwen3Config(head_dim=HEAD_DIM, rope_parameters={"rope_type": "default", "rope_theta": THETA})
    q, k, places = heads(seed=0), heads(seed=1), torch.arange(9)[None] * 57
    wanted = apply_rotary_pos_emb(q, k, *Qwen3RotaryEmbedding(config)(q, places))
    for ours, theirs in zip((turn(q, text(places)), turn(k, text(places))), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("axis", range(NUM_AXES))
def test_frequencies_are_dealt_to_the_axes_in_turn(axis):
    x, positions = heads(), torch.zeros(1, 9, NUM_AXES)
    positions[..., axis] = torch.arange(1, 10)
    ours, one_dimensional = turn(x, positions), turn(x, text(torch.arange(1, 10)[None]))
    belongs = torch.arange(HEAD_DIM // 2).repeat(2) % NUM_AXES == axis
    assert torch.equal(ours[..., belongs], one_dimensional[..., belongs])
    assert torch.equal(ours[..., ~belongs], x[..., ~belongs])


def test_the_origin_is_not_rotated():
    x = heads()
    assert torch.equal(turn(x, torch.zeros(1, 9, NUM_AXES)), x)


def test_only_differences_of_positions_matter():
    q, k = heads(seed=0).double(), heads(seed=1).double()
    positions = torch.randint(40, (2, 9, NUM_AXES), generator=torch.Generator().manual_seed(2)).float()
    moved = positions + torch.tensor([5.0, 11.0, 3.0])
    here, there = (turn(q, p) @ turn(k, p).transpose(-1, -2) for p in (positions, moved))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=0)
    assert not torch.allclose(here, q @ k.transpose(-1, -2), atol=1e-1)


def test_a_leading_one_is_shared_by_the_batch():
    positions = torch.rand(1, 9, NUM_AXES)
    assert torch.equal(turn(heads(), positions), turn(heads(), positions.expand(2, -1, -1)))


def test_angles_are_fp32_whatever_the_precision():
    positions = text(torch.tensor([[1001, 1003]]))
    cos, sin = rotation(positions, HEAD_DIM, THETA, torch.bfloat16)
    exact = rotation(positions, HEAD_DIM, THETA, torch.float32)
    assert cos.dtype == sin.dtype == torch.bfloat16
    assert torch.equal(cos, exact[0].bfloat16())
    low = rotation(positions.bfloat16().float(), HEAD_DIM, THETA, torch.float32)[0]
    assert not torch.allclose(low, exact[0], atol=1e-2)  # what bf16 positions would have done
