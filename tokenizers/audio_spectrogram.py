"""AST's embedding: every clip becomes one spectrogram of a fixed size, cut into overlapping patches."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokenizers.audio import AudioPreprocess, AudioTokens, unmasked
from unimodal.tokenizers.base import Tokenizer, check_positive, projection
from unimodal.tokenizers.fbank import Fbank
from unimodal.tokenizers.pixels import grid
from unimodal.types import Batch, TokenSequence, full_mask


class AudioSpectrogramTokenizer(Tokenizer):
    """Patches of Kaldi's filterbank, exactly as the stock AST has them (Gong et al. 2021, arXiv 2104.01778).

    Longer clips are cut, shorter ones filled up with zeros, which attention sees: nothing is masked. Patches
    are read band by band and within a band in time, the stock order; the patch at frame t and band f stands
    at (t, f, 0), counted in strides. Frames and bands left over at the end go unheard, as in the stock model.

    Args:
        dim: the shared width.
        sample_rate: in Hz; sound is resampled to it. Windows have 25 ms, frames come every 10 ms.
        n_mels: mel bands.
        num_frames: of every clip, a hundred a second.
        patch_size: frames and bands of a patch.
        frequency_stride: bands from one patch to the next.
        time_stride: frames from one patch to the next.
        mean: of log-mel values, subtracted.
        std: divided by; the stock extractor divides by twice its own `std`.
        num_prefix_tokens: learned tokens before the patches; the stock model has two.
        learned_positions: add a learned vector for each place, as the stock model does.

    Raises:
        ValueError: if a patch does not fit into the spectrogram, or a size is not more than 0.
    """

    input_key = "input_values"

    def __init__(
        self,
        dim: int,
        sample_rate: int = 16_000,
        n_mels: int = 128,
        num_frames: int = 1024,
        patch_size: int = 16,
        frequency_stride: int = 10,
        time_stride: int = 10,
        mean: float = -4.2677393,
        std: float = 9.1379948,
        num_prefix_tokens: int = 0,
        learned_positions: bool = False,
    ):
        check_positive(patch_size=patch_size, std=std)
        check_positive(frequency_stride=frequency_stride, time_stride=time_stride)
        _check_fits("n_mels", n_mels, patch_size)
        _check_fits("num_frames", num_frames, patch_size)
        bands = (n_mels - patch_size) // frequency_stride + 1
        columns = (num_frames - patch_size) // time_stride + 1
        super().__init__(dim, num_prefix_tokens, bands * columns if learned_positions else 0)
        self.num_frames, self.patch_size, self.mean, self.std = num_frames, patch_size, mean, std
        self.frequency_stride, self.time_stride = frequency_stride, time_stride
        self.bands, self.columns = bands, columns
        self.fbank = Fbank(sample_rate, n_mels)
        self.num_samples = (num_frames - 1) * self.fbank.hop_length + self.fbank.window_length
        seconds = self.num_samples / sample_rate
        counts = AudioTokens(num_prefix_tokens + bands * columns)
        hop_length = self.fbank.hop_length
        self.preprocess = AudioPreprocess(sample_rate, seconds, hop_length, n_mels, tokens=counts)
        self.project = projection(patch_size**2, dim)

    @property
    def position_grid(self) -> tuple[int, ...]:
        """Bands and columns of patches."""
        return self.bands, self.columns

    def spectrogram(self, batch: Batch) -> Tensor:
        """[B, S] -> [B, num_frames, n_mels], normalised; what ASTFeatureExtractor gives for each clip alone.

        What a `spectrogram_mask` hides is 0 before normalisation, as what is filled up: so AST was trained.
        """
        samples, real = batch["input_values"][:, : self.num_samples], batch.get("input_values_mask")
        if real is not None:
            real = real[:, : self.num_samples]
            samples = samples * real
        fbank = self.fbank(samples)
        if real is not None:
            heard = self.fbank.num_frames(real.sum(1))
            fbank = fbank * (torch.arange(fbank.shape[1], device=fbank.device) < heard[:, None])[..., None]
        if "spectrogram_mask" in batch:  # made for centred frames, of which there are some more
            fbank = fbank * batch["spectrogram_mask"][:, : fbank.shape[1]]
        filled = F.pad(fbank, (0, 0, 0, self.num_frames - fbank.shape[1]))
        return (filled - self.mean) / self.std

    @property
    def target_size(self) -> int:
        """Bands and frames of a patch."""
        return self.patch_size**2

    def targets(self, batch: Batch) -> Tensor:
        """[B, S] -> each patch, [B, N, patch * patch]; overlapping ones are partly seen."""
        return self._patches(self.spectrogram(unmasked(batch)))

    def tokenize(self, batch: Batch) -> TokenSequence:
        """[B, S] -> bands * columns patches, row by row of bands."""
        embeds = self.project(self._patches(self.spectrogram(batch)))
        places = grid(self.bands, self.columns, device=embeds.device).flip(-1)  # (t, f)
        return TokenSequence(embeds, full_mask(embeds), F.pad(places, (0, 1)), padded=False)

    def _patches(self, spectrogram: Tensor) -> Tensor:
        """[B, num_frames, n_mels] -> [B, bands * columns, patch * patch]."""
        image, p = spectrogram.transpose(1, 2), self.patch_size
        patches = image.unfold(1, p, self.frequency_stride).unfold(2, p, self.time_stride)
        return patches.flatten(1, 2).flatten(2)  # of [B, bands, columns, p bands, p frames]


def _check_fits(knob: str, size: int, patch_size: int) -> None:
    if size < patch_size:
        raise ValueError(f"tokenizer.{knob}={size} is smaller than tokenizer.patch_size={patch_size}.")
