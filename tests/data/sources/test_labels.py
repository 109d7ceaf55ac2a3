from decimal import Decimal

import pytest
import torch

from unimodal.data.sources.label_reader import label_reader
from unimodal.data.sources.labels import BadLabel, Labels, class_name, encode, number, numbers, sort_names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (3, "3"),
        ("3", "3"),
        (" 3 ", "3"),
        ("03", "03"),
        ("-1", "-1"),
        ("+1", "+1"),
        ("null", "null"),
        ("nan", "nan"),
        ("0.0", "0.0"),
        ("1_2", "1_2"),
        ("1e3", "1e3"),
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


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_missing_label_is_said(value):  # FAULTS 38
    for read in (class_name, number):
        with pytest.raises(BadLabel, match="has no label"):
            read(value)


@pytest.mark.parametrize("value", ["nan", "NaN", "null"])
def test_among_numbers_the_words_for_nothing_are_missing_labels(value):
    with pytest.raises(BadLabel, match="has no label"):
        number(value)
    for values in (["0", "1", value], ["0.5", value]):
        with pytest.raises(BadLabel, match="has no label"):
            label_reader(Labels(), values).parse(value)


def test_a_list_is_no_class():  # FAULTS 38
    with pytest.raises(BadLabel, match="has a list for a label"):
        class_name(["a"])


@pytest.mark.parametrize("value", ["inf", "tall", "1_2", [1]])
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
        (["a|b", "a", "b"], "multilabel"),
        (["a|b", "b|c"], "multilabel"),
        (["1_2", "3_4"], "class"),
        (["nan", "null"], "class"),
        (["0.5", "nan", "inf"], "number"),
        ([[0.5, 1], [1, 2.0]], "number"),
    ],
)
def test_the_kind_is_inferred(values, kind):
    assert label_reader(Labels(), values).kind == kind


def test_text_that_looks_like_numbers_is_a_class_where_the_file_tells_them_apart():
    values = ["0.0", "0", "1e3"]
    reader = label_reader(Labels(), values, typed=True)
    assert [reader.parse(value) for value in values] == values
    assert "data.labels.kind=number" in reader.notes[0]
    assert label_reader(Labels(), values).kind == "number"  # in a csv file nothing tells them apart


def test_truth_values_are_the_same_class_as_text_and_as_bool():
    reader = label_reader(Labels(), ["True", "FALSE", True, "false"])
    assert [reader.parse(value) for value in ("True", True, "FALSE")] == ["true", "true", "false"]
    mixed = label_reader(Labels(), ["True", "true", "maybe"])
    assert [mixed.parse(value) for value in ("True", "true")] == ["True", "true"]


def test_classes_called_as_missing_values_are_pointed_out():
    reader = label_reader(Labels(), ["null", "wave", "n/a", "clap"])
    assert [reader.parse(value) for value in ("null", "n/a")] == ["null", "n/a"]
    assert "classes are called n/a, null" in reader.notes[0]


MULTI_HOT = {
    "int": [[0, 1, 1], [0, 0, 0], [1, 0, 0]],
    "bool": [[False, True], [True, True]],
    "float": [[0.0, 1.0], [1.0, 0.0]],
    "two of two": [[0, 1], [1, 0]],
    "text": ["[0, 1, 1]", "[0, 0, 1]"],
    "numpy": ["[0 1 1]", "[0 0 1]"],
    "numpy bool": ["[False  True]", "[ True  True]"],
    "with a missing one": [[0, 1, 1], None, [1, 0, 0]],
}


@pytest.mark.parametrize("values", MULTI_HOT.values(), ids=MULTI_HOT)
@pytest.mark.parametrize("kind", ["auto", "multilabel"])
def test_multi_hot_vectors_name_their_entries(values, kind):
    reader = label_reader(Labels(kind), values)
    assert reader.kind == "multilabel" and "multi-hot" in reader.notes[0]
    assert reader.class_names == ["0", "1", "2"][: len(reader.hot)]
    assert reader.parse(values[0]) == (["1", "2"] if len(reader.hot) == 3 else ["1"])


def test_names_are_those_of_the_entries():
    reader = label_reader(Labels(class_names=["x", "y", "z"]), [[0, 1, 1], [1, 0, 0]])
    assert reader.parse([0, 1, 1]) == ["y", "z"]
    with pytest.raises(ValueError, match=r"class_names has 2 names, but the vectors have 3 entries"):
        label_reader(Labels(class_names=["x", "y"]), [[0, 1, 1], [1, 0, 0]])
    with pytest.raises(BadLabel, match=r"\[0, 2, 1\], which is no vector of 3 entries"):
        reader.parse([0, 2, 1])


