from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from unimodal.types import TokenSequence, concatenate, full_mask


def sequence(num, *, batch=2, lengths=None, shared=True, seed=0):
    embeds = torch.randn(batch, num, 4, generator=torch.Generator().manual_seed(seed))
    mask = full_mask(embeds) if lengths is None else torch.arange(num) < torch.tensor(lengths)[:, None]
    places = torch.arange(num).float()[None, :, None].expand(1 if shared else batch, -1, 3)
    return TokenSequence(embeds, mask, places, padded=lengths is not None)


def test_a_token_sequence_is_frozen():
    with pytest.raises(FrozenInstanceError):
        sequence(3).padded = True


def test_with_embeds_changes_nothing_else():
    before = sequence(3, lengths=[3, 1])
    after = before.with_embeds(before.embeds + 1)
    assert torch.equal(after.embeds, before.embeds + 1)
    assert after.mask is before.mask and after.positions is before.positions and after.padded


def test_full_mask_is_all_real():
    mask = full_mask(torch.zeros(2, 5, 4))
    assert mask.shape == (2, 5) and mask.dtype == torch.bool and mask.all()


def test_sequences_are_joined_in_order():
    parts = [sequence(3, seed=1), sequence(5, lengths=[5, 2], seed=2), sequence(2, seed=3)]
    whole = concatenate(parts)
    assert torch.equal(whole.embeds, torch.cat([p.embeds for p in parts], 1))
    assert torch.equal(whole.mask, torch.cat([p.mask for p in parts], 1))
    assert whole.positions.shape == (2, 10, 3)
    assert whole.segments is None


@pytest.mark.parametrize("lengths", [None, [4, 4], [4, 1]])
def test_joined_is_padded_if_a_part_is(lengths):
    assert concatenate([sequence(3), sequence(4, lengths=lengths)]).padded == (lengths is not None)


@pytest.mark.parametrize("shared", [True, False])
def test_each_part_stands_right_after_the_last_coordinate_of_the_one_before(shared):
    places = concatenate([sequence(n, shared=shared) for n in (3, 5, 2)]).positions
    assert places[:, :, 0].tolist() == [list(range(10))] * 2
    assert torch.equal(places[..., 0], places[..., 2])


def test_a_grid_takes_no_more_room_than_its_longest_side():
    image = replace(sequence(6), positions=torch.tensor([[[0.0, y, x] for y in range(2) for x in range(3)]]))
    places = concatenate([image, sequence(2)]).positions[0]
    assert places[:6].amax() == 2
    assert places[6:].tolist() == [[3] * 3, [4] * 3]


def test_where_a_part_stands_does_not_depend_on_padding_before_it():
    short, longer = sequence(2, seed=1), sequence(5, lengths=[2, 2], seed=1)
    after = sequence(3)
    alone, padded = concatenate([short, after]), concatenate([longer, after])
    assert torch.equal(padded.positions[:, -3:], alone.positions[:, -3:])


def test_each_row_counts_its_own_tokens():
    places = concatenate([sequence(4, lengths=[4, 1]), sequence(4, lengths=[0, 2]), sequence(2)]).positions
    assert places[:, 4, 0].tolist() == [4, 1]
    assert places[:, 8, 0].tolist() == [4, 3]  # a part that a row lacks takes no room


def test_one_sequence_stays_as_it_is():
    only = sequence(3)
    assert concatenate([only]) is only


def test_nothing_to_join_is_refused():
    with pytest.raises(ValueError, match="no sequence"):
        concatenate([])


def test_packed_sequences_are_not_joined():
    packed = replace(sequence(3), segments=torch.zeros(2, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="segments"):
        concatenate([packed, sequence(2)])
