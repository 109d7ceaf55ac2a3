import pytest
import torch

from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import bpe_vocabulary, byte_vocabulary
from unimodal.tasks.base import check_own_place
from unimodal.tokenizers.text import TextTokenizer
from unimodal.tokenizers.text_conv import TextConvTokenizer


class Texts(Source):
    def split(self, name):
        return [{"text": text} for text in ("What IS this?", "what is THAT?", "It Is that.")]


def tokenizer(**settings):
    torch.manual_seed(0)
    return TextConvTokenizer(16, byte_vocabulary(None), **settings)


def batch(*texts):
    rows = [list(text.encode()) for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [7] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def test_a_token_sees_as_many_neighbours_as_the_kernel_has():
    one = tokenizer(kernel_size=3)
    before, after = (one(batch(text)).embeds for text in ("abcdefg", "abcxefg"))
    changed = (before != after).any(-1)[0].tolist()
    assert changed == [False, False, True, True, True, False, False]


def test_padding_and_the_rest_of_the_batch_change_nothing():
    one = tokenizer()
    alone, beside = one(batch("abc")), one(batch("abc", "a longer text"))
    torch.testing.assert_close(beside.embeds[:1, :3], alone.embeds)


def test_a_kernel_without_a_middle_is_refused():
    with pytest.raises(ValueError, match=r"tokenizer\.kernel_size=4"):
        tokenizer(kernel_size=4)


def test_packed_texts_are_refused():
    with pytest.raises(ValueError, match="segments"):
        tokenizer()({"input_ids": torch.tensor([[1, 2]]), "segments": torch.tensor([[0, 1]])})


def test_tasks_that_write_text_refuse_it_and_take_others():
    with pytest.raises(ValueError, match=r"language modeling .* TextConvTokenizer"):
        check_own_place(tokenizer(), "language modeling")
    check_own_place(TextTokenizer(16, byte_vocabulary(None)), "language modeling")


def test_a_vocabulary_in_lower_case_reads_all_cases_alike():
    one = TextTokenizer(16, bpe_vocabulary(Texts(), 300, lower_case=True)).preprocess
    assert one.encode("WHAT is").ids == one.encode("what IS").ids
    other = TextTokenizer(16, bpe_vocabulary(Texts(), 300)).preprocess
    assert other.encode("WHAT is").ids != other.encode("what IS").ids