@pytest.mark.parametrize(
    "values", [[[0, 1], [0], []], [[0], [1], [1]], [[1, 2], [0, 2]], [["0", "1"], ["1", "0"]]]
)
def test_lists_of_classes_are_no_vectors(values):
    reader = label_reader(Labels(), values)
    assert reader.kind == "multilabel" and reader.hot is None
    assert reader.parse(values[0]) == sorted(map(str, values[0]))


def test_vectors_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="look like multi-hot vectors of 0 and 1, but have 2 to 3 entries"):
        label_reader(Labels(), [[0, 1, 1], [0, 1]])


@pytest.mark.parametrize(
    "cell", ["['rude', 'toxic']", '["rude", "toxic"]', "['rude' 'toxic']", "['rude'\n 'toxic']"]
)
def test_lists_in_cells_are_lists(cell):
    reader = label_reader(Labels(), [cell, "[]", ""])
    assert reader.kind == "multilabel"
    assert [reader.parse(value) for value in (cell, "[]", "", None)] == [["rude", "toxic"], [], [], []]


def test_cells_of_which_only_some_are_lists_stay_text():
    reader = label_reader(Labels(), ["['a']", "b", "b"])
    assert (reader.kind, reader.parse("['a']")) == ("class", "['a']")
    assert "1 of 3 labels, such as \"['a']\", look like lists" in reader.notes[0]


def test_several_columns_of_0_and_1_are_classes():
    columns = ["toxic", "obscene"]
    reader = label_reader(Labels(), [["0", "1"], ["1", ""]], columns)
    assert (reader.kind, list(reader.class_names)) == ("multilabel", columns)
    assert [reader.parse(row) for row in (["0", "1"], ["1", ""], [True, 1.0])] == [
        ["obscene"],
        ["toxic"],
        ["obscene", "toxic"],
    ]
    assert "data.labels.kind=number" in reader.notes[0]
    assert label_reader(Labels("number"), [[0, 1]], columns).kind == "number"
    assert label_reader(Labels(), [[0, 1], [2, 1]], columns).kind == "number"
    with pytest.raises(ValueError, match=r"data\.labels\.kind=class reads one column"):
        label_reader(Labels("class"), [[0, 1]], columns)


def test_a_single_pipe_does_not_make_labels_several_classes():
    reader = label_reader(Labels(), ["rock", "pop"] * 45 + ["R&B|soul"])
    assert (reader.kind, reader.parse("R&B|soul")) == ("class", "R&B|soul")
    assert "data.labels.kind=multilabel splits it" in reader.notes[0]


def test_a_separator_whose_parts_recur_is_suggested():
    reader = label_reader(Labels(), ["a, b", "b, c", "a", "c, a", "b"])
    assert reader.kind == "class" and 'data.labels.separator=","' in reader.notes[0]
    assert not label_reader(Labels(), ["Paris, Texas", "Rome, Georgia", "Paris"] * 9).notes


def test_class_names_are_given_once():
    with pytest.raises(ValueError, match=r"class_names has 'a' twice"):
        Labels(class_names=["a", "b", "a"])


def test_a_number_that_stands_for_no_label_is_refused():
    with pytest.raises(BadLabel, match="-100, which stands for a label that does not count"):
        numbers(-100)
    assert numbers([-100, 1]) == [-100.0, 1.0]


def test_a_separator_means_several_classes():
    labels = label_reader(Labels(separator=";"), ["a;b", "c"])
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
    assert torch.equal(encode([0.5], "number", {}), torch.tensor([0.5], dtype=torch.float64))
    assert encode([1.7e9 + 10], "number", {}).item() == 1_700_000_010


@pytest.mark.parametrize("wrong", [{"kind": "classes"}, {"unseen": "skip"}])
def test_unknown_options_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        Labels(**wrong)


def test_a_missing_entry_of_a_multi_hot_vector_is_no_class():
    reader = label_reader(Labels(), [[0, None, 1], [1, 1, 0], [0, 0, 1]])
    assert [reader.parse(value) for value in ([0, None, 1], [1, 1, 0])] == [["2"], ["0", "1"]]


def test_decimals_of_parquet_files_are_numbers():
    prices = [Decimal("9.90"), Decimal("10.00"), None]
    reader = label_reader(Labels(), prices, typed=True)
    assert reader.kind == "number" and reader.parse(prices[0]) == [9.9]
