"""Text whose tokens see their neighbours before the transformer: word groups count from the first step on."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import nn

from unimodal.tokenizers.text import SMALL, TextTokenizer
from unimodal.types import Batch, TokenSequence


class TextConvTokenizer(TextTokenizer):
    """An embedding of token ids and a convolution over neighbouring tokens (Kim 2014, arXiv 1408.5882).

    Each token becomes x + ReLU(convolution(x)). Embeddings start small, so a word that the training texts
    hardly have adds almost nothing until it is learned. Both help where there are only a few thousand texts.
    It is for tasks that read whole texts; a language model cannot use it, as a token sees the next ones.

    Args:
        dim: the shared width.
        vocabulary: as for `TextTokenizer`.
        max_len: tokens kept of one text.
        kernel_size: tokens that the convolution sees, an odd number.
        num_prefix_tokens: learned tokens before the text.
        learned_positions: add a learned vector for each place.
        vocab_size: rows of the embedding, by default as many as the vocabulary has ids.

    Raises:
        ValueError: if `kernel_size` is not an odd number of at least 1.
    """

    sees_neighbours = True

    def __init__(
        self,
        dim: int,
        vocabulary: Mapping[str, str] | None,
        max_len: int = 256,
        kernel_size: int = 5,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
        vocab_size: int | None = None,
    ):
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"tokenizer.kernel_size={kernel_size} is not an odd number of at least 1; set it to 3 or 5."
            )
        super().__init__(dim, vocabulary, max_len, num_prefix_tokens, learned_positions, vocab_size)
        self._initialise(SMALL)
        self.conv = nn.Conv1d(dim, dim, kernel_size, padding=kernel_size // 2)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """As `TextTokenizer.tokenize`; padding counts as zeros, as what lies outside of the text does.

        Raises:
            ValueError: if texts are packed (`segments`), whose ends would see each other.
        """
        tokens = super().tokenize(batch)
        if tokens.segments is not None:
            raise ValueError(
                "packed texts (segments) cannot go through a convolution; set tokenizer=text_bpe, or "
                "loader.pack=true, which packs behind the tokenizer."
            )
        x = tokens.embeds * tokens.mask[..., None]
        return tokens.with_embeds(x + F.relu(self.conv(x.transpose(1, 2)).transpose(1, 2)))
