"""Intervals against resampling the predictions themselves with scikit-learn's metrics."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error, r2_score
from torch import nn

from unimodal.tasks.intervals import RESAMPLES, accuracy_interval, class_intervals, sample_intervals
from unimodal.tasks.multi_label import MultiLabel
from unimodal.tasks.numeric import Numeric
from unimodal.tasks.single_label import SingleLabel
from unimodal.tasks.written import WrittenText


def bootstrap(num, metric, resamples=400):
    """The interval by drawing samples and computing the metric of each draw, as a textbook does."""
    rng = np.random.default_rng(7)
    values = [metric(rng.integers(0, num, num)) for _ in range(resamples)]
    return np.percentile(values, (2.5, 97.5))


def close(interval, wanted):
    """Percentiles of 1,000 and of 400 draws differ by some hundredths of the width."""
    width = wanted[1] - wanted[0]
    np.testing.assert_allclose(interval, wanted, atol=0.2 * width)


def measured(objective, logits, labels, batch=50):
    for start in range(0, len(labels), batch):
        objective.update(logits[start : start + batch], labels[start : start + batch])
    metrics = objective.compute()
    return metrics, objective.intervals()


def test_accuracy_and_f1_are_those_of_resampled_predictions():
    torch.manual_seed(0)
    labels = torch.randint(0, 5, (300,))
    logits = torch.randn(300, 5) + 2 * torch.eye(5)[labels]
    logits[7] = torch.nan  # of no class
    metrics, found = measured(SingleLabel(list("abcde")), logits, labels)
    said = torch.where(logits[:, 0].isnan(), 5, logits.argmax(1)).numpy()
    real = labels.numpy()
    close(found["accuracy"], bootstrap(300, lambda rows: (said[rows] == real[rows]).mean()))

    def f1(rows):
        return f1_score(real[rows], said[rows], average="macro", labels=[0, 1, 2, 3, 4])

    close(found["f1"], bootstrap(300, f1))
    for name, (low, high) in found.items():
        assert low < metrics[name] < high


def test_the_interval_is_that_of_the_last_validation_and_counts_no_ignored_row():
    logits, labels = torch.eye(2)[[0, 1, 0, 1]], torch.tensor([0, 1, 1, -100])
    objective = SingleLabel(["a", "b"])
    measured(objective, logits, labels)
    assert objective.last_pairs.sum() == 3
    _, found = measured(objective, logits[:2], labels[:2])
    assert found["accuracy"] == [1.0, 1.0]
    assert measured(SingleLabel(["a", "b"]), logits[:0], labels[:0])[1] == {}


def test_the_number_of_batches_and_the_order_change_nothing():
    torch.manual_seed(1)
    logits, labels = torch.randn(90, 2), torch.randn(90, 2)
    names = ["x", "y"]

    def numeric():
        return Numeric(names, [0.0, 0.0], [1.0, 1.0], nn.MSELoss(reduction="none"))

    _, one = measured(numeric(), logits, labels, batch=90)
    _, other = measured(numeric(), logits.flip(0), labels.flip(0), batch=7)
    assert one.keys() == other.keys() == {"loss", "mae", "rmse", "r2"}
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6)


def test_errors_of_numbers_are_those_of_resampled_predictions():
    torch.manual_seed(0)
    real = torch.randn(200, 2) * 3 + 5
    guess = real + torch.randn(200, 2)
    objective = Numeric(["x", "y"], [5.0, 5.0], [3.0, 3.0], nn.HuberLoss(reduction="none"))
    metrics, found = measured(objective, (guess - 5) / 3, real)
    a, b = real.numpy(), guess.numpy()
    close(found["mae"], bootstrap(200, lambda rows: mean_absolute_error(a[rows], b[rows])))
    close(found["r2"], bootstrap(200, lambda rows: r2_score(a[rows], b[rows])))
    rmse = bootstrap(200, lambda rows: np.sqrt(((a[rows] - b[rows]) ** 2).mean(0)).mean())
    close(found["rmse"], rmse)
    losses = nn.HuberLoss(reduction="none")((guess - 5) / 3, (real - 5) / 3).mean(1).numpy()
    close(found["loss"], bootstrap(200, lambda rows: losses[rows].mean()))
    for name in ("mae", "rmse", "r2"):
        assert found[name][0] < metrics[name] < found[name][1]


def test_several_classes_a_sample_are_those_of_resampled_predictions():
    torch.manual_seed(0)
    labels = (torch.rand(150, 4) < 0.4).float()
    logits = (torch.randn(150, 4) + 1.5 * labels - 0.5).round(decimals=1)  # some are equal
    metrics, found = measured(MultiLabel(list("abcd")), logits, labels)
    real, scores = labels.numpy().astype(int), logits.numpy()
    wanted = bootstrap(150, lambda rows: average_precision_score(real[rows], scores[rows], average="macro"))
    close(found["map"], wanted)
    for name, average in (("micro_f1", "micro"), ("macro_f1", "macro")):

        def f1(rows, average=average):
            return f1_score(real[rows], scores[rows] > 0, average=average, zero_division=0)

        close(found[name], bootstrap(150, f1))
    for name, (low, high) in found.items():
        assert low < metrics[name] < high


def test_word_errors_are_summed_before_they_are_divided():
    rng = np.random.default_rng(0)
    references = [" ".join(rng.choice(list("abcdef"), rng.integers(1, 9))) for _ in range(120)]
    written = [text.replace("a", "x") for text in references]
    whole = WrittenText()
    whole.update(written, references)
    figures, found = whole.compute(), whole.intervals()
    wrong = np.array([text.split().count("a") for text in references])
    words = np.array([len(text.split()) for text in references])
    assert float(figures["wer"]) == pytest.approx(wrong.sum() / words.sum())
    close(found["wer"], bootstrap(120, lambda rows: wrong[rows].sum() / words[rows].sum()))
    close(found["exact_match"], bootstrap(120, lambda rows: (wrong[rows] == 0).mean()))


def test_many_different_pairs_leave_the_interval_of_accuracy(monkeypatch):
    monkeypatch.setattr("unimodal.tasks.intervals.MAX_CELLS", 2)
    pairs = torch.tensor([[50, 10, 0], [5, 35, 0]])
    found = class_intervals(pairs)
    assert found == accuracy_interval(85, 100)
    assert found["accuracy"][0] < 0.85 < found["accuracy"][1]


def test_a_metric_that_a_resample_lacks_has_no_interval():
    def metrics(weights):
        return {"mean": weights[:, 0] / 3, "lacking": np.where(weights[:, 0] > 0, 1.0, np.nan)}

    found = sample_intervals(3, metrics)
    assert found.keys() == {"mean"}


def test_an_interval_holds_the_truth_as_often_as_it_promises():
    """Of 300 validations of 200 samples at a true accuracy of 80%, about 95% of the intervals contain 80%."""
    right = np.random.default_rng(3).binomial(200, 0.8, 300)
    intervals = [accuracy_interval(int(num), 200)["accuracy"] for num in right]
    assert 0.91 < np.mean([low <= 0.8 <= high for low, high in intervals]) < 0.98
    assert RESAMPLES == 1000
