from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from unimodal.backbone.cache import KVCache

NUM = 11
KNOBS = [
    {},
    {"num_registers": 3},
    {"num_kv_heads": 2},
    {"num_kv_heads": 1, "num_registers": 2, "head_dim": 16},
    {"layer_types": ["sliding", "full"], "window": 3},
]
CHUNKS = [[1] * NUM, [NUM], [4, 1, 1, 3, 2], [1, 7, 3]]


def cut(x, start, end):
    mask = x.mask[:, start:end]
    part = slice(None), slice(start, end)
    return replace(
        x, embeds=x.embeds[part], mask=mask, positions=x.positions[part], padded=not bool(mask.all())
    )


@torch.no_grad()
def decode(model, x, chunks, max_len=None):
    """Read x piece by piece, as generation does."""
    cache = KVCache(max_len or NUM + (0 if model.registers is None else len(model.registers)))
    ends = [sum(chunks[:i]) for i in range(len(chunks) + 1)]
    parts = [model(cut(x, *ends), causal=True, cache=cache).embeds for ends in pairwise(ends)]
    return torch.cat(parts, 1)


def left_padded(x, missing):
    """The first `missing` tokens of each row are padding; places count from the first real one."""
    mask = torch.arange(NUM) >= torch.tensor(missing)[:, None]
    places = (mask.long().cumsum(1) - 1).clamp_min(0)
    return replace(x, mask=mask, positions=places.float()[..., None].expand(-1, -1, 3), padded=True)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@torch.no_grad()
def test_cached_decoding_equals_full_decoding(dialect, transformer, tokens, knobs, chunks):
    model, x = transformer(dialect, **knobs), tokens(2, NUM)
    torch.testing.assert_close(decode(model, x, chunks), model(x, causal=True).embeds, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("num_registers", [0, 3])
@torch.no_grad()
def test_left_padded_prompts_decode_as_they_do_alone(dialect, transformer, tokens, num_registers, chunks):
    model, missing = transformer(dialect, num_registers=num_registers, num_kv_heads=2), [0, 3, 5]
    x = left_padded(tokens(3, NUM), missing)
    cached, full = decode(model, x, chunks), model(x, causal=True).embeds
    torch.testing.assert_close(cached[x.mask], full[x.mask], atol=1e-5, rtol=1e-5)
    for row, first in enumerate(missing):
        alone = cut(replace(x, embeds=x.embeds[row : row + 1], mask=x.mask[row : row + 1]), first, NUM)
        alone = replace(alone, positions=x.positions[row : row + 1, first:])
        wanted = model(alone, causal=True).embeds[0]
        torch.testing.assert_close(cached[row, first:], wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_room_to_spare_changes_nothing(modern, transformer, tokens):
    model, x = transformer(modern, num_registers=2), tokens(2, NUM)
    assert torch.equal(decode(model, x, [4, 7]), decode(model, x, [4, 7], max_len=100))


@torch.no_grad()
def test_the_cache_counts_registers_and_notes_padding(modern, transformer, tokens):
    model, cache = transformer(modern, num_registers=2), KVCache(20)
    x = left_padded(tokens(2, NUM), [0, 3])
    model(cut(x, 0, 5), causal=True, cache=cache)
    assert cache.length == 7
    assert torch.equal(cache.mask, torch.cat((torch.ones(2, 2, dtype=torch.bool), x.mask[:, :5]), 1))
    model(cut(x, 5, 6), causal=True, cache=cache)
    assert cache.length == 8 and cache.padded


@pytest.mark.parametrize(("num_registers", "max_len"), [(0, NUM - 1), (2, NUM + 1)])
def test_overflow_is_refused(dialect, transformer, tokens, num_registers, max_len):
    model = transformer(dialect, num_registers=num_registers)
    with pytest.raises(ValueError, match=f"max_len={max_len}"):
        decode(model, tokens(1, NUM), [4] + [1] * 7, max_len)


@torch.no_grad()
def test_a_refused_token_leaves_the_cache_as_it_was(modern, transformer, tokens):
    model, x, cache = transformer(modern), tokens(1, 4), KVCache(4)
    model(cut(x, 0, 3), causal=True, cache=cache)
    with pytest.raises(ValueError, match="max_len=4"):
        model(cut(x, 0, 2), causal=True, cache=cache)
    last = model(cut(x, 3, 4), causal=True, cache=cache).embeds
    torch.testing.assert_close(last, model(x, causal=True).embeds[:, 3:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_checkpointing_does_not_lose_the_cache_in_training_mode(modern, transformer, tokens):
    model, x = transformer(modern, checkpointing=True).train(), tokens(2, NUM)
    torch.testing.assert_close(decode(model, x, [4, 7]), model(x, causal=True).embeds, atol=1e-5, rtol=1e-5)


def test_a_cache_is_for_causal_reading_only(modern, transformer, tokens):
    with pytest.raises(ValueError, match="cache"):
        transformer(modern)(tokens(1, 4), cache=KVCache(4))


PREFIXED = torch.tensor([[True] * 4 + [False] * 7, [True] * 2 + [False] * 9])


@pytest.mark.parametrize("chunks", [[4, 7], [5, 1, 1, 1, 1, 1, 1], [7, 1, 3]], ids=str)
@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("gap", [False, True])
@torch.no_grad()
def test_a_prefix_is_read_by_the_first_call(dialect, transformer, tokens, knobs, chunks, gap):
    model, x, cache = transformer(dialect, **knobs), tokens(2, NUM), KVCache(NUM + 3)
    if gap:  # padding in the middle of the sequence
        mask = torch.ones(2, NUM, dtype=torch.bool)
        mask[0, 3], mask[1, 2:4] = False, False
        x = replace(x, mask=mask, padded=True)
    full = model(x, causal=True, prefix=PREFIXED).embeds
    ends = [sum(chunks[:i]) for i in range(1, len(chunks) + 1)]
    first = model(cut(x, 0, ends[0]), causal=True, prefix=PREFIXED[:, : ends[0]], cache=cache).embeds
    rest = [model(cut(x, *part), causal=True, cache=cache).embeds for part in pairwise(ends)]
    cached = torch.cat((first, *rest), 1)
    torch.testing.assert_close(cached[x.mask], full[x.mask], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_later_prefix_is_refused(modern, transformer, tokens):
    model, x, cache = transformer(modern), tokens(1, 4), KVCache(8)
    model(x, causal=True, cache=cache)
    with pytest.raises(ValueError, match="first call"):
        model(x, causal=True, prefix=torch.ones(1, 4, dtype=torch.bool), cache=cache)


@torch.no_grad()
def test_selected_rows_go_on_as_if_they_had_been_read(modern, transformer, tokens):
    model, x, cache = (
        transformer(modern, num_registers=2),
        left_padded(tokens(3, NUM), [0, 3, 5]),
        KVCache(20),
    )
    rows = torch.tensor([2, 0, 0, 1])
    model(cut(x, 0, 6), causal=True, cache=cache)
    cache.select(rows)
    chosen = replace(x, embeds=x.embeds[rows], mask=x.mask[rows], positions=x.positions[rows])
    last = model(cut(chosen, 6, NUM), causal=True, cache=cache).embeds
    torch.testing.assert_close(last, model(chosen, causal=True).embeds[:, 6:], atol=1e-5, rtol=1e-5)


def test_a_cache_excludes_segments(modern, transformer, tokens):
    packed = replace(tokens(1, 4), segments=torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="segments"):
        transformer(modern)(packed, causal=True, cache=KVCache(4))
