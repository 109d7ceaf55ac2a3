"""Speech to text without alignments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from unimodal.data.examples import Examples
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task
from unimodal.tasks.ctc_decoding import beam_search, best_path
from unimodal.tasks.ctc_loss import frames_needed, num_labels, text_nats
from unimodal.tasks.intervals import Intervals
from unimodal.tasks.sums import Sum, decided
from unimodal.tasks.transcript import Transcript
from unimodal.tasks.written import WrittenText
from unimodal.types import IGNORED, Batch, Sample, TokenSequence

NUM_SHOWN = 8


class CTC(Task):
    """Connectionist temporal classification (Graves et al. 2006, doi 10.1145/1143844.1143891).

    For each frame the head says which label of the vocabulary is heard, or none (the blank). The loss is
    -log p(text) in nats a label: the sum over the counted samples by the sum of their labels. The figures
    compare texts as the vocabulary writes them. The best checkpoint is that of the least loss: a small
    validation part knows few values of `wer`, and the first epoch that reaches 0 is seldom the best.

    Args:
        model: its one tokenizer gives a sequence in time, such as audio frames.
        vocabulary: `tokenizer`, the text of a `tokenizer.json`, and `eos_token`, the blank. In a yaml this is
            a function of the training data.
        frames_per_token: frames that the head makes of a token. A text needs one for each label, and one more
            for each label that follows its equal.
        skip_short: leave samples whose frames are too few out of the loss, instead of raising. Their errors
            count all the same, and `skipped` says how many there were in validation.
        beam_size: prefixes that the search for the likeliest text keeps; 1 follows the likeliest alignment.
    """

    metric_modes: Mapping[str, str] = {**WrittenText.metric_modes, "skipped": "min"}

    def __init__(
        self,
        model: Unimodal,
        vocabulary: Mapping[str, str],
        frames_per_token: int = 1,
        skip_short: bool = False,
        beam_size: int = 1,
    ):
        super().__init__(model)
        for knob, value in {"frames_per_token": frames_per_token, "beam_size": beam_size}.items():
            if value < 1:
                raise ValueError(f"task.{knob}={value} must be at least 1.")
        if len(model.tokenizers) != 1 or "text" in model.tokenizers:
            reads = " and ".join(model.tokenizers)
            raise ValueError(f"ctc writes down one sequence; this model reads {reads}. Take modality=audio.")
        self.transcript = Transcript(vocabulary["tokenizer"], vocabulary["eos_token"])
        self.frames_per_token, self.skip_short, self.beam_size = frames_per_token, skip_short, beam_size
        self.head = nn.Linear(model.backbone.dim, frames_per_token * self.transcript.num_labels)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.written, self.skipped = WrittenText(), Sum()

    @property
    def preprocess(self) -> dict[str, Any]:
        """The tokenizer's, and that of the text."""
        return super().preprocess | {"text": self.transcript}

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each sample with the labels of its text."""
        inputs = {field: one for field, one in preprocess.items() if field != "text"}
        return Examples(samples, inputs, augment, seed, WholeText(preprocess["text"], inputs.get("audio")))

    def forward(self, batch: Batch) -> Output:
        """`labels` int [B, L], an empty text is one blank; logits [B, T, C], T frames.

        Raises:
            ValueError: if tokens are not in time, or a text does not fit its frames.
        """
        tokens, labels, blank = self.encode(batch), batch["labels"], self.transcript.blank
        _check_in_time(tokens)
        logits, num_frames = self._frames(tokens)
        counted = (labels != IGNORED).any(1) & ~self._short(labels, num_frames)
        nats = text_nats(logits, num_frames, labels, blank).masked_fill(~counted, 0)
        count = (num_labels(labels, blank).clamp_min(1) * counted).sum()
        return Output(nats.sum() / count.clamp_min(1), count, logits, tokens)

    def outputs(self, batch: Batch) -> Tensor:
        """The logits of each frame, [B, T, C]."""
        return self._frames(self.encode(batch))[0]

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """`text`, and as `confidence` its probability, all alignments taken together."""
        logits, num_frames = self._frames(self.encode(batch))
        found, blank = self._decode(logits, num_frames), self.transcript.blank
        labels = pad_sequence([torch.tensor(ids or [blank]) for ids in found], True, IGNORED)
        sure = (-text_nats(logits, num_frames, labels.to(logits.device), blank)).exp().tolist()
        return [
            {"text": self.transcript.decode(ids), "confidence": round(p, 4)}
            for ids, p in zip(found, sure, strict=True)
        ]

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Compare texts; keeps the first batch to show."""
        labels, blank = batch["labels"], self.transcript.blank
        logits, num_frames = output.logits, self._num_frames(output.tokens)
        rows = (labels != IGNORED).any(1)
        wanted = [self.transcript.decode(row[row != IGNORED].tolist()) for row in labels[rows]]
        found = [self.transcript.decode(ids) for ids in self._decode(logits[rows], num_frames[rows])]
        broken = (decided(logits[rows]) == logits.shape[-1]).any(1).tolist()
        self.written.update([None if b else text for text, b in zip(found, broken, strict=True)], wanted)
        self.skipped.update((frames_needed(labels, blank) > num_frames).sum())
        pairs = zip(wanted[:NUM_SHOWN], found, strict=False)
        self.shown = self.shown or [f"{right} -> {guess}" for right, guess in pairs]

    def compute_metrics(self) -> dict[str, Tensor]:
        """Those of `WrittenText`, and `skipped` where samples may be."""
        figures = self.written.compute()
        if self.skip_short:
            figures["skipped"] = self.skipped.compute()
            self.skipped.reset()
        return figures

    def intervals(self) -> Intervals:
        """Of `exact_match`, `wer` and `cer`."""
        return self.written.intervals()

    def _frames(self, tokens: TokenSequence) -> tuple[Tensor, Tensor]:
        """Logits [B, T, C], and how many frames are real, int [B]."""
        [tokenizer] = self.model.tokenizers.values()
        own = tokens.embeds[:, tokenizer.num_prefix_tokens :]
        logits = self.head(own).float()
        return logits.unflatten(-1, (self.frames_per_token, -1)).flatten(1, 2), self._num_frames(tokens)

    def _num_frames(self, tokens: TokenSequence) -> Tensor:
        [tokenizer] = self.model.tokenizers.values()
        return tokens.mask[:, tokenizer.num_prefix_tokens :].sum(1) * self.frames_per_token

    def _short(self, labels: Tensor, num_frames: Tensor) -> Tensor:
        """Which texts do not fit their frames, bool [B]."""
        needed = frames_needed(labels, self.transcript.blank)
        short = needed > num_frames
        if not self.skip_short and bool(short.any()):  # the loss waits for these numbers too
            row = int(short.nonzero()[0])
            text = self.transcript.decode(labels[row][labels[row] != IGNORED].tolist())
            raise ValueError(
                f"{text!r} needs {needed[row]} frames, its input gives {num_frames[row]}; raise "
                f"task.frames_per_token={self.frames_per_token}, or leave such samples out of the loss with "
                "task.skip_short=true."
            )
        return short

    def _decode(self, logits: Tensor, num_frames: Tensor) -> list[list[int]]:
        """The labels of each sample, without blanks."""
        log_probs, blank = logits.detach().log_softmax(-1).cpu(), self.transcript.blank
        rows = [row[:num] for row, num in zip(log_probs, num_frames.tolist(), strict=True)]
        if self.beam_size == 1:
            return [best_path(row, blank) for row in rows]
        return [beam_search(row, blank, self.beam_size) for row in rows]


