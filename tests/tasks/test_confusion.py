import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from unimodal.tasks.confusion import Confusion, mean
from unimodal.types import IGNORED


def test_figures_are_sklearns_whatever_the_batches():
    rng = torch.Generator().manual_seed(0)
    said, labels = (torch.randint(4, (6, 5, 7), generator=rng) for _ in range(2))
    confusion = Confusion(4)
    for part in (slice(0, 1), slice(1, 6)):
        confusion.update(said[part], labels[part])
    flat = labels.flatten().numpy(), said.flatten().numpy()
    assert torch.isclose(confusion.accuracy(), torch.tensor(accuracy_score(*flat), dtype=torch.float32))
    iou = torch.tensor(jaccard_score(*flat, average=None))
    assert torch.allclose(confusion.intersection_over_union(), iou)
    assert torch.allclose(confusion.f1(), torch.tensor(f1_score(*flat, average=None)))


def test_what_is_ignored_and_classes_that_are_nowhere_do_not_count():
    confusion = Confusion(5)
    confusion.update(torch.tensor([0, 1, 1, 4]), torch.tensor([0, 1, 0, IGNORED]))
    iou = confusion.intersection_over_union()
    assert iou[:2].tolist() == [0.5, 0.5] and iou[2:].isnan().all()
    assert mean(iou) == 0.5


def test_a_class_that_is_only_said_counts_as_wrong():
    confusion = Confusion(3)
    confusion.update(torch.tensor([0, 2]), torch.tensor([0, 0]))
    assert confusion.intersection_over_union()[[0, 2]].tolist() == [0.5, 0.0]


def test_the_mean_of_nothing_is_zero():
    assert mean(torch.tensor([float("nan")])) == 0
