"""A text about media, as a class that `generate` works on."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.generating import CacheGenerationMixin, TextOutput, one_cache
from unimodal.hub.portable.inputs import make_batch, places
from unimodal.hub.portable.losses import language_loss
from unimodal.hub.portable.modeling_unimodal import UnimodalPreTrainedModel
from unimodal.hub.portable.past import PastKeyValues
from unimodal.types import TokenSequence, concatenate


class UnimodalForCaptioning(UnimodalPreTrainedModel, CacheGenerationMixin):
    """Writes behind media and a prompt, which see each other and which the text sees.

        [media] [prompt] start text      the first start token (`eos_token_id`) of `input_ids` ends the prompt

    The folder's tokenizer puts the start behind a prompt; without `input_ids` `generate` begins with it.
    """

    _tied_weights_keys = {"head.weight": "model.tokenizers.text.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: UnimodalConfig):
        super().__init__(config)
        self.head = nn.Linear(self.model.backbone.dim, config.vocab_size, bias=False)
        self.main_input_name = "input_ids"
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Take another head, as after new tokens."""
        self.head = new_embeddings

    def generate(self, *args: Any, **options: Any) -> Any:
        """As in transformers. Without a prompt, a mask beside `input_values` is that of the sound."""
        prompted = bool(args) or any(options.get(key) is not None for key in ("inputs", "input_ids"))
        if not prompted and "input_values" in options and "attention_mask" in options:
            options["input_values_mask"] = options.pop("attention_mask")
        return super().generate(*args, **options)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        input_values: Tensor | None = None,
        input_values_mask: Tensor | None = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        cache: Any = None,
        logits_to_keep: int | Tensor = 0,
        **wanted: bool | None,
    ) -> TextOutput | tuple:
        """`logits` float32 [B, N, V], those at place i are of token i + 1; of the last `logits_to_keep` only.

        `attention_mask` [B, seen + N] is of the text. Media are read by the first call with a cache and then
        left aside. `labels` int [B, N] are the `input_ids`, not shifted; -100 does not count: prompts.
        `cache` and `past_key_values` are two names of one argument. `wanted` may hold `use_cache`,
        `return_dict`, and `output_attentions` and `output_hidden_states` as in `read`.
        """
        return_dict, use_cache = wanted.pop("return_dict", None), wanted.pop("use_cache", None)
        cache = one_cache(past_key_values, cache)
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        media = None
        if cache is None or not cache.get_seq_length():
            sound = {"input_values": input_values, "input_values_mask": input_values_mask}
            pixels = {"pixel_values": pixel_values, "pixel_values_videos": pixel_values_videos}
            media = self.embed(make_batch(**pixels, **sound, max_samples=self.config.max_samples))
        tokens, prefix, past = self._tokens(media, input_ids, attention_mask, cache)
        encoded, record = self.read(tokens, True, past, prefix, **wanted)
        own = encoded.embeds[:, -input_ids.shape[1] :]
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.head(own[:, keep]).float()
        loss = None if labels is None else language_loss(logits, labels)
        return self.finish(TextOutput(loss, logits, cache, **record), return_dict)

    def _tokens(
        self, media: TokenSequence | None, ids: Tensor, mask: Tensor | None, past: Any
    ) -> tuple[TokenSequence, Tensor | None, PastKeyValues | None]:
        """What is new, of it what all see, and the cache; where media stood is kept beside the cache."""
        num = ids.shape[1]
        here = media.mask if media else past.media[0]
        seen = 0 if media else past.get_seq_length() - here.shape[1]  # of the text
        mask = ids.new_ones(len(ids), seen + num) if mask is None else mask
        new = mask[:, -num:]
        text = self.embed(
            {"input_ids": ids, "position_ids": places(mask)[:, -num:]}
            | ({} if bool(new.all()) else {"attention_mask": new})
        )
        if media is None:
            prefix, text = None, replace(text, positions=text.positions + past.media[1])
        else:
            started = ((ids == self.config.eos_token_id) & new.bool()).cumsum(1) > 0
            prefix = torch.cat((torch.ones_like(here), ~started & new.bool()), 1)
            text = concatenate([media, text])
        if past is None:
            return text, prefix, None
        registers = self.config.backbone.get("num_registers") or 0
        cache = PastKeyValues(past, torch.cat((here.to(mask.dtype), mask), 1), registers, prefixed=True)
        if media:
            past.media = here, text.positions[:, -num, None]  # the text's first token stands at 0 in it
        return text, prefix, cache
