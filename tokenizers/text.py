"""Text through any Hugging Face fast tokenizer: bytes, characters, a BPE of the data, or a pretrained one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer  # Hugging Face's package, a part of transformers
from torch import Tensor, nn

from unimodal.tokenizers.base import Tokenizer, check_positive
from unimodal.tokenizers.pixels import grid
from unimodal.types import Batch, TokenSequence, full_mask

# Patches and frames enter the residual stream at about unit scale. A text that comes in at 0.02, as is usual,
# drowns there in what the blocks learn to add for the others: docs/joint-training.md has the figures.
UNIT, SMALL = 1.0, 0.02


@lru_cache(maxsize=16)
def fast_tokenizer(json: str, max_len: int | None = None) -> FastTokenizer:
    """The tokenizer of a `tokenizer.json`; strings like `<|endoftext|>` in user text stay plain text.

    `max_len` cuts texts, but not what its post-processor puts around them, as transformers does.
    """
    tokenizer = FastTokenizer.from_str(json)
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_len is not None and max_len > tokenizer.num_special_tokens_to_add(False):
        tokenizer.enable_truncation(max_len)
    return tokenizer


@lru_cache(maxsize=1)  # a text is asked about just before or after it is used
def _encoded(json: str, max_len: int, text: str) -> Encoding:
    return fast_tokenizer(json, max_len).encode(text)


@dataclass(frozen=True)
class TextPreprocess:
    """What a worker does to a string.

    Attributes:
        tokenizer: the text of a `tokenizer.json`.
        eos_token: stands between documents, and alone for an empty text.
        max_len: tokens kept of one text.
        num_prefix_tokens: that the tokenizer puts before it.
    """

    tokenizer: str
    eos_token: str
    max_len: int
    field: str = "text"
    num_prefix_tokens: int = 0

    @property
    def fast(self) -> FastTokenizer:
        """Built once a process."""
        return fast_tokenizer(self.tokenizer)

    @property
    def eos_id(self) -> int:
        """The id of `eos_token`."""
        return cast(int, self.fast.token_to_id(self.eos_token))  # TextTokenizer checks that there is one

    def encode(self, text: str) -> Encoding:
        """Ids and character offsets of the whole text, uncut."""
        return self.fast.encode(text)

    def decode(self, ids: list[int]) -> str:
        """Back to a string; special tokens are left out."""
        return self.fast.decode(ids, skip_special_tokens=True)

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`text` str -> `input_ids` int64 [N], N from 1 to max_len."""
        ids = _encoded(self.tokenizer, self.max_len, sample["text"]).ids[: self.max_len] or [self.eos_id]
        return {"input_ids": torch.tensor(ids)}

    def is_cut(self, sample: dict[str, Any]) -> bool:
        """Whether `text` has more tokens than `max_len`."""
        encoding = _encoded(self.tokenizer, self.max_len, sample["text"])
        num_tokens = len(encoding.ids)
        return num_tokens > self.max_len or (num_tokens == self.max_len and bool(encoding.overflowing))

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """How many tokens an example becomes, prefix included."""
        return self.num_prefix_tokens + len(example["input_ids"])


class TextTokenizer(Tokenizer):
    """An embedding of token ids. The p-th token stands at (p, p, p), which is the usual 1-D RoPE.

    Args:
        dim: the shared width.
        vocabulary: `tokenizer`, the text of a `tokenizer.json`, and `eos_token`. In a yaml this is a function
            of the training data; its result takes its place before the model is built. None: the model reads
            ids that something else has made, and there is no `preprocess`.
        max_len: tokens kept of one text; the context of a language model.
        num_prefix_tokens: learned tokens before the text.
        learned_positions: add a learned vector for each place.
        vocab_size: rows of the embedding, by default as many as the vocabulary has ids; stock models often
            have more.
    """

    input_key = "input_ids"

    def __init__(
        self,
        dim: int,
        vocabulary: Mapping[str, str] | None,
        max_len: int = 256,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
        vocab_size: int | None = None,
    ):
        check_positive(max_len=max_len)
        super().__init__(dim, num_prefix_tokens, max_len if learned_positions else 0)
        self.vocab_size = vocab_size or 0
        if vocabulary is not None:
            self.preprocess = TextPreprocess(
                vocabulary["tokenizer"],
                vocabulary["eos_token"],
                max_len,
                num_prefix_tokens=num_prefix_tokens,
            )
            self.vocab_size = _num_rows(self.preprocess, vocab_size)
        check_positive(vocab_size=self.vocab_size)
        self.embedding = nn.Embedding(self.vocab_size, dim)
        self._initialise(UNIT)

    def _initialise(self, std: float) -> None:
        nn.init.normal_(self.embedding.weight, std=std)
        if self.position_table is not None:
            nn.init.normal_(self.position_table, std=std)

    def tie(self) -> nn.Parameter:
        """The embedding, made small, for a head that shares it: logits are products with its rows."""
        self._initialise(SMALL)
        return cast(nn.Parameter, self.embedding.weight)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """`input_ids` [B, N]; optional `attention_mask` and `segments` [B, N], `position_ids` [B or 1, N].

        Raises:
            ValueError: for an id outside the vocabulary (checked on the CPU only, where it costs nothing).
        """
        ids = batch["input_ids"]
        asks = ids.device.type == "cpu" and not torch.compiler.is_compiling()
        if asks and ids.numel() and int(ids.max()) >= self.vocab_size:
            raise ValueError(
                f"input_ids has {int(ids.max())}; the vocabulary has vocab_size={self.vocab_size}."
            )
        embeds = self.embedding(ids)
        mask = batch["attention_mask"].bool() if "attention_mask" in batch else full_mask(embeds)
        places = batch.get("position_ids")
        positions = grid(ids.shape[1], device=ids.device) if places is None else places.float()[..., None]
        return TokenSequence(
            embeds, mask, positions.expand(-1, -1, 3), batch.get("segments"), padded="attention_mask" in batch
        )

    def position_index(self, tokens: TokenSequence) -> Tensor:
        """The place of each token in its text, [B or 1, N]."""
        return tokens.positions[..., 0].long()


def _num_rows(preprocess: TextPreprocess, vocab_size: int | None) -> int:
    """Of the embedding; raises where the vocabulary does not fit."""
    if preprocess.fast.token_to_id(preprocess.eos_token) is None:
        raise ValueError(
            f"the vocabulary has no token {preprocess.eos_token!r}; set tokenizer.vocabulary.eos_token."
        )
    least = 1 + max(preprocess.fast.get_vocab().values())  # ids may have holes
    if vocab_size is not None and vocab_size < least:
        raise ValueError(f"tokenizer.vocab_size={vocab_size} is less than the vocabulary's {least} ids.")
    return vocab_size or least
