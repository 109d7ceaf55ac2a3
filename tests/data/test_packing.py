import pytest
import torch

from unimodal.data.packing import PackingCollate, first_fit_decreasing
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.tokenizers.image import ImagePreprocess
from unimodal.tokenizers.text import TextPreprocess

TEXT = TextPreprocess(**byte_vocabulary(None), max_len=64)


def examples(*lengths):
    return [{"input_ids": torch.arange(length)} for length in lengths]


def test_the_longest_come_first_each_into_the_first_row_with_room():
    assert first_fit_decreasing([3, 5, 2, 1, 4, 2], 6) == [2, 0, 1, 0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_no_row_is_overfull_and_few_are_used(seed):
    lengths = torch.randint(1, 60, (200,), generator=torch.Generator().manual_seed(seed)).tolist()
    rows = first_fit_decreasing(lengths, 60)
    sums = torch.zeros(200).index_add(0, torch.tensor(rows), torch.tensor(lengths).float())
    assert sums.max() <= 60 and len(set(rows)) == max(rows) + 1
    assert len(set(rows)) <= -(-sum(lengths) // 60) * 11 / 9 + 1


def test_what_is_longer_than_a_row_has_one_to_itself():
    rows = first_fit_decreasing([9, 2, 2, 7], 4)
    assert rows == [0, 2, 2, 1]


def test_a_batch_says_which_row_each_sample_goes_into():
    batch = PackingCollate({"text": TEXT})(examples(6, 2, 3, 1))
    assert batch["rows"].tolist() == [0, 1, 1, 1] and batch["input_ids"].shape == (4, 6)
    wider = PackingCollate({"text": TEXT}, max_row_tokens=12)(examples(6, 2, 3, 1))
    assert wider["rows"].tolist() == [0, 0, 0, 0]


def test_a_batch_without_two_samples_for_a_row_is_as_it_was():
    assert "rows" not in PackingCollate({"text": TEXT})(examples(6, 6, 4))


def test_a_tokenizer_that_does_not_count_is_named():
    example = {"pixel_values": torch.zeros(3, 8, 8, dtype=torch.uint8)}
    with pytest.raises(ValueError, match="how many tokens image becomes is not known"):
        PackingCollate({"image": ImagePreprocess((8, 8))})([example])


def test_parts_are_counted_by_the_tokenizer_that_reads_them():
    image = ImagePreprocess((8, 8), tokens=4)
    pixels = {"pixel_values": torch.zeros(3, 8, 8, dtype=torch.uint8)}
    three = {"parts": [(1, pixels), (0, examples(5)[0]), (1, pixels)]}
    one = {"parts": [(0, examples(2)[0])]}
    assert PackingCollate({"text": TEXT, "image": image}, 15)([three, one])["rows"].tolist() == [0, 0]
