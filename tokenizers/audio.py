"""Audio as sequences: stacked log-mel frames, or patches of the spectrogram (AST)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokenizers.base import Tokenizer, check_positive, projection
from unimodal.tokenizers.mel import LogMel
from unimodal.tokenizers.pixels import grid
from unimodal.types import Batch, TokenSequence


@dataclass(frozen=True)
class AudioTokens:
    """How many tokens a clip becomes: `fixed`, and `bands` for every `stride` frames that a patch spans."""

    fixed: int
    bands: int = 0
    patch_size: int = 1
    stride: int = 1

    def __call__(self, num_frames: int) -> int:
        """Of a clip of so many frames."""
        return self.fixed + self.bands * _num_patches(num_frames, self.patch_size, self.stride)


@dataclass(frozen=True)
class AudioPreprocess:
    """What a worker does to a waveform that data has resampled to `sample_rate`: cut it to `max_seconds`.

    Attributes:
        sample_rate: in Hz.
        max_seconds: longer clips are cut.
        hop_length: from one frame to the next, in samples.
        n_mels: mel bands.
        tokens: how many a clip becomes, prefix included.
    """

    sample_rate: int
    max_seconds: float
    hop_length: int
    n_mels: int
    field: str = "audio"
    tokens: AudioTokens = dataclasses.field(default=AudioTokens(0), repr=False)  # not in the name of caches

    def __call__(self, sample: dict[str, Any]) -> dict[str, Tensor]:
        """`audio` Waveform -> `input_values` float32 [S]; a `spectrogram_mask` bool [T, n_mels] passes."""
        samples, rate = sample["audio"]
        if rate != self.sample_rate:
            raise ValueError(f"the sound has sample_rate={rate} Hz; {self.sample_rate} Hz was wanted.")
        inputs = {"input_values": samples[: round(self.max_seconds * rate)]}
        if "spectrogram_mask" in sample:
            inputs["spectrogram_mask"] = sample["spectrogram_mask"]
        return inputs

    def num_tokens(self, example: dict[str, Tensor]) -> int:
        """How many tokens an example becomes, prefix included."""
        return self.tokens(len(example["input_values"]) // self.hop_length + 1)


class AudioTokenizer(Tokenizer):
    """From waveform to normalised log-mel frames; a subclass cuts them into tokens.

    Args:
        dim: the shared width.
        sample_rate: in Hz; sound is resampled to it.
        n_mels: mel bands.
        window_length: of a frame, in samples.
        hop_length: from one frame to the next, in samples.
        max_seconds: longer clips are cut.
        mean: of log-mel values.
        std: likewise.
        num_prefix_tokens: learned tokens before the sequence.
        num_positions: size of the table of learned positions.
    """

    input_key = "input_values"

    def __init__(
        self,
        dim: int,
        sample_rate: int,
        n_mels: int,
        window_length: int,
        hop_length: int,
        max_seconds: float,
        mean: float,
        std: float,
        num_prefix_tokens: int,
        num_positions: int,
    ):
        super().__init__(dim, num_prefix_tokens, num_positions)
        check_positive(n_mels=n_mels, window_length=window_length, std=std)
        self.preprocess = AudioPreprocess(sample_rate, max_seconds, hop_length, n_mels)
        self.n_mels = n_mels
        self.log_mel = LogMel(sample_rate, n_mels, window_length, hop_length, mean, std)

    def spectrogram(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Frames [B, T, n_mels], zero where there is none, and which are real, bool [B, T].

        Zero is the mean: what padding holds, and what a `spectrogram_mask` hides, tells nothing.
        """
        samples, real = batch["input_values"], batch.get("input_values_mask")
        if real is not None:
            samples = samples * real
        mel = self.log_mel(samples)
        mask = mel.new_ones(mel.shape[:2], dtype=torch.bool)
        if real is not None:
            num_frames = self.log_mel.num_frames(real.sum(1))
            mask = torch.arange(mel.shape[1], device=mel.device) < num_frames[:, None]
            mel = mel * mask[..., None]
        if "spectrogram_mask" in batch:
            mel = mel * batch["spectrogram_mask"]
        return mel, mask


