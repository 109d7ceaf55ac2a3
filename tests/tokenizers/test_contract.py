"""What holds for every tokenizer that has a yaml."""

import pickle
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch
from torch import Tensor

from unimodal.backbone.config import BlockConfig
from unimodal.backbone.transformer import Transformer

EXTRAS = [
    {},
    {"num_prefix_tokens": 2},
    {"learned_positions": True},
    {"num_prefix_tokens": 1, "learned_positions": True},
]


def assert_contract(tokens, batch_size, dim=32):
    batch, num, width = tokens.embeds.shape
    assert (batch, width) == (batch_size, dim) and num > 0
    assert tokens.embeds.dtype == torch.float32 and tokens.embeds.isfinite().all()
    assert tokens.mask.shape == (batch, num) and tokens.mask.dtype == torch.bool
    assert tokens.positions.shape in ((batch, num, 3), (1, num, 3)) and tokens.positions.is_floating_point()
    assert tokens.padded or tokens.mask.all()
    assert tokens.segments is None


def backbone(randomise, dialect="modern"):
    block = BlockConfig() if dialect == "modern" else BlockConfig(norm="layer", gated=False, rope_theta=None)
    return randomise(Transformer(32, 2, 4, block)).eval()


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("lengths", [[6, 6], [5, 9, 1]], ids=["even", "ragged"])
def test_it_builds_and_runs_forward_and_backward(tokenizer, batch_of, extras, lengths):
    model = tokenizer(**extras)
    tokens = model(batch_of(model, lengths))
    assert_contract(tokens, len(lengths))
    tokens.embeds.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_tokens_are_padded_where_samples_have_different_numbers_of_them(tokenizer, batch_of, padded_lengths):
    model = tokenizer()
    lengths = padded_lengths(model)
    alone = [model(batch_of(model, [length])) for length in lengths]
    assert not any(tokens.padded for tokens in alone)
    ragged = model(batch_of(model, lengths))
    differ = len({tokens.embeds.shape[1] for tokens in alone}) > 1
    assert ragged.padded == differ and ragged.mask.all() == (not differ)


@pytest.mark.parametrize("extras", EXTRAS)
def test_preprocess_knows_how_many_tokens_a_sample_becomes(tokenizer, sample, batch_of, extras):
    model, lengths = tokenizer(**extras), [5, 1, 481, 2559, 4160]
    counts = model(batch_of(model, lengths)).mask.sum(1).tolist()
    for seed, (length, count) in enumerate(zip(lengths, counts, strict=True)):
        assert model.preprocess.num_tokens(model.preprocess(sample(model, length, seed))) == count


def test_prefix_tokens_come_first_at_the_origin(tokenizer, batch_of):
    model, plain = tokenizer(num_prefix_tokens=2), tokenizer()
    plain.load_state_dict(model.state_dict(), strict=False)
    batch = batch_of(model, [5, 9, 1])
    with_prefix, without = model(batch), plain(batch)
    assert torch.equal(with_prefix.embeds[:, :2], model.prefix.expand(3, -1, -1))
    assert with_prefix.mask[:, :2].all() and not with_prefix.positions[:, :2].any()
    for field in ("embeds", "mask", "positions"):
        assert torch.equal(getattr(with_prefix, field)[:, 2:], getattr(without, field))


def test_learned_positions_are_added_token_by_token(tokenizer, batch_of):
    model, plain = tokenizer(learned_positions=True), tokenizer()
    plain.load_state_dict(model.state_dict(), strict=False)
    batch = batch_of(model, [5, 9, 1])
    added = model(batch).embeds - plain(batch).embeds
    wanted = model.position_table[: added.shape[1]].expand_as(added)
    torch.testing.assert_close(added, wanted, atol=1e-5, rtol=0)


def test_the_table_of_positions_fits_the_largest_input(tokenizer, batch_of):
    model = tokenizer(learned_positions=True)
    batch = batch_of(model, [16_001, 200_000])  # cut to the tokenizer's size
    assert model(batch).embeds.shape[1] == len(model.position_table)


