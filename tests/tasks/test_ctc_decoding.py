import itertools
import math

import pytest
import torch

from unimodal.tasks.ctc_decoding import beam_search, best_path
from unimodal.tasks.ctc_loss import frames_needed, text_nats

BLANK = 2


def log_probs_of(seed, num_frames=5, num_labels=3):
    rng = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(num_frames, num_labels, generator=rng)).log_softmax(-1)


def collapsed(path):
    """What an alignment says: repeats merged, then blanks dropped."""
    merged = [label for label, _ in itertools.groupby(path)]
    return tuple(label for label in merged if label != BLANK)


def every_text(log_probs):
    """The probability of each text, summed over all its alignments."""
    num_frames, num_labels = log_probs.shape
    texts = {}
    for path in itertools.product(range(num_labels), repeat=num_frames):
        p = math.exp(sum(log_probs[t, label].item() for t, label in enumerate(path)))
        texts[collapsed(path)] = texts.get(collapsed(path), 0) + p
    return texts


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_beam_finds_the_likeliest_of_all_texts(seed):
    log_probs = log_probs_of(seed)
    texts = every_text(log_probs)
    assert tuple(beam_search(log_probs, BLANK, 1000)) == max(texts, key=texts.get)


def test_the_likeliest_text_need_not_lie_on_the_best_path():
    log_probs = torch.tensor([[0.4, 0.0, 0.6], [0.4, 0.0, 0.6]]).clamp_min(1e-9).log()
    assert best_path(log_probs, BLANK) == []  # 0.36; the text [0] has 0.16 + 0.24 + 0.24
    assert beam_search(log_probs, BLANK, 10) == [0]


@pytest.mark.parametrize("seed", range(10))
def test_the_best_path_is_the_likeliest_alignment(seed):
    log_probs = log_probs_of(seed)
    paths = itertools.product(range(3), repeat=5)
    likeliest = max(paths, key=lambda path: sum(log_probs[t, label].item() for t, label in enumerate(path)))
    assert tuple(best_path(log_probs, BLANK)) == collapsed(likeliest)


@pytest.mark.parametrize(
    ("path", "labels"), [("aa_a", [0, 0]), ("aab", [0, 1]), ("____", []), ("_ab_ba", [0, 1, 1, 0])]
)
def test_repeats_are_merged_and_blanks_dropped(path, labels):
    log_probs = torch.eye(3)[["ab_".index(letter) for letter in path]].clamp_min(1e-9).log()
    assert best_path(log_probs, BLANK) == beam_search(log_probs, BLANK, 4) == labels


@pytest.mark.parametrize("seed", range(5))
def test_leaving_out_unlikely_labels_changes_nothing(seed):
    log_probs, beam_size = log_probs_of(seed, num_frames=12, num_labels=30), 3
    assert beam_search(log_probs, BLANK, beam_size) == slow_beam_search(log_probs, beam_size)


def slow_beam_search(log_probs, beam_size):
    """The same, in plain probabilities and over all labels."""
    beam = {(): (1.0, 0.0)}
    for frame in log_probs.double().exp().tolist():
        grown = {}
        for prefix, (blank_last, label_last) in beam.items():
            total = blank_last + label_last
            for label, p in enumerate(frame):
                if label == BLANK:
                    _gain(grown, prefix, 0, total * p)
                elif prefix and label == prefix[-1]:
                    _gain(grown, prefix, 1, label_last * p)
                    _gain(grown, (*prefix, label), 1, blank_last * p)
                else:
                    _gain(grown, (*prefix, label), 1, total * p)
        beam = dict(sorted(grown.items(), key=lambda item: -sum(item[1]))[:beam_size])
    return list(next(iter(beam)))


def _gain(grown, prefix, which, p):
    both = list(grown.get(prefix, (0.0, 0.0)))
    both[which] += p
    grown[prefix] = tuple(both)


@pytest.mark.parametrize("seed", range(3))
def test_nats_are_those_of_all_alignments(seed):
    log_probs = log_probs_of(seed)
    for text, p in every_text(log_probs).items():
        labels = torch.tensor([[*text, *[-100] * (6 - len(text))]])
        nats = text_nats(log_probs[None], torch.tensor([5]), labels, BLANK)
        assert nats.item() == pytest.approx(-math.log(p), rel=1e-4)


def test_frames_needed_are_labels_and_repeats():
    labels = torch.tensor([[0, 0, 1, 1, -100], [0, 1, 0, 1, 0], [BLANK, -100, -100, -100, -100], [-100] * 5])
    assert frames_needed(labels, BLANK).tolist() == [6, 5, 0, 0]


def test_a_text_that_does_not_fit_has_neither_nats_nor_gradient():
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    nats = text_nats(logits, torch.tensor([2]), torch.tensor([[0, 0]]), BLANK)
    nats.sum().backward()
    assert nats.item() == 0
    assert not logits.grad.any()
