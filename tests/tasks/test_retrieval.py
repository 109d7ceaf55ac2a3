import pytest
import torch
import torch.nn.functional as F

from unimodal.tasks.retrieval import CHUNK, Pairs, retrieval

NAMES = ("image", "text")


def units(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def by_hand(vectors, items, one, other):
    """Rank of each different query among the different candidates, one after another."""
    rows = range(len(items))
    candidates = {items[row, other].item(): vectors[row, other] for row in reversed(rows)}
    ranks = []
    for item in sorted(set(items[:, one].tolist())):
        query = next(vectors[row, one] for row in rows if items[row, one] == item)
        right = {items[row, other].item() for row in rows if items[row, one] == item}
        scores = {key: float(query @ vector) for key, vector in candidates.items()}
        best = max(scores[key] for key in right)
        ranks.append(1 + sum(score >= best for key, score in scores.items() if key not in right))
    return torch.tensor(ranks)


@pytest.mark.parametrize("num_texts", [40, 12])
def test_ranks_are_those_of_brute_force(num_texts):
    vectors = units(40, 2, 6)
    items = torch.stack([torch.arange(40), 100 + torch.arange(40) % num_texts], 1)
    vectors[:, 1] = units(num_texts, 6, seed=1)[torch.arange(40) % num_texts]
    vectors[:, 1] += vectors[:, 0] * 0.5
    vectors[:, 1] = vectors[torch.arange(40) % num_texts, 1]
    found = retrieval(vectors, items, NAMES)
    for one, other in ((0, 1), (1, 0)):
        ranks, name = by_hand(vectors, items, one, other), f"{NAMES[one]}_to_{NAMES[other]}"
        for k in (1, 5, 10):
            assert torch.isclose(found[f"{name}_r{k}"], (ranks <= k).float().mean())
        assert found[f"{name}_median_rank"] == ranks.float().quantile(0.5)


def test_several_pictures_of_one_text_are_all_right_and_the_text_is_one_candidate():
    text = torch.eye(3)[[0, 0, 1, 2]]
    image = F.normalize(torch.tensor([[1.0, 0.4, 0], [0.2, 1, 0], [0, 1, 0], [0, 0, 1]]), dim=-1)
    items = torch.tensor([[1, 7], [2, 7], [3, 8], [4, 9]])
    found = retrieval(torch.stack([image, text], 1), items, NAMES)
    assert found["text_to_image_r1"] == 1  # the first picture of text 7 is closest; the second need not be
    assert found["image_to_text_r1"] == 0.75  # picture 2 lies closer to text 8
    assert torch.isclose(found["image_to_text_r10_chance"], torch.tensor(1.0))  # of three texts ten


def test_a_model_that_says_the_same_of_all_finds_nothing():
    vectors = torch.ones(50, 2, 4) / 2
    found = retrieval(vectors, torch.arange(100).view(50, 2), NAMES)
    assert found["mean_recall"] == 0 and found["image_to_text_median_rank"] == 50


def test_chance_is_what_random_vectors_reach():
    items = torch.stack([torch.arange(400), 1000 + torch.arange(400) // 4], 1)
    runs = []
    for seed in range(20):
        texts = units(100, 8, seed=99 + seed)[items[:, 1] - 1000]
        vectors = torch.stack([units(400, 8, seed=seed), texts], 1)
        runs.append(retrieval(vectors, items, NAMES))
    for name in ("image_to_text", "text_to_image"):
        reached = torch.stack([run[f"{name}_r10"] for run in runs]).mean()
        assert torch.isclose(reached, runs[0][f"{name}_r10_chance"], atol=0.02)
    assert torch.isclose(runs[0]["image_to_text_r10_chance"], torch.tensor(0.1))


def test_more_queries_than_a_chunk_are_all_ranked():
    num = CHUNK + 10
    vectors = units(num, 1, 16).expand(-1, 2, -1)
    assert retrieval(vectors, torch.arange(2 * num).view(-1, 2), NAMES)["mean_recall"] == 1


def test_batches_do_not_matter():
    vectors, items = units(30, 2, 5), torch.arange(60).view(30, 2)
    whole, parts = Pairs(), Pairs()
    whole.update(vectors, items)
    for rows in torch.randperm(30).split(7):
        parts.update(vectors[rows], items[rows])
    assert retrieval(*whole.compute(), NAMES) == retrieval(*parts.compute(), NAMES)
