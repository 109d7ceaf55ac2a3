"""The comparison of folders that write: each token that `generate` writes with its cache, against the run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unimodal.hub.card import Verified
from unimodal.training import build
from unimodal.training.export.asking import (
    PROCESSORS,
    CardLines,
    Loading,
    ask_clean_process,
    difference,
    worst_of,
)
from unimodal.training.export.examples import as_array, captioned, plain_text, tensors
from unimodal.types import Sample

MOST_WRITTEN, MOST_CONTINUED = 32, 4  # tokens of one text; texts of a language model
CHARACTERS_A_TOKEN = 1 / 4  # that a prompt of bytes has at least: so many fit


@dataclass(frozen=True)
class Prompts:
    """What `generate` continues greedily: each prompt alone, then all of them padded on the left.

    With the written text before it, the run must give the same logits for each token: then it would have
    written the same.

    Attributes:
        task: a language model or a captioner.
        samples: of each the `prompt`, and what the media of a captioner hold.
        max_new_tokens: where a text is cut.
        media: the preprocessing of a captioner's media, by modality; none of a language model.
    """

    task: Any
    samples: tuple[Sample, ...]
    max_new_tokens: int
    media: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_texts(cls, task: Any, texts: list[str]) -> "Prompts":
        """Beginnings of texts, each half as long as the one before."""
        max_len = task.model.tokenizers["text"].preprocess.max_len
        room = int(max_len // 2 * CHARACTERS_A_TOKEN)
        starts = [(text.strip() or "a")[: max(1, room >> i)] for i, text in enumerate(texts[:MOST_CONTINUED])]
        written = min(MOST_WRITTEN, max(1, max_len // 4))
        return cls(task, tuple({"prompt": start} for start in starts), written)

    def request(self) -> dict[str, Any]:
        """What a clean process has to know."""
        backbone = self.task.model.backbone
        return {
            "num_prompts": len(self.samples),
            "processor_classes": {name: PROCESSORS[name] for name in (*self.media, "text")},
            "max_len": self.task.model.tokenizers["text"].preprocess.max_len,
            "max_new_tokens": self.max_new_tokens,
            # padding would push the registers out of the window, so a portable model refuses it
            "padded": backbone.registers is None or "sliding" not in backbone.layer_types,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the samples that are compared."""
        return {
            f"{name}_{index}": np.array(value) if name == "prompt" else as_array(sample, name)
            for index, sample in enumerate(self.samples)
            for name, value in sample.items()
        }

    def differences(self, answers: Mapping[str, np.ndarray]) -> list[float]:
        """The largest difference between the logits of each text that was written and the run's."""
        found = []
        for index, sample in enumerate(self.samples):
            for kind in ("alone", "padded"):
                if f"{kind}_ids_{index}" in answers:
                    ids = torch.from_numpy(answers[f"{kind}_ids_{index}"])
                    there = torch.from_numpy(answers[f"{kind}_logits_{index}"])
                    found.append(difference(self._expected(sample, ids, len(there)), there))
        return found

    @torch.no_grad()
    def _expected(self, sample: Sample, ids: torch.Tensor, num: int) -> torch.Tensor:
        """The run's logits [num, V] of the tokens that were written behind the prompt; int [N] are both."""
        batch = {"input_ids": ids[None, :-1], **self._checked_prompt(sample, ids[: len(ids) - num])}
        for name, preprocess in self.media.items():
            batch |= tensors({name: sample[name]}, name, preprocess)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as the other side: sums in the same order
        try:
            return self.task.outputs(batch)[0, -num:].float()
        finally:
            torch.set_num_threads(threads)

    def _checked_prompt(self, sample: Sample, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """What a batch of the run has beside the ids of this prompt, which must be the run's own."""
        text = self.task.model.tokenizers["text"].preprocess
        if self.media:
            given = self.task.asked["prompt"]({"prompt": sample["prompt"]})
            known, more = (
                [given["input_ids"].tolist()],
                {"num_prompt_tokens": given["num_prompt_tokens"][None]},
            )
        else:  # where a text begins is the tokenizer's affair
            own = text.encode(sample["prompt"]).ids
            known, more = [own, [text.eos_id, *own]], {}
        if ids.tolist() not in known:
            raise ValueError("the exported tokenizer gives other ids than the run's; please report it.")
        return more


def verify_captions(
    folder: Path, loading: Loading, config: build.Config, task: Any, num: int, card: CardLines
) -> tuple[Verified, str, Mapping[str, np.ndarray]]:
    """Compare what `generate` writes about held-out samples in a clean process with the run.

    Args:
        folder: as it will be.
        loading: how it is loaded.
        config: of the run.
        task: the captioner.
        num: of samples.
        card: whose lines must run there.

    Returns:
        The largest difference, a note where samples are noise, and all answers of the clean process.

    Raises:
        ValueError: if the folder does not load, the card's lines fail, or the logits or the ids of a prompt
            differ.
    """
    media = {name: task.preprocess[name] for name in task.asks}
    samples, note = captioned(config, media, num)
    text = task.text.preprocess
    room = int(text.max_len // 2 * CHARACTERS_A_TOKEN)
    asked = tuple({**one, "prompt": plain_text(one["prompt"][:room], text)} for one in samples)
    written = min(task.decoding.max_new_tokens, MOST_WRITTEN, max(1, text.max_len // 2 - 1))
    prompts = Prompts(task, asked, written, media)
    rates = [getattr(one, "sample_rate", None) for one in task.preprocess.values()]
    rate = {"sample_rate": next(filter(None, rates), None)}
    request = loading.request(folder) | rate | prompts.request()
    answers = ask_clean_process(folder, request, prompts.arrays(), card)
    return Verified(worst_of(prompts.differences(answers)), len(samples)), note, answers