@dataclass(frozen=True)
class WholeText:
    """The labels of a sample's text, if all that it says can be heard.

    Attributes:
        transcript: writes the labels.
        audio: what is done to the sound, or None for other media.
    """

    transcript: Transcript
    audio: Any

    def __call__(self, sample: Sample) -> Tensor:
        """Labels int [L]; raises ValueError for a sound as long as the longest that is not cut."""
        audio = self.audio
        if audio and "audio" not in sample:
            raise ValueError(
                f'the samples have no "audio"; they have {", ".join(sample)}. Choose data of sounds with '
                "their text, such as data=table with columns for both."
            )
        if audio and len(sample["audio"].samples) >= round(audio.max_seconds * audio.sample_rate):
            raise ValueError(
                f"the sound of {sample['text']!r} reaches tokenizer.max_seconds={audio.max_seconds:g}, where "
                "it would be cut and its text would not; raise that."
            )
        return self.transcript(sample)


def _check_in_time(tokens: TokenSequence) -> None:
    """Raise where tokens do not follow one another, as patches of a picture or a spectrogram do not."""
    places = tokens.positions
    if bool((places != places[..., :1]).any()):
        raise ValueError(
            "ctc needs tokens that follow one another in time, not patches; take tokenizer=audio_frame."
        )
