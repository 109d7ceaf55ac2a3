import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from unimodal.data import targets
from unimodal.data.sources.base import Source, class_names

LABELS = [0, 0, 0, 0, 0, 0, 1, 1, 2]


class Given(Source):
    """Labels without samples."""

    def __init__(self, labels, class_names=(), target_names=(), multilabel=False):
        self.labels, self.multilabel = labels, multilabel
        self.class_names, self.target_names = class_names, target_names

    def split_labels(self, name):
        assert name == "train"
        return self.labels


def flowers(labels=LABELS):
    return Given(labels, ["daisy", "rose", "tulip"])


def tags(rows):
    return Given([torch.tensor(row, dtype=torch.float32) for row in rows], ["red", "big", "old"], (), True)


def numbers(rows, names=("age",)):
    return Given([torch.tensor(row) for row in rows], target_names=names)


def test_a_source_says_whether_several_classes_may_apply():
    assert targets.multilabel(tags([]))
    assert not targets.multilabel(flowers())


def test_classes_are_no_numbers():
    with pytest.raises(ValueError) as error:
        targets.target_names(Given([], ["a", "b", "c", "d"]))
    assert str(error.value) == (
        "the labels are classes (a, b, c, ...); if they are numbers set data.labels.kind=number, "
        "else use task=classification."
    )


def test_numbers_are_no_classes():
    with pytest.raises(ValueError) as error:
        class_names(numbers([], ("age", "height")))
    assert str(error.value) == "the labels are numbers (age, height); use task=regression."


@pytest.mark.parametrize("ask", [class_names, targets.target_names])
def test_data_without_labels_is_named(ask):
    with pytest.raises(ValueError, match="the data has no"):
        ask(Given([]))


def test_mean_and_std_are_those_of_training():
    source = numbers([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]], ("age", "same"))
    assert targets.target_names(source) == ["age", "same"]
    assert targets.target_mean(source) == [4.0, 5.0]
    assert targets.target_std(source) == [pytest.approx(math.sqrt(26 / 3)), 1.0]


def test_large_numbers_keep_their_spread():
    source = numbers([[1e7 + i] for i in range(4)])
    assert targets.target_std(source) == [pytest.approx(math.sqrt(1.25))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1.0, 2.0], r"shape \(2,\); there are 1 numbers to predict: age"),
        (1.0, r"shape \(\)"),
        ([math.nan], "label 1 of train is .nan., which is not finite"),
        ([-100.0], "stands for a label that does not count"),
    ],
)
def test_numbers_that_can_not_be_learned_are_named(row, message):
    with pytest.raises(ValueError, match=message):
        targets.target_mean(numbers([[1.0], row]))


def test_without_a_scheme_nothing_is_counted():
    class Unread(Source):
        def split_labels(self, name):
            raise AssertionError

    assert targets.class_weights(Unread()) is None


def test_balanced_weights_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert targets.class_weights(flowers(), "balanced") == pytest.approx(expected)
    assert targets.class_weights(flowers(), "sqrt") == pytest.approx(expected**0.5)


def test_a_class_without_samples_weighs_one():
    assert targets.class_weights(flowers([0, 0, 2]), "balanced") == [0.5, 1.0, 1.0]
    assert targets.class_weights(tags([[1, 0, 1], [0, 0, 1]]), "balanced")[1] == 1.0


def test_of_several_labels_the_weight_is_without_by_with():
    source = tags([[1, 1, 1]] + [[0, 1, 1]] * 3 + [[0, 0, 1]] * 4)
    assert targets.class_weights(source, "balanced") == pytest.approx([7.0, 1.0, 0.01])
    assert targets.class_weights(source, "sqrt") == pytest.approx([7**0.5, 1.0, 0.1])


def test_the_weight_of_a_rare_class_has_a_limit():
    assert targets.class_weights(tags([[1, 0, 0]] + [[0, 1, 0]] * 500), "balanced")[0] == 100


def test_weights_may_be_given():
    assert targets.class_weights(flowers(), [1, 2, 1]) == [1.0, 2.0, 1.0]


def test_weights_by_name_leave_the_other_classes_at_one():
    assert targets.class_weights(flowers(), {"tulip": 5}) == [1.0, 1.0, 5.0]
    with pytest.raises(
        ValueError, match="the class 'tulpi', which the data does not have; did you mean tulip"
    ):
        targets.class_weights(flowers(), {"tulpi": 5})


def test_an_unknown_scheme_names_those_there_are():
    with pytest.raises(ValueError, match="scheme=even is neither one of none, balanced, sqrt nor a list"):
        targets.class_weights(flowers(), "even")


def test_each_class_has_the_same_share_of_balanced_draws():
    weights = targets.balanced_weights(flowers())
    shares = [sum(w for w, label in zip(weights, LABELS, strict=True) if label == c) for c in range(3)]
    assert shares == pytest.approx([1, 1, 1])


def test_a_sample_with_several_labels_is_drawn_as_their_mean_says():
    weights = targets.balanced_weights(tags([[1, 0, 0], [1, 1, 0], [0, 0, 0]]))
    assert weights == pytest.approx([0.5, 0.75, 0.625])


def test_numbers_can_not_be_balanced():
    with pytest.raises(ValueError, match=r"equally often, but the data has numbers \(age\)"):
        targets.balanced_weights(numbers([[1.0]]))
    with pytest.raises(ValueError, match="but the data has no classes"):
        targets.balanced_weights(Given([]))
