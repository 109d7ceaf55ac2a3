import pytest
import torch

from unimodal.data.sources.labels import BadLabel, Labels, class_name, encode, number, sort_names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (3, "3"),
        ("3", "3"),
        (" 3 ", "3"),
        ("03", "03"),
        ("-1", "-1"),
        (True, "true"),
        ("rose ", "rose"),
        ("None", "None"),
        (1.0, "1"),
        (1.5, "1.5"),
        ("3.11", "3.11"),
    ],
)
def test_a_class_has_one_name_whatever_its_type(value, name):  # FAULTS 38
    assert class_name(value) == name


@pytest.mark.parametrize("value", [None, "", "  ", "nan", "NaN", "null", float("nan")])
def test_a_missing_label_is_said(value):  # FAULTS 38
    with pytest.raises(BadLabel, match="has no label"):
        class_name(value)


def test_a_list_is_no_class():  # FAULTS 38
    with pytest.raises(BadLabel, match="has a list for a label"):
        class_name(["a"])


@pytest.mark.parametrize("value", ["inf", "tall", [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(BadLabel):
        number(value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"], "class"),
        ([0, 1], "class"),
        (["0", "1", None], "class"),
        ([True, False], "class"),
        ([0.5, 1.0], "number"),
        (["0.5", "1", ""], "number"),
        ([[0.5, 1.0], [1.0, 2.0]], "number"),
        ([["a"], []], "multilabel"),
        ([[1, 2], [3]], "multilabel"),
        (["a|b", "a"], "multilabel"),
    ],
)
def test_the_kind_is_inferred(values, kind):
    assert Labels().settled(values).kind == kind


def test_a_separator_means_several_classes():
    labels = Labels(separator=";").settled(["a;b", "c"])
    assert labels.kind == "multilabel"
    assert labels.parse(" b; a ;a") == ["a", "b"]


def test_names_are_sorted_as_numbers_where_they_are():
    assert sort_names({"10", "9", "1"}) == ["1", "9", "10"]
    assert sort_names({"10", "9", "a"}) == ["10", "9", "a"]


def test_labels_become_what_tasks_learn():
    index = {"a": 0, "b": 1, "c": 2}
    assert encode("b", "class", index) == 1
    assert torch.equal(encode(["a", "c"], "multilabel", index), torch.tensor([1.0, 0, 1]))
    assert torch.equal(encode([], "multilabel", index), torch.zeros(3))
    assert torch.equal(encode([0.5], "number", {}), torch.tensor([0.5]))


@pytest.mark.parametrize("wrong", [{"kind": "classes"}, {"unseen": "skip"}])
def test_unknown_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        Labels(**wrong)
