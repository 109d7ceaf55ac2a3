from collections import Counter

import pytest
import torch
from torch.utils.data import Dataset

from unimodal.data.loader import ResumableDataLoader
from unimodal.data.mixture import MixtureLoader, MixtureOrder, batch_counts
from unimodal.data.sampling import ResumableBatchSampler

COUNTS = {"a": 4, "b": 9, "c": 1}


class Numbers(Dataset):
    """Example i is the number i."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, draw):
        return {"index": torch.tensor(draw.index), "epoch": torch.tensor(draw.epoch)}


def loaders(sizes, rank=0, world_size=1, num_workers=0):
    made = {}
    for name, size in sizes.items():
        sampler = ResumableBatchSampler(size, 2, 0, True, True, rank, world_size)
        made[name] = ResumableDataLoader(Numbers(size), sampler, num_workers)
    return made


def mixture(several=False, sizes=None, counts=None, **options):
    parts = {key: options.pop(key) for key in ("rank", "world_size", "num_workers") if key in options}
    sizes = sizes or {"a": 6, "b": 10, "c": 4}
    return MixtureLoader(loaders(sizes, **parts), MixtureOrder(counts or COUNTS, several, seed=1), **options)


def plain(steps):
    return [{name: batch["index"].tolist() for name, batch in step.items()} for step in steps]


def test_at_temperature_one_a_weight_is_a_number_of_passes():
    assert batch_counts({"a": 10, "b": 40}, {"a": 2.5, "b": 0.5}) == {"a": 25, "b": 20}


def test_a_high_temperature_draws_sources_equally_often():
    counts = batch_counts({"a": 10, "b": 90}, {"a": 1, "b": 1}, float("inf"))
    assert counts == {"a": 50, "b": 50}
    middle = batch_counts({"a": 10, "b": 90}, {"a": 1, "b": 1}, 2)
    assert middle == {"a": 25, "b": 75}  # as the roots, 1 to 3


def test_a_source_of_weight_zero_is_left_out_and_a_rare_one_is_not():
    assert batch_counts({"a": 10, "b": 10}, {"a": 0, "b": 1}) == {"b": 10}
    assert batch_counts({"a": 10, "b": 10}, {"a": 0.001, "b": 1})["a"] == 1


@pytest.mark.parametrize(
    ("weights", "temperature", "message"),
    [
        ({"a": -1}, 1, r"mix\.a\.weight=-1"),
        ({"a": 0}, 1, "no source is drawn"),
        ({"a": 1}, 0.5, "temperature=0.5"),
    ],
)
def test_a_mixture_that_can_not_be_is_refused(weights, temperature, message):
    with pytest.raises(ValueError, match=message):
        batch_counts({"a": 10}, weights, temperature)


def test_one_source_a_step_has_exact_counts_evenly_spread():
    order = MixtureOrder({"a": 10, "b": 30}, seed=3)
    steps = order.steps(0)
    assert len(order) == len(steps) == 40 and all(len(step) == 1 for step in steps)
    assert Counter(step[0] for step in steps) == {"a": 10, "b": 30}
    for start in range(0, 40, 8):  # an even share of every stretch, give or take one at either end
        assert abs(sum(step == ("a",) for step in steps[start : start + 8]) - 2) <= 2


def test_several_sources_a_step_are_as_many_steps_as_the_most_frequent_has_batches():
    order = MixtureOrder({"a": 4, "b": 9, "c": 6}, several=True)
    for epoch in range(20):
        steps = order.steps(epoch)
        assert len(steps) == len(order) == 9
        assert all("b" in step and len(set(step)) == len(step) for step in steps)
        assert Counter(name for step in steps for name in step) == {"a": 4, "b": 9, "c": 6}


def test_the_order_depends_on_seed_and_epoch_only():
    order = MixtureOrder(COUNTS, seed=1)
    assert order.steps(2) == MixtureOrder(COUNTS, seed=1).steps(2)
    assert order.steps(2) != order.steps(3)
    assert order.steps(2) != MixtureOrder(COUNTS, seed=2).steps(2)


def test_sources_go_on_from_pass_to_pass():
    loader = mixture(sizes={"a": 6}, counts={"a": 5})  # 3 batches a pass
    seen = [step["a"] for _ in range(3) for step in loader]
    assert [int(batch["epoch"][0]) for batch in seen] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    for start in range(0, 15, 3):
        assert sorted(torch.cat([b["index"] for b in seen[start : start + 3]]).tolist()) == list(range(6))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("limit", [1.0, 7])
def test_it_goes_on_exactly_where_it_stopped(several, num_workers, limit):
    whole = mixture(several, limit=limit)
    wanted = plain(step for _ in range(3) for step in whole)
    per_epoch = len(wanted) // 3
    for stop in range(1, len(wanted), len(wanted) // 2 if num_workers else 4):  # workers take long to start
        first, seen = mixture(several, limit=limit), []
        while len(seen) < stop:
            for step in first:
                seen += plain([step])
                if len(seen) == stop:
                    break
        second = mixture(several, limit=limit, num_workers=num_workers)
        second.load_state_dict(first.state_dict())
        rest = plain(step for _ in range(3 - stop // per_epoch) for step in second)
        assert seen + rest[: len(wanted) - stop] == wanted


def test_asking_twice_for_an_iterator_loses_nothing():
    wanted = plain(mixture())
    loader = mixture()
    iter(loader)
    assert plain(loader) == wanted


def test_under_overfit_batches_every_epoch_is_the_first():
    loader = mixture(limit=3, repeat=True)
    assert plain(loader) == plain(loader) == plain(loader)


def test_all_processes_take_the_same_sources_and_different_examples():
    one, two = (mixture(sizes={"a": 12, "b": 12, "c": 12}, rank=r, world_size=2) for r in (0, 1))
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert not set(mine[name]["index"].tolist()) & set(theirs[name]["index"].tolist())
