from itertools import pairwise

import numpy as np
import pytest
import torch

from unimodal.data.sampling import Draw
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import bpe_vocabulary, byte_vocabulary, character_vocabulary
from unimodal.data.windows import TokenWindows
from unimodal.tokenizers.text import TextPreprocess

TEXTS = [
    "plain words, nothing else",
    "curly “quotes” and \u2018these\u2019 — with a dash…",
    "emoji \U0001f600 and a family \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "combining e\u0301 a\u0308 o\u0302\u0323, precomposed é ä",
    "",
    "\n\t 你好, мир \x00 <|endoftext|>",
]
VOCABULARIES = {
    "byte": byte_vocabulary,
    "bpe": lambda source: bpe_vocabulary(source, 300),
    "character": character_vocabulary,
}


class Texts(Source):
    """Trains on half of the texts, so that the others hold unseen characters."""

    def split(self, name):
        return [{"text": text} for text in TEXTS[::2]]


@pytest.fixture(params=VOCABULARIES)
def preprocess(request):
    return TextPreprocess(**VOCABULARIES[request.param](Texts()), max_len=8)


def windows_of(preprocess, texts=TEXTS, length=8, **options):
    return TokenWindows([{"text": text} for text in texts], preprocess, length, **options)


def one_pass(windows, epoch=0):
    return [windows[Draw(epoch, i)] for i in range(len(windows))]


def predicted(windows, key="labels", epoch=0):
    return torch.cat([window[key][1:] for window in one_pass(windows, epoch)]).tolist()


@pytest.mark.parametrize("length", [1, 2, 7, 8, 1000])
def test_each_token_is_predicted_exactly_once(preprocess, length):
    stream = [id for text in TEXTS for id in [*preprocess.encode(text).ids, preprocess.eos_id]]
    windows = windows_of(preprocess, length=length)
    assert predicted(windows) == stream
    assert one_pass(windows)[0]["input_ids"][0] == preprocess.eos_id
    assert all(2 <= len(window["input_ids"]) <= length + 1 for window in one_pass(windows))


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_byte_counts_sum_to_the_bytes_of_the_texts(preprocess, length):
    counts = predicted(windows_of(preprocess, length=length), "byte_counts")
    assert sum(counts) == sum(len(text.encode()) for text in TEXTS)
    assert min(counts) >= 0


@pytest.mark.parametrize("text", TEXTS)
def test_byte_counts_of_each_text_sum_to_its_bytes(preprocess, text):
    counts = predicted(windows_of(preprocess, [text, "x"]), "byte_counts")
    assert sum(counts) == len(text.encode()) + 1


def test_byte_counts_belong_to_their_characters():
    preprocess = TextPreprocess(**character_vocabulary(Texts()), max_len=8)
    text = "a“\U0001f600\u0301b"
    counts = predicted(windows_of(preprocess, [text]), "byte_counts")
    starts = [len(preprocess.encode(text[:i]).ids) for i in range(len(text) + 1)]
    sums = [sum(counts[a:b]) for a, b in pairwise(starts)]
    assert sums == [len(character.encode()) for character in text]


def test_the_end_of_text_stands_for_no_bytes(preprocess):
    windows = windows_of(preprocess)
    pairs = zip(predicted(windows), predicted(windows, "byte_counts"), strict=True)
    assert {count for id, count in pairs if id == preprocess.eos_id} == {0}


def test_neighbouring_windows_overlap_by_one_token(preprocess):
    windows = one_pass(windows_of(preprocess))
    for first, second in pairwise(windows):
        assert first["input_ids"][-1] == second["input_ids"][0]


def test_evaluation_does_not_depend_on_the_epoch(preprocess):
    windows = windows_of(preprocess)
    assert predicted(windows, epoch=0) == predicted(windows, epoch=5)


def test_the_cuts_move_each_epoch_and_only_with_epoch_and_seed(preprocess):
    windows, again = windows_of(preprocess, shift=True), windows_of(preprocess, shift=True)
    passes = [predicted(windows, epoch=epoch) for epoch in range(8)]
    assert passes == [predicted(again, epoch=epoch) for epoch in range(8)]
    assert len({tuple(p) for p in passes}) > 3
    assert passes != [predicted(windows_of(preprocess, shift=True, seed=1), epoch=e) for e in range(8)]


@pytest.mark.parametrize("length", [1, 3, 8, 50])
def test_shifted_windows_are_full_and_lie_within_the_stream(preprocess, length):
    windows, whole = windows_of(preprocess, length=length, shift=True), windows_of(preprocess)
    stream = [preprocess.eos_id, *predicted(whole)]
    for epoch in range(20):
        assert all(len(window["input_ids"]) == length + 1 for window in one_pass(windows, epoch))
        ids = predicted(windows, epoch=epoch)
        assert any(stream[i : i + len(ids)] == ids for i in range(1, len(stream) - len(ids) + 1))


def test_over_many_epochs_shifted_windows_reach_every_token():
    preprocess = TextPreprocess(**byte_vocabulary(None), max_len=8)
    windows = windows_of(preprocess, [bytes(range(32, 100)).decode()], shift=True)
    seen = {id for epoch in range(100) for id in predicted(windows, epoch=epoch)}
    assert len(seen) == 68 + 1


@pytest.mark.parametrize("sign", [" ", "\n", "x"])
def test_one_long_line_is_encoded_in_pieces_to_the_same_tokens(monkeypatch, sign):  # FAULTS 32
    text = ("word" + sign) * 500
    preprocess = TextPreprocess(**byte_vocabulary(None), max_len=8)
    whole = windows_of(preprocess, [text])
    monkeypatch.setattr("unimodal.data.windows.PIECE", 64)
    pieces = windows_of(preprocess, [text])
    assert predicted(pieces) == predicted(whole)
    assert pieces.byte_counts.sum() == len(text)


def test_a_long_text_is_never_in_memory_twice_over(monkeypatch):  # FAULTS 32
    seen = []

    class Encodes:
        eos_id = 0

        def encode(self, text):
            seen.append(len(text))
            return TextPreprocess(**byte_vocabulary(None), max_len=8).encode(text)

    windows = windows_of(Encodes(), ["a" * 3_000_000])
    assert max(seen) <= 1 << 20 and len(windows.ids) == 3_000_002
    assert isinstance(windows.ids, np.memmap)


def test_a_text_shorter_than_a_window_is_one_short_window(preprocess):  # FAULTS 33
    for shift in (False, True):
        windows = windows_of(preprocess, ["ab"], length=100, shift=shift)
        assert len(windows) == 1
        ids = preprocess.encode("ab").ids
        for epoch in range(3):
            assert windows[Draw(epoch, 0)]["input_ids"].tolist() == [
                preprocess.eos_id,
                *ids,
                preprocess.eos_id,
            ]


def test_an_uncounted_window_predicts_nothing(preprocess):
    window = windows_of(preprocess)[Draw(0, 1, counted=False)]
    assert (window["labels"] == -100).all()
    assert (window["input_ids"] >= 0).all()


@pytest.mark.parametrize("texts", [[], [""], ["", ""], [""] * 5])
def test_text_without_a_character_is_refused(preprocess, texts):
    with pytest.raises(ValueError, match="the text is empty"):
        windows_of(preprocess, texts)


def test_samples_without_text_are_named(preprocess):
    with pytest.raises(ValueError, match='no "text"; they have image, label'):
        TokenWindows([{"image": 0, "label": 1}], preprocess, 8)
