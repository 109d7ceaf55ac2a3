import pickle

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from unimodal.data.collate import collate
from unimodal.data.sources.reference_code import ReferenceCode
from unimodal.data.vocabulary import bpe_vocabulary, byte_vocabulary, character_vocabulary
from unimodal.tasks.word_labels import KeptText, WordLabels, first_tokens, texts_of
from unimodal.tokenizers.text import TextPreprocess
from unimodal.types import IGNORED

NAMES = ("O", "B-X", "I-X")


def labels_of(vocabulary, max_len=64, names=NAMES):
    made = vocabulary(ReferenceCode())
    return WordLabels(TextPreprocess(made["tokenizer"], made["eos_token"], max_len), names)


SAMPLE = {"text": "a big  cat", "spans": [(0, 1, "O"), (2, 5, "B-X"), (7, 10, "I-X")]}


def test_the_first_token_of_a_word_carries_its_label():
    labels = labels_of(byte_vocabulary)(SAMPLE)
    assert labels.tolist() == [0, IGNORED, 1, IGNORED, IGNORED, IGNORED, IGNORED, 2, IGNORED, IGNORED]


@pytest.mark.parametrize("vocabulary", [byte_vocabulary, character_vocabulary, bpe_vocabulary])
@pytest.mark.parametrize("max_len", [7, 400])
def test_there_is_one_label_for_each_token_of_the_inputs(vocabulary, max_len):
    labels = labels_of(vocabulary, max_len, ReferenceCode().region_names)
    for sample in ReferenceCode().split("val")[:20]:
        assert labels(sample).shape == labels.text(sample)["input_ids"].shape


@pytest.mark.parametrize("vocabulary", [byte_vocabulary, character_vocabulary, bpe_vocabulary])
def test_every_word_is_labelled_once_and_told_again(vocabulary):
    labels = labels_of(vocabulary, 4000, ReferenceCode().region_names)
    for sample in ReferenceCode().split("val")[:20]:
        target = labels(sample)
        told = labels.tell(sample["text"], [labels.class_names[max(index, 0)] for index in target.tolist()])
        assert told["tags"] == [tag for _, _, tag in sample["spans"]]
        assert told["words"] == sample["text"].split()


def test_words_that_are_cut_off_do_not_count():
    labels = labels_of(byte_vocabulary, max_len=4)(SAMPLE)
    assert labels.tolist() == [0, IGNORED, 1, IGNORED]


def test_an_empty_text_counts_nowhere():
    assert labels_of(byte_vocabulary)({"text": "", "spans": []}).tolist() == [IGNORED]


def test_words_of_several_bytes_a_letter_are_met_at_their_first():
    labels = labels_of(byte_vocabulary)({"text": "\u00e9\u00e9 b", "spans": [(0, 2, "B-X"), (3, 4, "O")]})
    assert labels.tolist() == [1, IGNORED, IGNORED, IGNORED, IGNORED, 0]


def test_special_tokens_and_empty_words_are_met_by_nothing():
    assert first_tokens([(0, 0), (0, 2), (2, 5), (0, 0)], [(0, 2), (2, 2), (3, 5), (6, 7)]) == [
        1,
        None,
        2,
        None,
    ]


def test_spans_are_told_with_their_text():
    labels = labels_of(byte_vocabulary)
    said = ["O", "O", "B-X", "O", "O", "O", "O", "I-X", "O", "O"]
    assert labels.tell(SAMPLE["text"], said)["spans"] == [{"label": "X", "text": "big  cat"}]
    assert labels.show(SAMPLE["text"], said) == "big  cat X"
    assert labels.show(SAMPLE["text"], ["O"] * 10) == "no span"


def test_plain_tags_are_shown_word_by_word():
    labels = labels_of(byte_vocabulary, names=("DET", "NOUN"))
    assert "spans" not in labels.tell(SAMPLE["text"], ["DET"] * 10)
    assert labels.show(SAMPLE["text"], ["DET"] * 10) == "a/DET big/DET cat/DET"


def test_it_goes_into_workers():
    labels = labels_of(byte_vocabulary)
    assert torch.equal(pickle.loads(pickle.dumps(labels))(SAMPLE), labels(SAMPLE))


def word_pieces():
    """As BERT's: lower case, punctuation by itself, and one token for all that is not known."""
    pieces = ["[UNK]", "[SEP]", "x", "-", "ray", "says", "cat", "##s"]
    made = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return KeptText(made.to_str(), "[SEP]", 64)


def test_words_are_told_as_they_were_written_whatever_the_vocabulary_forgets():
    text, said = word_pieces(), ["O", "B-X", "B-X", "B-X", "I-X", "O"]
    assert (
        text.decode(text({"text": "\u03b1\u03b2 X-ray Cats"})["input_ids"].tolist())
        != "\u03b1\u03b2 X-ray Cats"
    )
    labels = WordLabels(text, NAMES)
    told = labels.tell("\u03b1\u03b2 X-ray Cats", said)
    assert told["words"] == ["\u03b1\u03b2", "X-ray", "Cats"] and told["tags"] == ["O", "B-X", "I-X"]


def test_texts_come_through_a_batch():
    text = word_pieces()
    for texts in (["caf\u00e9  au lait", "", "A"], ["a", "b"]):
        assert texts_of(collate([text({"text": one}) for one in texts])) == texts
