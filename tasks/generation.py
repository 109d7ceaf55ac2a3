"""Writing text token by token, with the key-value cache."""

from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.backbone.cache import KVCache
from unimodal.model import Unimodal


@torch.no_grad()
def generate(
    model: Unimodal,
    head: Callable[[Tensor], Tensor],
    prompt: Tensor,
    max_new_tokens: int,
    eos_id: int,
    choose: Callable[[Tensor], Tensor],
) -> Tensor:
    """Continue `prompt` int [B, P]; returns int [B, P + new].

    Stops when every row has ended; an ended row goes on with `eos_id`. `choose` takes logits [B, V] to ids
    [B]: `greedy`, or a `Sampler`.
    """
    if not max_new_tokens:
        return prompt
    num_registers = 0 if model.backbone.registers is None else len(model.backbone.registers)
    cache, start = KVCache(prompt.shape[1] + max_new_tokens + num_registers), 0

    def read(new: Tensor) -> Tensor:
        nonlocal start
        places = torch.arange(start, start + new.shape[1], device=new.device)[None]
        start += new.shape[1]
        tokens = model({"input_ids": new, "position_ids": places}, causal=True, cache=cache)
        return head(tokens.embeds[:, -1]).float()

    written = write(read(prompt), lambda ids: read(ids[:, None]), max_new_tokens, eos_id, choose)
    return torch.cat((prompt, written), 1)


def everyone(flags: Tensor) -> bool:
    """Whether all flags are set."""
    return bool(flags.all())


def write(
    logits: Tensor,
    read: Callable[[Tensor], Tensor],
    max_new_tokens: int,
    eos_id: int,
    choose: Callable[[Tensor], Tensor],
    over: Callable[[Tensor], bool] = everyone,
) -> Tensor:
    """One token after another, int [B, new]; an ended row goes on with `eos_id` until all have ended.

    Args:
        logits: of the first token, [B, V].
        read: from the tokens [B] that were chosen to the logits of the next.
        max_new_tokens: at least 1.
        eos_id: ends a row.
        choose: from logits to tokens.
        over: from which rows have ended, bool [B], to whether to stop.
    """
    written = [choose(logits)]
    ended = written[0] == eos_id
    while len(written) < max_new_tokens and not over(ended):
        written.append(torch.where(ended, eos_id, choose(read(written[-1]))))
        ended = ended | (written[-1] == eos_id)
    return torch.stack(written, 1)


def greedy(logits: Tensor) -> Tensor:
    """The likeliest token, [B, V] -> [B]."""
    return logits.argmax(-1)


class Sampler:
    """Draws tokens at random.

    Args:
        temperature: divides the logits; 0 is greedy.
        top_k: only the k likeliest tokens (Fan et al. 2018, arXiv 1805.04833), or None.
        top_p: only the likeliest tokens that together reach this probability (Holtzman et al. 2019,
            arXiv 1904.09751), or None.
        seed: of a generator of its own; the global one stays as it was.
    """

    def __init__(
        self, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, seed: int = 0
    ):
        if temperature < 0:
            raise ValueError(f"temperature={temperature} must be 0 (greedy) or more.")
        if top_p is not None and not 0 < top_p <= 1:
            raise ValueError(f"top_p={top_p} must lie in (0, 1].")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be 1 or more.")
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """[B, V] -> [B]."""
        if self.temperature == 0:
            return greedy(logits)
        probabilities = self.probabilities(logits).cpu()  # drawn on the CPU: the same on every device
        return torch.multinomial(probabilities, 1, generator=self.generator)[:, 0].to(logits.device)

    def probabilities(self, logits: Tensor) -> Tensor:
        """What is drawn from, [B, V] -> [B, V]; sums to 1."""
        logits = logits / self.temperature
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            best = logits.topk(self.top_k)  # exactly k, also where logits tie, as rounded ones often do
            logits = torch.full_like(logits, -torch.inf).scatter(-1, best.indices, best.values)
        if self.top_p is not None:
            ordered, order = logits.softmax(-1).sort(-1, descending=True)
            beyond = ordered.cumsum(-1) - ordered >= self.top_p  # the mass before it suffices already
            logits = logits.masked_fill(beyond.scatter(-1, order, beyond), -torch.inf)
        return logits.softmax(-1)