class AudioFrameTokenizer(AudioTokenizer):
    """Log-mel frames, `stack` of them side by side, each stack through one linear map: frames as tokens.

    The p-th stack stands at (p, p, p), as text does.

    Args:
        dim: the shared width.
        sample_rate: in Hz; sound is resampled to it.
        n_mels: mel bands.
        window_length: of a frame, in samples.
        hop_length: from one frame to the next, in samples.
        stack: frames a token.
        max_seconds: longer clips are cut.
        mean: of log-mel values.
        std: likewise.
        num_prefix_tokens: learned tokens before the sequence.
        learned_positions: add a learned vector for each place.
    """

    def __init__(
        self,
        dim: int,
        sample_rate: int = 16_000,
        n_mels: int = 64,
        window_length: int = 400,
        hop_length: int = 160,
        stack: int = 4,
        max_seconds: float = 10.0,
        mean: float = -6.0,
        std: float = 4.0,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
    ):
        check_positive(stack=stack)
        num_frames = _max_frames(sample_rate, hop_length, max_seconds)
        num_positions = -(-num_frames // stack) if learned_positions else 0
        mel = (sample_rate, n_mels, window_length, hop_length, max_seconds, mean, std)
        super().__init__(dim, *mel, num_prefix_tokens, num_positions)
        counts = AudioTokens(num_prefix_tokens, bands=1, patch_size=stack, stride=stack)
        self.preprocess = dataclasses.replace(self.preprocess, tokens=counts)
        self.stack = stack
        self.project = projection(stack * n_mels, dim)

    @property
    def token_times(self) -> tuple[float, float]:
        """A token is `stack` frames; frame i is centred on sample i * hop_length."""
        hop = self.preprocess.hop_length / self.preprocess.sample_rate
        return (self.stack - 1) / 2 * hop, self.stack * hop

    @property
    def target_size(self) -> int:
        """Bands of all frames of a stack."""
        return self.project.in_features

    def targets(self, batch: Batch) -> Tensor:
        """[B, S] -> the frames of each stack, [B, N, stack * n_mels]."""
        return self._stacked(self.spectrogram(unmasked(batch))[0])

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, S] -> one token for every `stack` frames; a token is real if its first frame is."""
        mel, real = self.spectrogram(batch)
        embeds = self.project(self._stacked(mel))  # [B, N, D]
        positions = grid(embeds.shape[1], device=mel.device).expand(-1, -1, 3)
        return TokenSequence(embeds, real[:, :: self.stack], positions, padded="input_values_mask" in batch)

    def _stacked(self, mel: Tensor) -> Tensor:
        """[B, T, n_mels] -> [B, N, stack * n_mels]; the last stack is filled up."""
        filled = F.pad(mel, (0, 0, 0, -mel.shape[1] % self.stack))
        return filled.unflatten(1, (-1, self.stack)).flatten(2)


class AudioPatchTokenizer(AudioTokenizer):
    """Overlapping square patches of the spectrogram (Gong et al. 2021, AST, arXiv 2104.01778).

    The patch at frame t and band f stands at (t, f, 0), counted in strides. The clip is filled up to whole
    patches.

    Args:
        dim: the shared width.
        sample_rate: in Hz; sound is resampled to it.
        n_mels: mel bands.
        window_length: of a frame, in samples.
        hop_length: from one frame to the next, in samples.
        patch_size: frames and bands of a patch.
        stride: frames and bands from one patch to the next.
        max_seconds: longer clips are cut.
        mean: of log-mel values.
        std: likewise.
        num_prefix_tokens: learned tokens before the sequence.
        learned_positions: add a learned vector for each place.
    """

    def __init__(
        self,
        dim: int,
        sample_rate: int = 16_000,
        n_mels: int = 128,
        window_length: int = 400,
        hop_length: int = 160,
        patch_size: int = 16,
        stride: int = 10,
        max_seconds: float = 10.0,
        mean: float = -6.0,
        std: float = 4.0,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
    ):
        if n_mels < patch_size:
            raise ValueError(f"tokenizer.n_mels={n_mels} is smaller than tokenizer.patch_size={patch_size}.")
        if not 0 < stride <= patch_size:
            raise ValueError(
                f"tokenizer.stride={stride} is not between 1 and tokenizer.patch_size={patch_size}."
            )
        bands = (n_mels - patch_size) // stride + 1
        num_frames = _max_frames(sample_rate, hop_length, max_seconds)
        columns = _num_patches(num_frames, patch_size, stride)
        mel = (sample_rate, n_mels, window_length, hop_length, max_seconds, mean, std)
        super().__init__(dim, *mel, num_prefix_tokens, columns * bands if learned_positions else 0)
        counts = AudioTokens(num_prefix_tokens, bands, patch_size, stride)
        self.preprocess = dataclasses.replace(self.preprocess, tokens=counts)
        self.patch_size, self.stride, self.columns, self.bands = patch_size, stride, columns, bands
        self.project = projection(patch_size**2, dim)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Columns of the longest clip, and bands of patches."""
        return self.columns, self.bands

    @property
    def target_size(self) -> int:
        """Frames and bands of a patch."""
        return self.patch_size**2

    def targets(self, batch: Batch) -> Tensor:
        """[B, S] -> each patch, [B, N, patch * patch]; overlapping ones are partly seen."""
        return self._patches(self.spectrogram(unmasked(batch))[0]).flatten(1, 2)

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, S] -> patches, frame by frame and within that band by band."""
        mel, real = self.spectrogram(batch)
        patches = self._patches(mel)
        columns, bands = patches.shape[1:3]
        embeds = self.project(patches.flatten(1, 2))  # [B, N, D]
        positions = F.pad(grid(columns, bands, device=mel.device), (0, 1))
        mask = real[:, self._needed_by(columns, mel.device)].repeat_interleave(bands, 1)
        return TokenSequence(embeds, mask, positions, padded="input_values_mask" in batch)

    def _patches(self, mel: Tensor) -> Tensor:
        """[B, T, n_mels] -> [B, columns, bands, patch * patch]."""
        p, s, num_frames = self.patch_size, self.stride, mel.shape[1]
        columns = _num_patches(num_frames, p, s)
        mel = F.pad(mel, (0, 0, 0, (columns - 1) * s + p - num_frames))
        return mel.unfold(1, p, s).unfold(2, p, s).flatten(3)

    def _needed_by(self, columns: int, device: torch.device) -> Tensor:
        """For each column of patches the frame that makes it needed: the first that the one before lacks."""
        frame = (torch.arange(columns, device=device) - 1) * self.stride + self.patch_size
        frame[0] = 0
        return frame


def unmasked(batch: Batch) -> Batch:
    """The sound that a `spectrogram_mask`, an augmentation, hides parts of."""
    return {key: value for key, value in batch.items() if key != "spectrogram_mask"}


def _max_frames(sample_rate: int, hop_length: int, max_seconds: float) -> int:
    """Frames of the longest clip."""
    check_positive(sample_rate=sample_rate, hop_length=hop_length, max_seconds=max_seconds)
    return round(max_seconds * sample_rate) // hop_length + 1


def _num_patches(num_frames: int, patch_size: int, stride: int) -> int:
    """Patches that cover so many frames; the last may hang over."""
    return max(num_frames - patch_size + stride - 1, 0) // stride + 1  # in ONNX -5 // 2 would be -2
