import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from unimodal.tasks.sums import ClassCounts, Mean, Sum, decided, mean
from unimodal.types import IGNORED

NAN = float("nan")


def test_a_mean_weighs_what_it_is_given():
    one = Mean()
    one.update(torch.tensor([1.0, 2.0]))
    one.update(torch.tensor(7.0), torch.tensor(3))
    one.update(torch.tensor(0.0), torch.tensor(0))
    one.update(torch.tensor([True, False]))
    assert one.compute() == pytest.approx((1 + 2 + 21 + 1) / 7)
    one.reset()
    assert one.compute().isnan()


def test_a_mean_and_a_sum_with_a_nan_are_nan():
    """A batch whose loss is NaN is not left out, as torchmetrics does."""
    one, all_ = Mean(), Sum()
    for value in (1.0, NAN, 2.0):
        one.update(torch.tensor(value), torch.tensor(4))
        all_.update(torch.tensor(value))
    assert one.compute().isnan() and all_.compute().isnan()


def test_many_small_batches_give_the_mean_of_one_large_one():
    """In float32 the sum of 20 million would no longer grow by 1."""
    one = Mean()
    one.update(torch.tensor(2.0), torch.tensor(20_000_000))
    for _ in range(1000):
        one.update(torch.tensor(3.0), torch.tensor(1))
    assert float(one.weight) == 20_001_000 and float(one.total) == 40_003_000


def test_sums_keep_their_dtype_in_a_model_of_bf16():
    """trainer.precision=bf16-true converts the module; a bf16 sum of ones ends at 256."""
    one = Mean().to(torch.bfloat16)
    for _ in range(300):
        one.update(torch.tensor(1.0))
    assert one.weight == 300 and one.weight.dtype == torch.float64
    one.half().reset()
    assert one.weight.dtype == torch.float64


def test_what_is_decided_is_the_largest_and_no_class_where_logits_are_not_finite():
    logits = torch.tensor(
        [[0.0, 2.0, 1.0], [NAN, 0, 0], [0, NAN, 5], [torch.inf, 0, 0], [-torch.inf, -1, -2]]
    )
    assert decided(logits).tolist() == [1, 3, 3, 3, 1]
    assert decided(logits.T, 0).tolist() == [1, 3, 3, 3, 1]


def test_counts_give_the_metrics_of_sklearn_whatever_the_batches():
    rng = torch.Generator().manual_seed(0)
    said, labels = (torch.randint(4, (6, 5, 7), generator=rng) for _ in range(2))
    counts = ClassCounts(4)
    for part in (slice(0, 1), slice(1, 6)):
        counts.update(said[part], labels[part])
    flat = labels.flatten().numpy(), said.flatten().numpy()
    assert float(counts.accuracy()) == pytest.approx(accuracy_score(*flat))
    assert counts.intersection_over_union().tolist() == pytest.approx(jaccard_score(*flat, average=None))
    assert counts.f1().tolist() == pytest.approx(f1_score(*flat, average=None))


def test_what_is_ignored_and_classes_that_are_nowhere_do_not_count():
    counts = ClassCounts(5)
    counts.update(torch.tensor([0, 1, 1, 4]), torch.tensor([0, 1, 0, IGNORED]))
    iou = counts.intersection_over_union()
    assert iou[:2].tolist() == [0.5, 0.5] and iou[2:].isnan().all()
    assert mean(iou) == 0.5


def test_a_class_that_is_only_said_counts_as_wrong():
    counts = ClassCounts(3)
    counts.update(torch.tensor([0, 2]), torch.tensor([0, 0]))
    assert counts.intersection_over_union()[[0, 2]].tolist() == [0.5, 0.0]


def test_no_class_is_wrong_and_of_no_class():
    counts = ClassCounts(2)
    counts.update(torch.tensor([2, 2, 0]), torch.tensor([0, 0, 0]))
    assert counts.accuracy() == pytest.approx(1 / 3)
    assert counts.f1()[0] == 0.5 and counts.f1()[1].isnan()


def test_the_mean_of_nothing_is_zero():
    assert mean(torch.tensor([NAN])) == 0
