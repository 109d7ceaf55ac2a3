import pytest
import torch

from unimodal.data.collate import collate


def test_equal_shapes_are_stacked_without_a_mask():
    pixels = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    batch = collate([{"pixel_values": p, "labels": torch.tensor(i)} for i, p in enumerate(pixels)])
    assert batch.keys() == {"pixel_values", "labels"}
    assert torch.equal(batch["pixel_values"], pixels)
    assert batch["pixel_values"].dtype == torch.uint8
    assert batch["labels"].tolist() == [0, 1]


def test_texts_of_different_length_are_padded_with_an_attention_mask():
    batch = collate([{"input_ids": torch.tensor([5, 6, 7])}, {"input_ids": torch.tensor([8])}])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[True, True, True], [True, False, False]]
    assert batch["attention_mask"].dtype == torch.bool


@pytest.mark.parametrize("rest", [(), (3, 2, 2)])
def test_any_other_padded_key_gets_its_own_mask(rest):
    long, short = torch.rand(4, *rest), torch.rand(2, *rest)
    batch = collate([{"input_values": short}, {"input_values": long}])
    assert torch.equal(batch["input_values"][0, :2], short)
    assert not batch["input_values"][0, 2:].any()
    assert torch.equal(batch["input_values"][1], long)
    assert batch["input_values_mask"].tolist() == [[True, True, False, False], [True] * 4]


def test_followers_are_padded_without_a_mask():
    def example(num):
        return {
            "input_ids": torch.ones(num, dtype=torch.long),
            "labels": torch.ones(num, dtype=torch.long),
            "byte_counts": torch.ones(num, dtype=torch.long),
            "spectrogram_mask": torch.ones(num, 2, dtype=torch.bool),
        }

    batch = collate([example(1), example(2)])
    assert batch.keys() == {*example(1), "attention_mask"}
    assert batch["labels"].tolist() == [[1, -100], [1, 1]]
    assert batch["byte_counts"].tolist() == [[1, 0], [1, 1]]
    assert batch["spectrogram_mask"][0].tolist() == [[True, True], [False, False]]


def test_only_the_key_that_differs_in_length_is_padded():
    first = {"input_ids": torch.tensor([1, 2]), "input_values": torch.zeros(3)}
    second = {"input_ids": torch.tensor([1]), "input_values": torch.zeros(3)}
    assert collate([first, second]).keys() == {"input_ids", "attention_mask", "input_values"}


def test_one_example_is_a_batch_of_one():
    batch = collate([{"input_ids": torch.tensor([1, 2]), "labels": torch.tensor(3)}])
    assert batch["input_ids"].shape == (1, 2)
    assert batch["labels"].shape == (1,)


def test_examples_with_other_keys_are_named():
    with pytest.raises(ValueError, match="one has a, b, one a"):
        collate([{"a": torch.zeros(1), "b": torch.zeros(1)}, {"a": torch.zeros(1)}])


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 4), ()])
def test_shapes_that_differ_beyond_the_first_axis_name_the_key(shape):
    with pytest.raises(ValueError, match="pixel_values of one batch differs in shape"):
        collate([{"pixel_values": torch.zeros(3, 4, 4)}, {"pixel_values": torch.zeros(shape)}])


def test_a_number_beside_a_list_names_the_key():
    with pytest.raises(ValueError, match="labels of one batch differs in shape"):
        collate([{"labels": torch.tensor(1)}, {"labels": torch.tensor([1, 2])}])
