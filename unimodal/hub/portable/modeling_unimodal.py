"""The trained model as transformers' classes. Weights have the names that they have in the run."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from unimodal.backbone.cache import KVCache
from unimodal.backbone.transformer import Transformer, initialise
from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.generating import CacheGenerationMixin, TextOutput, one_cache
from unimodal.hub.portable.inputs import continued, make_batch
from unimodal.hub.portable.losses import data_units, language_loss, pooled_loss
from unimodal.hub.portable.nodes import make_model, make_pooling
from unimodal.hub.portable.past import PastKeyValues
from unimodal.hub.portable.recording import Attend, recording
from unimodal.tasks.pooling import AttentionPooling
from unimodal.tokenizers.base import Tokenizer
from unimodal.types import Batch, TokenSequence

HALF = (torch.bfloat16, torch.float16)


class UnimodalPreTrainedModel(PreTrainedModel):
    """What all heads share: tokenizers and backbone as `model`, and what transformers asks of every model.

    Attributes:
        write_code: from a folder and a config, writes the model's files beside weights that are saved; set
            where unimodal is installed. A model that came with its code takes it along anyway.
    """

    config: UnimodalConfig
    config_class = UnimodalConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # the loss is a mean: Trainer divides by its accumulation steps
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012  # as the base class declares it
    write_code: ClassVar[Callable[[Any, UnimodalConfig], None] | None] = None

    def __init__(self, config: UnimodalConfig):
        super().__init__(config)
        self.model = make_model(config)
        self.gradient_checkpointing = False
        self.attention = Attend(config)
        for block in self.model.backbone.blocks:
            block.attention.attend = self.attention
        # Filterbanks, windows, mean and std: in bf16 they would be other numbers.
        self._keep_in_fp32_modules_strict = {name for name, _ in self.named_buffers()}
        self.main_input_name = next(iter(self.model.tokenizers.values())).input_key

    def encode(
        self,
        batch: Batch,
        causal: bool,
        cache: KVCache | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> tuple[TokenSequence, dict[str, tuple[Tensor, ...] | None]]:
        """As `read`, of a batch."""
        return self.read(self.embed(batch), causal, cache, None, output_hidden_states, output_attentions)

    def embed(self, batch: Batch) -> TokenSequence:
        """The tokens that a batch becomes."""
        # Tokenizers compute some things in fp32, such as a spectrogram: autocast brings it to the weights.
        half = self.dtype in HALF
        with torch.autocast(self.device.type, self.dtype) if half else nullcontext():
            tokens = self.model.embed(batch)
        return tokens.with_embeds(tokens.embeds.to(self.dtype)) if half else tokens

    def read(
        self,
        tokens: TokenSequence,
        causal: bool,
        cache: KVCache | None,
        prefix: Tensor | None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> tuple[TokenSequence, dict[str, tuple[Tensor, ...] | None]]:
        """The encoded tokens, and `hidden_states` and `attentions` where they are wanted, else None.

        Attention maps [B, H, N, N] have the backbone's register tokens in front.
        """
        hidden = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        maps = self.config.output_attentions if output_attentions is None else output_attentions
        backbone: Transformer = self.model.backbone
        with recording(backbone, self.attention, bool(hidden), bool(maps)) as record:
            encoded = backbone(tokens, causal=causal, prefix=prefix, cache=cache)
        states = record.hidden_states(encoded.embeds) if hidden else None
        return encoded, {"hidden_states": states, "attentions": tuple(record.maps) if maps else None}

    def finish(self, output: Any, return_dict: bool | None) -> Any:
        """The output, or its values as a tuple where that is wanted."""
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    def get_input_embeddings(self) -> nn.Module:
        """Of text.

        Raises:
            NotImplementedError: if the model reads none; transformers expects this one.
        """
        if "text" not in self.model.tokenizers:
            raise NotImplementedError("this model reads no text.")
        return self.model.tokenizers["text"].embedding

    def set_input_embeddings(self, value: Any) -> None:
        """Take another table, as after new tokens."""
        text: Any = self.model.tokenizers["text"]
        text.embedding, text.vocab_size = value, value.num_embeddings

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As every model of transformers; the code goes with it."""
        super().save_pretrained(save_directory, *args, **kwargs)
        write = type(self).write_code
        if write is not None and not self.is_remote_code() and kwargs.get("is_main_process", True):
            write(save_directory, self.config)

    def _set_gradient_checkpointing(self, enable: bool = True, *options: Any, **named: Any) -> None:
        self.gradient_checkpointing = self.model.backbone.checkpointing = enable

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """What a checkpoint lacks. torch.nn.init leaves alone what was loaded: transformers sees to that."""
        if isinstance(module, Transformer):
            initialise(module)
        elif isinstance(module, Tokenizer | AttentionPooling):
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)
        else:
            super()._init_weights(module)


