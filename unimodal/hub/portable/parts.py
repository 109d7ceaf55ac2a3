"""What a config may name, by `_target_`. Nothing else is ever built: a config is data.

A folder that export writes has its own such file, with the classes of its model only.
"""

from collections.abc import Callable
from typing import Any

from torch.nn import HuberLoss, L1Loss, MSELoss, SmoothL1Loss

from unimodal.backbone.config import BlockConfig
from unimodal.backbone.transformer import Transformer
from unimodal.tasks.pooling import (
    AdaptivePooling,
    AttentionPooling,
    FirstPooling,
    LastPooling,
    MeanMaxPooling,
    MeanPooling,
)
from unimodal.tokenizers.audio import AudioFrameTokenizer, AudioPatchTokenizer
from unimodal.tokenizers.audio_spectrogram import AudioSpectrogramTokenizer
from unimodal.tokenizers.audio_whisper import AudioWhisperTokenizer
from unimodal.tokenizers.image import ImageConvTokenizer, ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.tokenizers.text_conv import TextConvTokenizer
from unimodal.tokenizers.video import VideoConvTokenizer, VideoTubeletTokenizer

PARTS: dict[str, Callable[..., Any]] = {
    "torch.nn.HuberLoss": HuberLoss,
    "torch.nn.L1Loss": L1Loss,
    "torch.nn.MSELoss": MSELoss,
    "torch.nn.SmoothL1Loss": SmoothL1Loss,
    "unimodal.backbone.config.BlockConfig": BlockConfig,
    "unimodal.backbone.transformer.Transformer": Transformer,
    "unimodal.tasks.pooling.AdaptivePooling": AdaptivePooling,
    "unimodal.tasks.pooling.AttentionPooling": AttentionPooling,
    "unimodal.tasks.pooling.FirstPooling": FirstPooling,
    "unimodal.tasks.pooling.LastPooling": LastPooling,
    "unimodal.tasks.pooling.MeanMaxPooling": MeanMaxPooling,
    "unimodal.tasks.pooling.MeanPooling": MeanPooling,
    "unimodal.tokenizers.audio.AudioFrameTokenizer": AudioFrameTokenizer,
    "unimodal.tokenizers.audio.AudioPatchTokenizer": AudioPatchTokenizer,
    "unimodal.tokenizers.audio_spectrogram.AudioSpectrogramTokenizer": AudioSpectrogramTokenizer,
    "unimodal.tokenizers.audio_whisper.AudioWhisperTokenizer": AudioWhisperTokenizer,
    "unimodal.tokenizers.image.ImageConvTokenizer": ImageConvTokenizer,
    "unimodal.tokenizers.image.ImagePatchTokenizer": ImagePatchTokenizer,
    "unimodal.tokenizers.text.TextTokenizer": TextTokenizer,
    "unimodal.tokenizers.text_conv.TextConvTokenizer": TextConvTokenizer,
    "unimodal.tokenizers.video.VideoConvTokenizer": VideoConvTokenizer,
    "unimodal.tokenizers.video.VideoTubeletTokenizer": VideoTubeletTokenizer,
}
