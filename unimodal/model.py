"""The whole model: embed each modality, concatenate, encode."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from unimodal.backbone.cache import KVCache
from unimodal.backbone.transformer import Transformer
from unimodal.interleaving import PARTS, interleave
from unimodal.tokenizers.base import Tokenizer
from unimodal.types import Batch, TokenSequence, concatenate


class Unimodal(nn.Module):
    """One backbone behind any number of tokenizers.

    Args:
        tokenizers: by the name of the sample's field that each reads, such as `image`; their order is the
            order in the sequence.
        backbone: the shared transformer.
    """

    def __init__(self, tokenizers: Mapping[str, Tokenizer], backbone: Transformer):
        super().__init__()
        for name, tokenizer in tokenizers.items():
            if tokenizer.dim != backbone.dim:
                raise ValueError(
                    f"the {name} tokenizer has dim={tokenizer.dim}, the backbone dim={backbone.dim}."
                )
        self.tokenizers, self.backbone = nn.ModuleDict(tokenizers), backbone

    def embed(self, batch: Batch) -> TokenSequence:
        """The tokens of all modalities that the batch holds, one after another, or as its `parts` say.

        Raises:
            ValueError: if the batch holds none that a tokenizer reads.
        """
        tokenizers: Iterable[Any] = self.tokenizers.values()
        present = [t(batch) for t in tokenizers if t.input_key in batch]
        if not present:
            wanted = ", ".join(t.input_key for t in tokenizers)
            raise ValueError(f"batch has none of {wanted}; it has {', '.join(batch)}.")
        return interleave(present, batch[PARTS]) if PARTS in batch else concatenate(present)

    def forward(
        self,
        batch: Batch,
        *,
        causal: bool = False,
        prefix: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> TokenSequence:
        """Encode a batch; `causal`, `prefix` and `cache` as in `Transformer.forward`.

        Where the batch has `rows` int [B], several samples are computed in one row; the result is the same.
        """
        rows = batch.get("rows")
        return self.backbone(self.embed(batch), causal=causal, prefix=prefix, cache=cache, rows=rows)
