"""Speech to text by connectionist temporal classification."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import CausalLMOutput

from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.inputs import make_batch
from unimodal.hub.portable.modeling_unimodal import UnimodalPreTrainedModel
from unimodal.types import TokenSequence

SURE = 100.0  # the logit of the blank where there is only padding


class UnimodalForCTC(UnimodalPreTrainedModel):
    """Says of each frame which label of the vocabulary is heard; `pad_token_id` is the blank."""

    def __init__(self, config: UnimodalConfig):
        super().__init__(config)
        self.frames_per_token = config.task["frames_per_token"]
        self.head = nn.Linear(self.model.backbone.dim, self.frames_per_token * config.task["num_labels"])
        self.post_init()

    def forward(
        self,
        input_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> CausalLMOutput | tuple:
        """`logits` float32 [B, T, C], T frames; those of padding say blank.

        `labels` int [B, L], -100 or the blank = padding; the loss is in nats a label.
        """
        pixels = {"pixel_values": pixel_values, "pixel_values_videos": pixel_values_videos}
        sound = {"input_values": input_values, "attention_mask": attention_mask}
        batch = make_batch(**pixels, **sound, max_samples=self.config.max_samples)
        tokens, record = self.encode(batch, False, None, output_hidden_states, output_attentions)
        logits, mask = self._frames(tokens)
        loss = None if labels is None else self._loss(logits, mask, labels)
        silence = torch.zeros_like(logits[:1, :1])
        silence[..., self.config.pad_token_id] = SURE
        logits = torch.where(mask[..., None], logits, silence)
        return self.finish(CausalLMOutput(loss, logits, **record), return_dict)

    def _frames(self, tokens: TokenSequence) -> tuple[Tensor, Tensor]:
        """Logits [B, T, C] and which frames are real, bool [B, T]."""
        [tokenizer] = self.model.tokenizers.values()
        first = tokenizer.num_prefix_tokens
        logits = self.head(tokens.embeds[:, first:]).float()
        logits = logits.unflatten(-1, (self.frames_per_token, -1)).flatten(1, 2)
        return logits, tokens.mask[:, first:].repeat_interleave(self.frames_per_token, 1)

    def _loss(self, logits: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        blank = self.config.pad_token_id
        real = (labels >= 0) & (labels != blank)
        log_probs = logits.log_softmax(-1).transpose(0, 1)
        lengths = mask.sum(1), real.sum(1)
        total = F.ctc_loss(log_probs, labels[real], *lengths, blank, reduction="sum", zero_infinity=True)
        return total / real.sum().clamp_min(1)
