"""Two modalities in one space of vectors."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from unimodal.hub.portable.configuration_unimodal import UnimodalConfig
from unimodal.hub.portable.inputs import make_batch
from unimodal.hub.portable.modeling_unimodal import UnimodalPreTrainedModel
from unimodal.hub.portable.nodes import make_pooling
from unimodal.types import Batch


@dataclass
class UnimodalPairOutput(ModelOutput):
    """Of the two modalities that a model reads: unit vectors [B, P], and scaled similarities.

    `logits_per_image` [images, others], `logits_per_text` [texts, others], and so on.
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    logits_per_audio: Tensor | None = None
    logits_per_video: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    audio_embeds: Tensor | None = None
    video_embeds: Tensor | None = None


class Similarity(nn.Module):
    """The learned scale of the similarities, and SigLIP's bias."""

    def __init__(self, has_bias: bool):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1)) if has_bias else None

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Unit vectors [N, P] and [M, P] -> logits float32 [N, M]."""
        logits = self.log_scale.float().exp() * (a @ b.T)
        return logits if self.bias is None else logits + self.bias.float()


class UnimodalForContrastive(UnimodalPreTrainedModel):
    """Each modality alone through the backbone, pooled, projected, scaled to length 1."""

    def __init__(self, config: UnimodalConfig):
        super().__init__(config)
        dim, width = self.model.backbone.dim, config.task["projection_dim"]
        self.pooling = make_pooling(config)
        self.projections = nn.ModuleDict(
            {field: nn.Linear(dim, width, bias=False) for field in config.modalities}
        )
        self.contrast = Similarity(config.task["has_bias"])
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
        return_dict: bool | None = None,
    ) -> UnimodalPairOutput | tuple:
        """Everything of one modality against everything of the other; of one alone only its vectors."""
        text, pixels = (input_ids, attention_mask, position_ids), (pixel_values, pixel_values_videos)
        batch = make_batch(*text, *pixels, input_values, input_values_mask, self.config.max_samples)
        here = [f for f in self.config.modalities if self._key(f) in batch]
        vectors = {field: self._features(field, batch).pooler_output for field in here}
        found: dict[str, Any] = {f"{field}_embeds": vector for field, vector in vectors.items()}
        if len(vectors) == 2:
            (first, a), (second, b) = vectors.items()
            logits = self.contrast(a, b)
            found |= {f"logits_per_{first}": logits, f"logits_per_{second}": logits.T}
        return self.finish(UnimodalPairOutput(**found), return_dict)

    def get_image_features(self, pixel_values: Tensor) -> BaseModelOutputWithPooling:
        """`pooler_output`: unit vectors [B, P]; `last_hidden_state`: the tokens."""
        return self._features("image", make_batch(pixel_values=pixel_values))

    def get_text_features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> BaseModelOutputWithPooling:
        """As `get_image_features`."""
        return self._features("text", make_batch(input_ids, attention_mask))

    def get_audio_features(
        self, input_values: Tensor, attention_mask: Tensor | None = None
    ) -> BaseModelOutputWithPooling:
        """As `get_image_features`."""
        sound = {"input_values": input_values, "attention_mask": attention_mask}
        return self._features("audio", make_batch(**sound, max_samples=self.config.max_samples))

    def get_video_features(self, pixel_values_videos: Tensor) -> BaseModelOutputWithPooling:
        """As `get_image_features`."""
        return self._features("video", make_batch(pixel_values_videos=pixel_values_videos))

    def _key(self, field: str) -> str:
        tokenizer: Any = self.model.tokenizers[field]
        return tokenizer.input_key

    def _features(self, field: str, batch: Batch) -> BaseModelOutputWithPooling:
        if field not in self.projections:
            raise ValueError(f"this model reads {' and '.join(self.projections)}, no {field}.")
        others = {self._key(other) for other in self.projections if other != field}
        tokens, _ = self.encode({key: value for key, value in batch.items() if key not in others}, False)
        vectors = F.normalize(self.projections[field](self.pooling(tokens)).float(), dim=-1)
        return BaseModelOutputWithPooling(tokens.embeds, vectors)
