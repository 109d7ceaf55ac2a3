"""Figures of texts that a model wrote, against those that it should have written."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.text import CharErrorRate, SacreBLEUScore, WordErrorRate

from unimodal.tasks.intervals import Floats, Intervals, SampleRows, ordered, ratio, sample_intervals
from unimodal.tasks.sums import Mean, OwnDtype

LOST, NEVER_RIGHT = "\ufffd", "\ufffe"  # the latter is no character, so no reference has it


class WrittenText(nn.Module):
    """The four figures of captions and transcripts.

    `exact_match` is the share of texts that are right to the letter; `wer` and `cer` are insertions,
    deletions and substitutions by the references' words and characters; for `bleu` see `BLEU`. U+FFFD, which
    stands for what a vocabulary cannot write, is never right.
    """

    metric_modes: Mapping[str, str] = {"exact_match": "max", "bleu": "max", "wer": "min", "cer": "min"}

    def __init__(self) -> None:
        super().__init__()
        self.exact_match, self.bleu, self.wer, self.cer = Mean(), BLEU(), WER(), CER()
        self.rows, self.last_rows = SampleRows(), torch.zeros(0, 5)  # the latter of the last validation

    def update(self, written: Sequence[str | None], references: Sequence[str]) -> None:
        """Count some texts; None stands for a text that a broken model could not write."""
        if not written:
            return
        texts = [(text or "").replace(LOST, NEVER_RIGHT) for text in written]
        same = [a is not None and b == c for a, b, c in zip(written, texts, references, strict=True)]
        self.exact_match.update(torch.tensor(same))
        words, characters = _counted(self.wer, texts, references), _counted(self.cer, texts, references)
        self.rows.update(torch.tensor(same), words, characters)
        self.bleu.update(texts, [[wanted] for wanted in references])

    def compute(self) -> dict[str, Tensor]:
        """All four, by name; resets them."""
        metrics = {"exact_match": self.exact_match, "wer": self.wer, "cer": self.cer, "bleu": self.bleu}
        figures = {name: metric.compute() for name, metric in metrics.items()}
        self.last_rows = self.rows.compute().cpu()
        for metric in (*metrics.values(), self.rows):
            metric.reset()
        return figures

    def intervals(self) -> Intervals:
        """The bootstrap intervals of `exact_match`, `wer` and `cer` in the last validation."""
        if not len(self.last_rows):
            return {}
        same, *counts = ordered(self.last_rows).T

        def metrics(weights: Floats) -> dict[str, Floats]:
            wrong, words, wrong_characters, characters = counts
            return {
                "exact_match": ratio(weights, same, np.ones(len(same))),
                "wer": ratio(weights, wrong, words),
                "cer": ratio(weights, wrong_characters, characters),
            }

        return sample_intervals(len(same), metrics)


def _counted(
    metric: WordErrorRate | CharErrorRate, texts: Sequence[str], references: Sequence[str]
) -> Tensor:
    """Update a metric text by text; returns the errors and the length of each, [B, 2]."""
    rows = []
    for text, reference in zip(texts, references, strict=True):
        before = torch.stack((metric.errors, metric.total))
        metric.update([text], [reference])
        rows.append(torch.stack((metric.errors, metric.total)) - before)
    return torch.stack(rows).cpu()


class WER(OwnDtype, WordErrorRate):
    """The errors in words by the references' words."""


class CER(OwnDtype, CharErrorRate):
    """The errors in characters by the references' characters."""


class BLEU(OwnDtype, SacreBLEUScore):
    """BLEU of the whole corpus (Papineni et al. 2002, doi 10.3115/1073083.1073135); 13a tokens.

    Runs of one to four words count; where no written text has so many, only those that there are: the figure
    would be 0 for words and short names, however right.
    """

    def compute(self) -> Tensor:
        """0 to 1."""
        order = int((self.denominator > 0).sum())
        if not order:
            return torch.zeros_like(self.preds_len)
        precision = (self.numerator / self.denominator)[:order].log().mean()
        shortness = (1 - self.target_len / self.preds_len).clamp_max(0)
        return (precision + shortness).exp()
