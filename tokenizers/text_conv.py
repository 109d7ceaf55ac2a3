"""Text whose tokens see their neighbours before the transformer: word groups count from the first step on."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import nn

from unimodal.tokenizers.base import check_positive
from unimodal.tokenizers.text import TextTokenizer
from unimodal.types import Batch, TokenSequence

STD = 0.1  # of the embedding at initialisation


class TextConvTokenizer(TextTokenizer):
    """An embedding of token ids and a convolution over neighbouring tokens (Kim 2014, arXiv 1408.5882).

    Each token becomes x + ReLU(convolution(x)). It is for tasks that read whole texts, where there are only a
    few thousand of them; a language model cannot use it, as a token sees the next ones.

    Adam moves a row of the embedding by as much for a word of one text that is classified well already as for
    a word that decides many texts, because it divides by the size of the gradients of the row. A large
    epsilon and a larger learning rate make the step proportional to the gradient instead.

    Args:
        dim: the shared width.
        vocabulary: as for `TextTokenizer`.
        max_len: tokens kept of one text.
        kernel_size: tokens that the convolution sees, an odd number.
        num_prefix_tokens: learned tokens before the text.
        learned_positions: add a learned vector for each place.
        vocab_size: rows of the embedding, by default as many as the vocabulary has ids.
        embedding_lr: factor of the learning rate of the embedding.
        embedding_eps: epsilon of AdamW for the embedding.

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
        embedding_lr: float = 15.0,
        embedding_eps: float = 1e-3,
    ):
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"tokenizer.kernel_size={kernel_size} is not an odd number of at least 1; set it to 3 or 5."
            )
        super().__init__(dim, vocabulary, max_len, num_prefix_tokens, learned_positions, vocab_size)
        check_positive(embedding_lr=embedding_lr, embedding_eps=embedding_eps)
        self._initialise(STD)
        options = {"factor": embedding_lr, "eps": embedding_eps}
        self.embedding.optimizer_options = options  # type: ignore[assignment]  # no parameter
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
