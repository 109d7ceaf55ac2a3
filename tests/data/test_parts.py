import pickle

import pytest
import torch

from unimodal.data.augment import ImageAugment
from unimodal.data.collate import collate
from unimodal.data.examples import Examples, label_of
from unimodal.data.parts import as_parts
from unimodal.data.per_modality import PerModality
from unimodal.data.prepared import PreparedSamples
from unimodal.data.sampling import Draw
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import bpe_vocabulary, byte_vocabulary, texts
from unimodal.tokenizers.image import ImagePreprocess
from unimodal.tokenizers.text import TextPreprocess

IMAGE = torch.arange(192, dtype=torch.uint8).view(3, 8, 8)
PREPROCESS = {
    "image": ImagePreprocess((8, 8)),
    "text": TextPreprocess(byte_vocabulary(None)["tokenizer"], "<|endoftext|>", 20),
}


def examples(*samples, augment=None, **options):
    prepared = PreparedSamples(list(samples), PREPROCESS, **options)
    return Examples(prepared, PREPROCESS, augment, target=label_of)


def in_parts(*parts):
    return {"parts": list(parts), "label": 3}


def test_each_part_has_the_number_of_its_tokenizer_and_its_tensors():
    sample = in_parts({"text": "ab"}, {"image": IMAGE}, {"text": "c"})
    example = examples(sample)[Draw(0, 0)]
    assert example.keys() == {"parts", "labels"} and example["labels"] == 3
    assert [(which, list(tensors)) for which, tensors in example["parts"]] == [
        (1, ["input_ids"]),
        (0, ["pixel_values"]),
        (1, ["input_ids"]),
    ]


def test_parts_are_fitted():
    sample = in_parts({"image": IMAGE.repeat(1, 2, 2)})
    [(_, tensors)] = examples(sample)[Draw(0, 0)]["parts"]
    assert tensors["pixel_values"].shape == (3, 8, 8)


def test_a_batch_of_parts_keeps_labels_by_sample():
    rows = examples(in_parts({"text": "ab"}, {"text": "abc"}), in_parts({"image": IMAGE}) | {"label": 5})
    batch = collate([rows[Draw(0, 0)], rows[Draw(0, 1)]])
    assert batch["labels"].tolist() == [3, 5]
    assert batch["parts"].tolist() == [[1, 1], [0, -1]]
    assert batch["attention_mask"].tolist() == [[True, True, False], [True, True, True]]
    assert batch["pixel_values"].shape == (1, 3, 8, 8)


def test_samples_in_parts_and_without_do_not_share_a_batch():
    rows = examples(in_parts({"text": "ab"}), {"text": "ab", "image": IMAGE, "label": 1})
    with pytest.raises(ValueError, match="examples of one batch differ"):
        collate([rows[Draw(0, 0)], rows[Draw(0, 1)]])


def test_a_part_that_nothing_reads_names_the_knob():
    with pytest.raises(ValueError, match=r'part "audio"; the model reads image, text.*beside\.audio'):
        examples(in_parts({"audio": None}))[Draw(0, 0)]


def test_a_sample_without_parts_is_refused():
    with pytest.raises(ValueError, match="a sample has none of image, text"):
        examples(in_parts())[Draw(0, 0)]


def test_a_missing_field_is_an_error_that_names_the_knob():
    with pytest.raises(ValueError, match=r'no "image"; they have text, label.*data\.allow_missing=true'):
        examples({"text": "ab", "label": 0}, takes_parts=True)[Draw(0, 0)]


def test_the_knob_is_not_named_where_the_task_reads_no_parts():
    with pytest.raises(ValueError, match=r'no "image"; they have text, label.*each sample needs all'):
        examples({"text": "ab", "label": 0})[Draw(0, 0)]


def test_with_allow_missing_a_sample_is_what_it_has_in_the_order_of_the_tokenizers():
    whole = {"text": "ab", "image": IMAGE, "label": 0}
    rows = examples(whole, {"text": "ab", "label": 1}, whole | {"text": None}, allow_missing=True)
    numbers = [[which for which, _ in rows[Draw(0, index)]["parts"]] for index in range(3)]
    assert numbers == [[0, 1], [1], [0]]
    assert as_parts(whole, PREPROCESS) == {"label": 0, "parts": [{"image": IMAGE}, {"text": "ab"}]}


def test_parts_of_one_modality_are_augmented_each_in_its_own_way():
    augment = PerModality(image=ImageAugment(rotate=30, brightness=0.5))
    sample = in_parts({"image": IMAGE}, {"text": "ab"}, {"image": IMAGE})
    rows = examples(sample, augment=augment)
    (_, first), (_, text), (_, second) = rows[Draw(0, 0)]["parts"]
    assert not torch.equal(first["pixel_values"], second["pixel_values"])
    assert text["input_ids"].tolist() == examples(sample)[Draw(0, 0)]["parts"][1][1]["input_ids"].tolist()
    again = pickle.loads(pickle.dumps(rows))[Draw(0, 0)]["parts"]
    assert torch.equal(again[2][1]["pixel_values"], second["pixel_values"])


def test_an_uncounted_sample_has_no_label():
    assert examples(in_parts({"text": "a"}))[Draw(0, 0, counted=False)]["labels"] == -100


class Sentences(Source):
    """Texts in parts, beside pictures that nobody decodes."""

    def split(self, name):
        return [
            in_parts({"text": "look"}, {"image": b"no picture"}, {"text": "there"}),
            in_parts({"text": "x"}),
        ]


def test_vocabularies_are_made_of_the_texts_among_the_parts():
    assert list(texts(Sentences())) == ["look", "there", "x"]
    assert bpe_vocabulary(Sentences(), 260)["tokenizer"]


def test_vocabularies_pass_over_samples_that_lack_text():
    class Some(Source):
        allow_missing = True

        def split(self, name):
            return [{"text": "a", "label": 0}, {"image": b"", "label": 0}, {"text": "b", "label": 1}]

    assert list(texts(Some())) == ["a", "b"]
