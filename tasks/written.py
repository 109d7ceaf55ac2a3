"""Figures of texts that a model wrote, against those that it should have written."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.text import CharErrorRate, SacreBLEUScore, WordErrorRate


class WrittenText(nn.Module):
    """The four figures of captions and transcripts.

    `exact_match` is the share of texts that are right to the letter; `wer` and `cer` are insertions,
    deletions and substitutions by the references' words and characters; for `bleu` see `BLEU`.
    """

    metric_modes: Mapping[str, str] = {"exact_match": "max", "bleu": "max", "wer": "min", "cer": "min"}

    def __init__(self) -> None:
        super().__init__()
        self.exact_match, self.bleu = MeanMetric(), BLEU()
        self.wer, self.cer = WordErrorRate(), CharErrorRate()

    def update(self, written: Sequence[str], references: Sequence[str]) -> None:
        """Count some texts."""
        if not written:
            return
        same = [float(text == wanted) for text, wanted in zip(written, references, strict=True)]
        self.exact_match.update(torch.tensor(same))
        self.wer.update(list(written), list(references))
        self.cer.update(list(written), list(references))
        self.bleu.update(list(written), [[wanted] for wanted in references])

    def compute(self) -> dict[str, Tensor]:
        """All four, by name; resets them."""
        metrics = {"exact_match": self.exact_match, "wer": self.wer, "cer": self.cer, "bleu": self.bleu}
        figures = {name: metric.compute() for name, metric in metrics.items()}
        for metric in metrics.values():
            metric.reset()
        return figures


class BLEU(SacreBLEUScore):
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