@pytest.mark.parametrize("dialect", ["modern", "classic"])
@pytest.mark.parametrize("extras", [EXTRAS[0], EXTRAS[3]])
@torch.no_grad()
def test_padding_does_not_change_what_real_tokens_become(
    tokenizer, batch_of, padded_lengths, with_junk, randomise, extras, dialect
):
    model, reader = tokenizer(**extras), backbone(randomise, dialect)
    batch = batch_of(model, padded_lengths(model))
    clean, dirty = model(batch), model(with_junk(batch))
    assert torch.equal(clean.mask, dirty.mask)
    for causal in (False, True):
        before, after = reader(clean, causal=causal).embeds, reader(dirty, causal=causal).embeds
        torch.testing.assert_close(after[clean.mask], before[clean.mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("extras", [EXTRAS[0], EXTRAS[3]])
@torch.no_grad()
def test_a_sample_alone_equals_itself_in_a_longer_batch(
    tokenizer, batch_of, padded_lengths, sample, randomise, extras
):
    model, reader = tokenizer(**extras), backbone(randomise)
    lengths = padded_lengths(model)
    together = model(batch_of(model, lengths))
    read = reader(together)
    for row, length in enumerate(lengths):
        alone = model({k: v[None] for k, v in model.preprocess(sample(model, length, row)).items()})
        num = alone.embeds.shape[1]
        assert together.mask[row].sum() == num and together.mask[row, :num].all(), f"length {length}"
        torch.testing.assert_close(together.embeds[row, :num], alone.embeds[0], atol=1e-5, rtol=1e-5)
        positions = together.positions.expand(len(lengths), -1, -1)[row, :num]
        assert torch.equal(positions, alone.positions[0])
        torch.testing.assert_close(read.embeds[row, :num], reader(alone).embeds[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_order_and_size_of_the_batch_change_nothing(tokenizer, batch_of):
    model = tokenizer()
    batch = batch_of(model, [5, 9, 1])
    tokens, backwards = model(batch), model({key: value.flip(0) for key, value in batch.items()})
    torch.testing.assert_close(backwards.embeds.flip(0), tokens.embeds, atol=1e-6, rtol=1e-5)
    assert torch.equal(backwards.mask.flip(0), tokens.mask)


def test_a_batch_without_the_modality_is_refused_by_name(tokenizer):
    model = tokenizer()
    with pytest.raises(ValueError, match=f'"{model.input_key}"; it has other, labels'):
        model({"other": torch.zeros(1), "labels": torch.zeros(1)})


def test_preprocess_gives_the_input_key(tokenizer, sample):
    model = tokenizer()
    assert model.input_key in model.preprocess(sample(model, 5))


def test_preprocess_is_frozen_plain_and_small(tokenizer):
    preprocess = tokenizer().preprocess
    assert is_dataclass(preprocess)
    with pytest.raises(FrozenInstanceError):
        preprocess.field = "other"
    values = [getattr(preprocess, field.name) for field in fields(preprocess)]
    assert not any(isinstance(value, Tensor) for value in values)
    hash(preprocess)  # nothing mutable inside
    limit = 200_000 if preprocess.field == "text" else 2_000
    assert len(pickle.dumps(preprocess)) < limit


def test_preprocess_works_after_pickling(tokenizer, sample):
    model = tokenizer()
    preprocess = model.preprocess
    preprocess(sample(model, 5))  # what it caches must not travel
    copy = pickle.loads(pickle.dumps(preprocess))
    assert copy == preprocess
    for key, value in preprocess(sample(model, 5)).items():
        assert torch.equal(copy(sample(model, 5))[key], value)


def test_buffers_are_persistent(tokenizer):
    model = tokenizer()
    assert {name for name, _ in model.named_buffers()} <= set(model.state_dict())


def test_pixels_and_sound_keep_their_constants_as_buffers(tokenizer):
    model = tokenizer()
    pixels, sound = {"mean", "std"}, {"filters", "window"}
    wanted = {"image": pixels, "video": pixels, "audio": sound, "text": set()}
    assert {name.rpartition(".")[2] for name, _ in model.named_buffers()} == wanted[model.preprocess.field]


@pytest.mark.parametrize("extras", [EXTRAS[0], EXTRAS[3]])
def test_it_runs_under_bf16_autocast(tokenizer, batch_of, randomise, extras):
    model, reader = tokenizer(**extras), backbone(randomise)
    batch = batch_of(model, [5, 9])
    exact = reader(model(batch)).embeds
    with torch.autocast("cpu", torch.bfloat16):
        tokens = model(batch)
        coarse = reader(tokens).embeds
    real = tokens.mask
    torch.testing.assert_close(coarse[real].float(), exact[real], atol=0.1, rtol=0.1)
