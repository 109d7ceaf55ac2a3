import itertools

import pytest

from unimodal.data.sampling import ResumableBatchSampler, stable_seed

SIZES = [
    (num, world, batch)
    for num in (1, 2, 5, 6, 12, 13, 17)
    for world in (1, 2, 3, 4)
    for batch in (1, 2, 3, 5)
]


def passes(num, batch_size, world_size=1, epoch=0, skip=0, **options):
    """For each rank the batches of one pass."""
    samplers = [
        ResumableBatchSampler(num, batch_size, rank=rank, world_size=world_size, **options)
        for rank in range(world_size)
    ]
    for sampler in samplers:
        sampler.epoch, sampler.skip = epoch, skip
    assert skip or all(len(sampler) == len(list(sampler)) for sampler in samplers)
    return [list(sampler) for sampler in samplers]


def draws(ranks):
    return [draw for batches in ranks for batch in batches for draw in batch]


def indices(ranks):
    return [draw.index for draw in draws(ranks)]


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    orders = {(seed, epoch): passes(20, 4, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)}
    assert orders == {(seed, epoch): passes(20, 4, seed=seed, epoch=epoch) for seed, epoch in orders}
    seen = [tuple(indices(ranks)) for ranks in orders.values()]
    assert len(set(seen)) == 4


def test_draws_carry_their_epoch():
    assert {draw.epoch for draw in draws(passes(7, 2, world_size=2, epoch=3))} == {3}


def test_without_shuffling_the_order_is_that_of_the_data():
    assert indices(passes(7, 3, shuffle=False)) == list(range(7))


def test_ranks_together_read_what_one_process_with_the_whole_batch_would():
    single = passes(24, 6)[0]
    ranks = passes(24, 2, world_size=3)
    assert [sorted(batch) for batch in single] == [
        sorted(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)
    ]


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_example_is_counted_exactly_once_a_pass(shuffle):
    for num, world, batch in SIZES:
        counted = [d.index for d in draws(passes(num, batch, world, shuffle=shuffle)) if d.counted]
        assert sorted(counted) == list(range(num)), (num, world, batch)


def test_only_what_fills_up_the_ranks_is_not_counted():
    for num, world, batch in SIZES:
        filled = [draw for draw in draws(passes(num, batch, world)) if not draw.counted]
        assert len(filled) == -num % world, (num, world, batch)


def test_ranks_give_equally_many_batches_of_equal_sizes():
    for (num, world, batch), drop_last in itertools.product(SIZES, (False, True)):
        if drop_last and num < world * batch:
            continue
        ranks = passes(num, batch, world, drop_last=drop_last)
        sizes = [[len(b) for b in batches] for batches in ranks]
        assert all(s == sizes[0] for s in sizes), (num, world, batch, drop_last)
        assert all(0 < size <= batch for size in sizes[0])


def test_dropping_the_last_batch_leaves_whole_batches_without_repetition():
    for num, world, batch in SIZES:
        if num >= world * batch:
            ranks = passes(num, batch, world, drop_last=True)
            seen = indices(ranks)
            assert len(set(seen)) == len(seen) == num // (world * batch) * world * batch
            assert {len(b) for batches in ranks for b in batches} == {batch}
            assert all(draw.counted for draw in draws(ranks))


def test_what_is_dropped_changes_from_epoch_to_epoch():
    seen = [set(indices(passes(10, 4, drop_last=True, epoch=epoch))) for epoch in range(20)]
    assert set.union(*seen) == set(range(10))


def test_a_pass_that_would_be_empty_names_the_knob():
    for num, world, batch in SIZES:
        if num < world * batch:
            with pytest.raises(ValueError, match=r"lower loader\.batch_size"):
                ResumableBatchSampler(num, batch, drop_last=True, world_size=world)


def test_skip_leaves_out_the_first_batches_and_nothing_else():
    for num, world, batch in SIZES:
        whole = passes(num, batch, world, epoch=2)
        for skip in range(len(whole[0]) + 1):
            rest = passes(num, batch, world, epoch=2, skip=skip)
            assert rest == [batches[skip:] for batches in whole]


def test_skip_does_not_change_the_length():
    sampler = ResumableBatchSampler(20, 4)
    sampler.skip = 3
    assert len(sampler) == 5


def test_stable_seeds_are_63_bits_and_differ():
    keys = list(itertools.product(range(10), repeat=3))
    seeds = {stable_seed(*key) for key in keys}
    assert len(seeds) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stable_seed(1, 2) == 5142973159532490859


WEIGHTS = [1 / 90] * 90 + [1 / 9] * 9 + [1.0]  # three classes of 90, 9 and 1 examples


def test_weighted_draws_are_as_frequent_as_their_weights():
    drawn = [i for epoch in range(100) for i in indices(passes(100, 10, epoch=epoch, weights=WEIGHTS))]
    assert len(drawn) == 100 * 100
    shares = [sum(start <= i < end for i in drawn) for start, end in ((0, 90), (90, 99), (99, 100))]
    assert all(abs(share - 10_000 / 3) < 200 for share in shares)
    assert set(range(90, 100)) < set(drawn)


def test_a_weight_of_zero_is_never_drawn():
    assert set(indices(passes(50, 5, weights=[0.0] * 20 + [1.0] * 10 + [0.0] * 20))) <= set(range(20, 30))


def test_weighted_draws_are_a_pure_function_of_seed_and_epoch():
    keys = [(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    orders = [passes(100, 4, seed=seed, epoch=epoch, weights=WEIGHTS) for seed, epoch in keys]
    assert orders == [passes(100, 4, seed=seed, epoch=epoch, weights=WEIGHTS) for seed, epoch in keys]
    assert len({tuple(indices(order)) for order in orders}) == 4


@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_share_the_weighted_draws_of_one_process(drop_last):
    options = {"weights": WEIGHTS, "drop_last": drop_last}
    single, (first, second) = passes(100, 6, **options)[0], passes(100, 3, world_size=2, **options)
    for whole, left, right in zip(single, first, second, strict=True):
        assert (whole[::2], whole[1::2]) == (left, right)


def test_skip_leaves_out_the_first_weighted_batches():
    whole = passes(100, 7, 2, epoch=2, weights=WEIGHTS)
    for skip in range(len(whole[0]) + 1):
        rest = passes(100, 7, 2, epoch=2, skip=skip, weights=WEIGHTS)
        assert rest == [batches[skip:] for batches in whole]


def test_there_is_a_weight_for_each_example():
    with pytest.raises(ValueError, match="3 weights for 4 examples"):
        ResumableBatchSampler(4, 2, weights=[1.0] * 3)


def test_blocks_are_shuffled_and_examples_within_them():
    sampler = ResumableBatchSampler(25, 5, seed=1, starts=[0, 7, 20])
    order = [draw.index for batch in sampler for draw in batch]
    assert sorted(order) == list(range(25)) and order != sorted(order)
    blocks = [0 if i < 7 else 1 if i < 20 else 2 for i in order]
    assert sum(a != b for a, b in itertools.pairwise(blocks)) == 2
    sampler.epoch = 1
    assert [draw.index for batch in sampler for draw in batch] != order
