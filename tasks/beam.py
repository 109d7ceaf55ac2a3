"""Beam search: several texts are written side by side, the best is kept."""

import torch
from torch import Tensor

from unimodal.tasks.reader import Reader

NEVER = -torch.inf


@torch.no_grad()
def beam_search(
    reader: Reader, num_beams: int, max_new_tokens: int, eos_id: int, length_penalty: float = 1.0
) -> Tensor:
    """The best text of each row, int [B, L]; behind its end stands `eos_id`.

    A text's score is its log-probability / length ** `length_penalty` (Wu et al. 2016, arXiv 1609.08144, by
    the length itself), its end counted: 0 favours short texts, 1 is the mean a token, more favours long ones.
    A text that ends leaves its beam to others; one that reaches `max_new_tokens` counts as it is. The search
    goes on until no beam can do better, so the answer is exact where the beams hold every text.

    Args:
        reader: stands before the first token.
        num_beams: texts a row.
        max_new_tokens: at least 1.
        eos_id: ends a text.
        length_penalty: see above.
    """
    batch, vocab_size = reader.logits.shape
    device = reader.logits.device
    lengths = torch.arange(1, max_new_tokens + 1, device=device) ** float(length_penalty)
    reader.select(torch.arange(batch, device=device).repeat_interleave(num_beams))
    scores = torch.full((batch, num_beams), NEVER, device=device)
    scores[:, 0] = 0.0  # all beams begin alike
    written = torch.full((batch, num_beams, max_new_tokens), eos_id, device=device)
    best, best_score = written[:, 0], torch.full((batch,), NEVER, device=device)
    for place in range(max_new_tokens):
        log_probs = reader.logits.log_softmax(-1).view(batch, num_beams, vocab_size)
        totals = scores[..., None] + log_probs  # [B, K, V]
        ending, beam = (totals[..., eos_id] / lengths[place]).max(1)
        best, best_score = _better(best, best_score, _rows(written, beam[:, None])[:, 0], ending)
        totals[..., eos_id] = NEVER
        scores, chosen = totals.flatten(1).topk(num_beams)  # [B, K]
        beams, ids = chosen // vocab_size, chosen % vocab_size
        written = _rows(written, beams)
        written[..., place] = ids
        if place + 1 == max_new_tokens:
            return _better(best, best_score, written[:, 0], scores[:, 0] / lengths[place])[0]
        hope = (scores[:, :1] / lengths[place + 1 :]).amax(1)  # were all that follows certain
        if reader.over(best_score >= hope):
            break
        reader.select((beams + torch.arange(batch, device=device)[:, None] * num_beams).flatten())
        reader.read(ids.flatten())
    return best


def _rows(written: Tensor, beams: Tensor) -> Tensor:
    """Of [B, K, L] those of `beams` int [B, J]."""
    return written.gather(1, beams[..., None].expand(-1, -1, written.shape[2]))


def _better(best: Tensor, score: Tensor, other: Tensor, other_score: Tensor) -> tuple[Tensor, Tensor]:
    better = other_score > score
    return torch.where(better[:, None], other, best), torch.where(better, other_score, score)
