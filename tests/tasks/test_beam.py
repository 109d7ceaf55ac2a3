import itertools
from functools import cache

import pytest
import torch

from unimodal.tasks.beam import beam_search

EOS, VOCAB = 0, 4
PENALTIES = [0.0, 0.6, 1.0, 2.0, -0.5]


class Table:
    """A reader whose logits are a random function of the row and of what was written in it."""

    def __init__(self, batch, seed=0, eos_bias=0.0):
        self.texts = [(row,) for row in range(batch)]
        self.seed, self.eos_bias, self.calls = seed, eos_bias, 0
        self.logits = self._logits()

    def read(self, ids):
        self.texts = [(*text, int(one)) for text, one in zip(self.texts, ids, strict=True)]
        self.logits, self.calls = self._logits(), self.calls + 1
        return self.logits

    def select(self, rows):
        self.texts = [self.texts[row] for row in rows]
        self.logits = self.logits[rows]

    def over(self, ended):
        return bool(ended.all())

    def of(self, text):
        """The logits after (row, token, ...)."""
        return logits_after(self.seed, text, self.eos_bias)

    def _logits(self):
        return torch.stack([self.of(text) for text in self.texts])


@cache
def logits_after(seed, text, eos_bias):
    key = seed + sum((one + 1) * 1009**place for place, one in enumerate(text)) % 2**40
    logits = 2 * torch.randn(VOCAB, generator=torch.Generator().manual_seed(key))
    logits[EOS] += eos_bias
    return logits


def score(table, row, ids, penalty):
    nats = sum(table.of((row, *ids[:i])).log_softmax(-1)[one].item() for i, one in enumerate(ids))
    return nats / len(ids) ** penalty


def every_text(length):
    """All that end within `length` tokens, and those that are cut there."""
    for num in range(length):
        for start in itertools.product(range(1, VOCAB), repeat=num):
            yield (*start, EOS)
    yield from itertools.product(range(1, VOCAB), repeat=length)


def naive(table, row, num_beams, length, penalty):
    """Beam search of one row with lists."""
    beams, finished = [((), 0.0)], []
    for place in range(length):
        grown = []
        for ids, nats in beams:
            for one, more in enumerate(table.of((row, *ids)).log_softmax(-1).tolist()):
                if one == EOS:
                    finished.append(((*ids, EOS), (nats + more) / (place + 1) ** penalty))
                else:
                    grown.append(((*ids, one), nats + more))
        beams = sorted(grown, key=lambda item: -item[1])[:num_beams]
    finished += [(ids, nats / length**penalty) for ids, nats in beams]
    return max(finished, key=lambda item: item[1])[0]


def padded(ids, length):
    return [*ids, *[EOS] * (length - len(ids))]


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("eos_bias", [-2.0, 0.0, 2.0])
def test_beams_that_hold_every_text_find_the_best(penalty, eos_bias):
    for seed in range(2):
        table = Table(2, seed, eos_bias=eos_bias)
        found = beam_search(table, 3**3, 4, EOS, penalty)
        for row in range(2):
            best = max(every_text(4), key=lambda ids, row=row: score(table, row, ids, penalty))
            assert found[row].tolist() == padded(best, 4)


@pytest.mark.parametrize("num_beams", [1, 2, 3, 7])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_fewer_beams_find_what_a_search_row_by_row_finds(num_beams, penalty):
    table = Table(4)
    found = beam_search(table, num_beams, 6, EOS, penalty)
    wanted = [padded(naive(table, row, num_beams, 6, penalty), 6) for row in range(4)]
    assert found.tolist() == wanted


def test_the_search_ends_when_nothing_can_get_better():
    table = Table(2, eos_bias=30.0)
    assert beam_search(table, 3, 50, EOS).eq(EOS).all()
    assert table.calls == 0


def test_a_larger_penalty_prefers_longer_texts():
    lengths = []
    for penalty in (0.0, 1.0, 3.0):
        found = beam_search(Table(40), 8, 8, EOS, penalty)
        lengths.append((found != EOS).sum().item())
    assert lengths[0] < lengths[1] < lengths[2]


def test_more_beams_than_tokens_do_no_harm():
    assert beam_search(Table(2), 50, 1, EOS).shape == (2, 1)
