import pytest
import torch
from torch.utils.data import Dataset

from unimodal.data.loader import ResumableDataLoader
from unimodal.data.token_budget import TokenBudgetSampler

LENGTHS = torch.randint(3, 200, (500,), generator=torch.Generator().manual_seed(0)).tolist()
BUDGET = 700


def batches(epoch=0, skip=0, lengths=LENGTHS, **options):
    sampler = TokenBudgetSampler(lengths, BUDGET, **options)
    sampler.epoch, sampler.skip = epoch, skip
    return [[draw.index for draw in batch] for batch in sampler]


def cost(batch, packed):
    lengths = [LENGTHS[index] for index in batch]
    return sum(lengths) if packed else max(lengths) * len(lengths)


@pytest.mark.parametrize("packed", [False, True])
def test_each_example_comes_once_and_no_batch_passes_the_budget(packed):
    for epoch in range(3):
        made = batches(epoch, packed=packed)
        assert sorted(index for batch in made for index in batch) == list(range(500))
        assert max(cost(batch, packed) for batch in made) <= BUDGET


@pytest.mark.parametrize("packed", [False, True])
def test_little_of_the_budget_is_left_over(packed):
    made = batches(packed=packed)
    assert sum(LENGTHS) / (BUDGET * len(made)) > 0.85


def test_padded_batches_hold_similar_lengths_and_packed_ones_all():
    def spread(batch):
        return max(LENGTHS[i] for i in batch) / min(LENGTHS[i] for i in batch)

    similar = sorted(spread(batch) for batch in batches())
    mixed = sorted(spread(batch) for batch in batches(packed=True))
    assert similar[len(similar) // 2] < 1.2 and mixed[0] > 2


@pytest.mark.parametrize("packed", [False, True])
def test_epochs_have_as_many_batches_in_another_order_of_other_examples(packed):
    one, two = batches(0, packed=packed), batches(1, packed=packed)
    assert len(one) == len(two) and {*map(frozenset, one)} != {*map(frozenset, two)}
    assert batches(1, packed=packed) == two and batches(1, packed=packed, seed=5) != two


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("skip", [1, 7])
def test_a_resumed_pass_goes_on_where_it_stopped(packed, skip):
    assert batches(2, skip, packed=packed) == batches(2, packed=packed)[skip:]


@pytest.mark.parametrize("packed", [False, True])
def test_ranks_have_as_many_batches_and_share_no_example(packed):
    ranks = [batches(rank=rank, world_size=3, packed=packed) for rank in range(3)]
    assert len({len(rank) for rank in ranks}) == 1 and len(ranks[0]) == len(batches(packed=packed)) // 3
    drawn = [index for rank in ranks for batch in rank for index in batch]
    assert len(drawn) == len(set(drawn))


def test_equal_lengths_are_drawn_anew_each_epoch():
    one, two = batches(0, lengths=[64] * 100), batches(1, lengths=[64] * 100)
    assert [len(batch) for batch in one] == [10] * 10 and {*map(frozenset, one)} != {*map(frozenset, two)}


def test_what_does_not_fit_is_refused_by_its_length():
    with pytest.raises(ValueError, match=r"max_tokens=700 is less than the longest.* of 900 tokens"):
        TokenBudgetSampler([5, 900], BUDGET)
    with pytest.raises(ValueError, match="makes 1 batches of the 2 training examples, fewer than the 2"):
        TokenBudgetSampler([5, 9], BUDGET, world_size=2)


class Numbers(Dataset):
    """Gives back what was asked for."""

    def __getitem__(self, draw):
        return {"drawn": torch.tensor([draw.epoch, draw.index])}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_restored_loader_hands_out_the_rest_then_the_next_epoch(packed, workers):
    def loader(num_workers=0):
        return ResumableDataLoader(Numbers(), TokenBudgetSampler(LENGTHS, 3000, packed), num_workers)

    whole = loader()
    epochs = [[batch["drawn"].tolist() for batch in whole] for _ in range(2)]
    assert epochs[0] != epochs[1] and len(epochs[0]) == len(whole)
    restored = loader(workers)
    restored.load_state_dict({"epoch": 0, "batches": 5})
    assert [batch["drawn"].tolist() for batch in restored] == epochs[0][5:]
    assert [batch["drawn"].tolist() for batch in restored] == epochs[1]