class UnimodalModel(UnimodalPreTrainedModel):
    """Tokens and one vector a sample, of any modalities together."""

    _keys_to_ignore_on_load_unexpected = [r"^(head|head_norm|projections|contrast)\."]  # noqa: RUF012

    def __init__(self, config: UnimodalConfig):
        super().__init__(config)
        self.pooling = make_pooling(config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        input_values: Tensor | None = None,
        input_values_mask: Tensor | None = None,
        parts: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple:
        """`last_hidden_state` [B, N, D] and, pooled as in the run, `pooler_output` [B, D].

        The keys of stock processors; which is which, `make_batch` says.
        """
        text, pixels = (input_ids, attention_mask, position_ids), (pixel_values, pixel_values_videos)
        batch = make_batch(*text, *pixels, input_values, input_values_mask, self.config.max_samples, parts)
        causal = self.config.task.get("causal", False)
        tokens, record = self.encode(batch, causal, None, output_hidden_states, output_attentions)
        output = BaseModelOutputWithPooling(tokens.embeds, self.pooling(tokens), **record)
        return self.finish(output, return_dict)


class UnimodalForClassification(UnimodalPreTrainedModel):
    """Classes of a whole sample, or numbers (`problem_type="regression"`), of any modality."""

    def __init__(self, config: UnimodalConfig):
        super().__init__(config)
        self.pooling, task = make_pooling(config), config.task
        dim = self.model.backbone.dim * getattr(self.pooling, "num_vectors", 1)
        eps = task.get("head_norm_eps", 1e-5)
        self.head_norm = nn.LayerNorm(dim, eps) if task.get("head_norm") else nn.Identity()
        self.head = nn.Linear(dim, len(config.id2label or ()), bias=task.get("head_bias", True))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        input_values: Tensor | None = None,
        input_values_mask: Tensor | None = None,
        parts: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple:
        """`logits` float32 [B, C]; of a regression the numbers as the data has them, [B, K].

        `labels` int [B], or float [B, C or K] for several classes or numbers; -100 does not count.
        """
        text, pixels = (input_ids, attention_mask, position_ids), (pixel_values, pixel_values_videos)
        batch = make_batch(*text, *pixels, input_values, input_values_mask, self.config.max_samples, parts)
        causal = self.config.task.get("causal", False)
        tokens, record = self.encode(batch, causal, None, output_hidden_states, output_attentions)
        logits = self.head(self.head_norm(self.pooling(tokens))).float()
        if self.config.problem_type == "regression":
            logits = data_units(self.config, logits)
        loss = None if labels is None else pooled_loss(self.config, logits, labels, self.training)
        return self.finish(SequenceClassifierOutput(loss, logits, **record), return_dict)


class UnimodalForImageClassification(UnimodalForClassification):
    """For `AutoModelForImageClassification`."""


class UnimodalForAudioClassification(UnimodalForClassification):
    """For `AutoModelForAudioClassification`."""


class UnimodalForVideoClassification(UnimodalForClassification):
    """For `AutoModelForVideoClassification`."""


class UnimodalForSequenceClassification(UnimodalForClassification):
    """For `AutoModelForSequenceClassification`."""


class UnimodalForCausalLM(UnimodalPreTrainedModel, CacheGenerationMixin):
    """Writes text; `generate` with a growing cache, padding on the left, beams."""

    _tied_weights_keys = {"head.weight": "model.tokenizers.text.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: UnimodalConfig):
        if "text" not in config.tokenizers:
            raise ValueError(f"this model reads {', '.join(config.tokenizers)} and cannot write text.")
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

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        labels: Tensor | None = None,
        cache: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TextOutput | tuple:
        """`logits` float32 [B, N, V], those at place i are of token i + 1; of the last `logits_to_keep` only.

        `cache`, which `past_key_values` is another name of, grows; `attention_mask` [B, seen + N] covers it
        too. `labels` int [B, N] are the `input_ids`, not shifted; -100 does not count.
        """
        cache = one_cache(past_key_values, cache)
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        past, num_registers = None, self.config.backbone.get("num_registers") or 0
        if attention_mask is not None and num_registers:
            _check_padding(self.model.backbone, attention_mask)
        if cache is not None:
            past = PastKeyValues(cache, attention_mask, num_registers)
        batch = continued(input_ids, attention_mask, position_ids, 0 if past is None else past.seen)
        tokens, record = self.encode(batch, True, past, output_hidden_states, output_attentions)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.head(tokens.embeds[:, keep]).float()
        loss = None if labels is None else language_loss(logits, labels)
        return self.finish(TextOutput(loss, logits, cache, **record), return_dict)


def _check_padding(backbone: Transformer, mask: Tensor) -> None:
    if "sliding" in backbone.layer_types and not mask[:, 0].all():
        raise ValueError(
            "padding on the left would push the register tokens out of the sliding blocks' window; "
            "write texts of different length one at a time."
        )
