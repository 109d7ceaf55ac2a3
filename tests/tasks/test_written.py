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


def test_a_character_that_the_vocabulary_does_not_have_is_never_right():
    figures = WrittenText()
    figures.update(["caf\ufffd", "one"], ["caf\ufffd", "one"])  # written and read as the same unknown
    computed = figures.compute()
    assert computed["exact_match"] == 0.5 and computed["wer"] == 0.5
    assert computed["cer"] == pytest.approx(1 / 7)


def test_what_could_not_be_written_is_wrong_even_where_nothing_was_to_be_written():
    figures = WrittenText()
    figures.update([None, None], ["", "one two"])
    computed = figures.compute()
    assert computed["exact_match"] == 0 and computed["wer"] == 1


def test_counts_stay_exact_in_a_model_of_bf16():
    figures = WrittenText().to(torch.bfloat16)
    for _ in range(300):
        figures.update(["one two"], ["one three"])
    computed = figures.compute()
    assert computed["wer"] == 0.5 and computed["cer"] == pytest.approx(4 / 9)
