"""How a text is written: greedily, at random, or by beam search."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unimodal.tasks.beam import beam_search
from unimodal.tasks.generation import Sampler, write
from unimodal.tasks.reader import Reader


@dataclass(frozen=True)
class Decoding:
    """Greedy unless told otherwise.

    With a temperature the draws of a batch come from one seed, so what is written of a sample depends on the
    batch that it is in; without one it does not.

    Attributes:
        max_new_tokens: where a text is cut that does not end before.
        num_beams: texts that beam search writes side by side; 1 = no beam search.
        length_penalty: of beam search: a text's log-probability is divided by its length to this power.
        temperature: of sampling, 0 = none.
        top_k: sample from the k likeliest tokens only, or None.
        top_p: sample from the likeliest that reach this probability together, or None.
        seed: of sampling.
    """

    max_new_tokens: int = 64
    num_beams: int = 1
    length_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for knob in ("max_new_tokens", "num_beams"):
            if getattr(self, knob) < 1:
                raise ValueError(f"decoding.{knob}={getattr(self, knob)} must be at least 1.")
        if self.num_beams > 1 and self.temperature > 0:
            raise ValueError(
                f"decoding.num_beams={self.num_beams} searches, decoding.temperature={self.temperature} "
                "samples; set num_beams=1 or temperature=0."
            )
        self._sampler()

    @torch.no_grad()
    def __call__(self, reader: Reader, eos_id: int) -> Tensor:
        """Token ids int [B, L] from where the reader stands; behind the end of a row stands `eos_id`."""
        if self.num_beams > 1:
            return beam_search(reader, self.num_beams, self.max_new_tokens, eos_id, self.length_penalty)
        steps = reader.logits, reader.read, self.max_new_tokens, eos_id
        return write(*steps, self._sampler(), reader.over)

    def _sampler(self) -> Sampler:
        return Sampler(self.temperature, self.top_k, self.top_p, self.seed)
