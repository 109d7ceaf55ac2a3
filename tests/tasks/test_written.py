import math

import pytest
import torch

from unimodal.tasks.written import BLEU, WrittenText

REFERENCE = "the cat is on the mat today"


def bleu(*pairs):
    metric = BLEU()
    for written, wanted in pairs:
        metric.update([written], [[wanted]])
    return float(metric.compute())


def test_figures_by_hand():
    figures = WrittenText()
    figures.update(["a cat sat", "one"], ["a cat sits", "one"])
    figures.update(["two"], ["two three"])
    computed = {name: float(value) for name, value in figures.compute().items()}
    assert computed["exact_match"] == pytest.approx(1 / 3)
    assert computed["wer"] == pytest.approx(2 / 6)  # one other word, one missing
    assert computed["cer"] == pytest.approx((2 + 6) / (10 + 3 + 9))
    assert computed["bleu"] == 0  # no three words in a row are right


def test_computing_starts_anew():
    figures = WrittenText()
    for _ in range(2):
        figures.update(["one"], ["one"])
        assert {name: float(v) for name, v in figures.compute().items()} == {
            "exact_match": 1.0,
            "wer": 0.0,
            "cer": 0.0,
            "bleu": 1.0,
        }


def test_nothing_written_counts_nothing():
    figures = WrittenText()
    figures.update([], [])
    figures.update(["one"], ["two"])
    assert figures.compute()["exact_match"] == 0


def test_bleu_is_that_of_sacrebleu_where_there_are_four_words():
    from torchmetrics.text import SacreBLEUScore

    pairs = [("the cat is on a mat today", REFERENCE), ("a dog ran off.", "a dog ran off!")]
    stock = SacreBLEUScore()
    for written, wanted in pairs:
        stock.update([written], [[wanted]])
    assert bleu(*pairs) == pytest.approx(float(stock.compute()), rel=1e-6)


def test_bleu_of_single_words_counts_words():
    assert bleu(("one", "one"), ("two", "three")) == pytest.approx(0.5)
    assert bleu(("one", "one two")) == pytest.approx(math.exp(-1))


@pytest.mark.parametrize("written", ["", "nothing of it"])
def test_bleu_of_what_is_wrong_is_zero(written):
    assert bleu((written, REFERENCE)) == 0


def test_order_and_batches_do_not_matter():
    pairs = [("a b c d e", "a b c d f"), ("x", "x"), ("", "y")]
    together = BLEU()
    together.update([w for w, _ in pairs], [[r] for _, r in pairs])
    assert torch.isclose(together.compute(), torch.tensor(bleu(*reversed(pairs))))
