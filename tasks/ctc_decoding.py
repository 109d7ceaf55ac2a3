"""From what CTC says of each frame to labels: along the best path, or by prefix beam search."""

import heapq
import math
from collections import defaultdict

from torch import Tensor

NEVER = -math.inf


def best_path(log_probs: Tensor, blank: int) -> list[int]:
    """The labels of the likeliest alignment: repeats merged, then blanks dropped.

    Args:
        log_probs: [T, C], of one sample.
        blank: the label of no label.
    """
    best = log_probs.argmax(-1).unique_consecutive()
    return best[best != blank].tolist()


def beam_search(log_probs: Tensor, blank: int, beam_size: int) -> list[int]:
    """The likeliest labels, all their alignments taken together (Hannun et al. 2014, arXiv 1408.2873).

    A prefix carries two log-probabilities, of alignments that end in a blank and in its last label: only
    after a blank can the same label come again. Exact where the beam holds all prefixes.

    Args:
        log_probs: [T, C], of one sample.
        blank: the label of no label.
        beam_size: prefixes kept after each frame.
    """
    beam: dict[tuple[int, ...], list[float]] = {(): [0.0, NEVER]}
    num_likely = min(
        log_probs.shape[1], beam_size + 2
    )  # no other could enter, even were the two best useless
    likely = log_probs.topk(num_likely).indices.tolist()
    for frame, labels in zip(log_probs.tolist(), likely, strict=True):
        grown: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [NEVER, NEVER])
        labels = {*labels, *(prefix[-1] for prefix in beam if prefix)} - {blank}
        for prefix, (blank_last, label_last) in beam.items():
            both, last = _add(blank_last, label_last), prefix[-1] if prefix else blank
            same = grown[prefix]
            same[0] = both + frame[blank]
            same[1] = _add(same[1], label_last + frame[last])
            for label in labels:
                longer = grown[(*prefix, label)]
                longer[1] = _add(longer[1], (blank_last if label == last else both) + frame[label])
        beam = dict(heapq.nlargest(beam_size, grown.items(), key=lambda item: _add(*item[1])))
    return list(next(iter(beam)))


def _add(a: float, b: float) -> float:
    """log(exp a + exp b)."""
    high, low = (a, b) if a > b else (b, a)
    return high + math.log1p(math.exp(low - high)) if low > NEVER else high
