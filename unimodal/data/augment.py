"""Light random changes to decoded samples, before `preprocess`.

All randomness comes from torch's global CPU generator, as torchvision's does: the caller forks and seeds it
around each call, so that a sample's augmentation depends on seed, epoch and row alone and not on workers.
An augmentation holds plain values and is pickled into workers; with its defaults it changes nothing.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchaudio.functional import mask_along_axis
from torchvision.transforms import InterpolationMode, v2
from torchvision.tv_tensors import Mask

from unimodal.data.decoding.masks import NOT_COUNTED
from unimodal.data.media import resample
from unimodal.types import Sample


@dataclass(frozen=True)
class PixelAugment:
    """What images and clips have in common: the last three axes of `key` are [3, H, W], uint8.

    Attributes:
        rotate: degrees, at most so far to either side; corners that come into view are black.
        translate: share of height and of width, at most so far to either side.
        scale: size changes by a factor between 1 - scale and 1 + scale.
        hflip: mirror left and right half of the time. Not for digits, text, or directions of motion.
        brightness: factor between 1 - brightness and 1 + brightness.
        contrast: likewise, about the mean grey.
        saturation: likewise, from grey (0) to twice the colour (2).
        crop: a part of at least 1 - crop of the area, enlarged to the whole (Szegedy et al. 2014, arXiv
            1409.4842). Photographs usually take 0.5 to 0.9.
        trivial: one random operation of random strength (Mueller and Hutter 2021, TrivialAugment wide, arXiv
            2103.10158). Not where a mask belongs to the pixels.
        erase: probability that a rectangle is filled with the mean colour (Zhong et al. 2017, arXiv
            1708.04896); of a clip the same in all frames. A mask beside the pixels keeps its classes there.
    """

    rotate: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    hflip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    crop: float = 0.0
    trivial: bool = False
    erase: float = 0.0

    key: ClassVar[str]

    def __post_init__(self) -> None:
        _check_range(0, 180, rotate=self.rotate)
        _check_range(0, 1, translate=self.translate, brightness=self.brightness, contrast=self.contrast)
        _check_range(0, 1, saturation=self.saturation, erase=self.erase)
        _check_range(0, 0.99, scale=self.scale, crop=self.crop)

    def __call__(self, sample: Sample, preprocess: Any = None) -> Sample:
        """A copy of `sample` with other pixels of the same shape and dtype.

        What a `preprocess` of another field will read stays as it is.
        A `mask` uint8 [H, W] beside them is rotated, moved and mirrored alike; what comes into view there
        does not count.
        """
        if not _reads(preprocess, self.key):
            return sample
        changed = {self.key: self._in_time(_entry(sample, self.key))}
        if "mask" in sample:
            if self.trivial:
                raise ValueError(
                    "augment.trivial=true would move the image and not its mask; set augment.trivial=false."
                )
            changed["mask"] = Mask(sample["mask"])  # moves with the pixels, keeps its values
        for transform in self._transforms(changed[self.key].shape):
            changed = transform(changed)  # one draw for all leading axes, so for all frames of a clip
        if self.erase:  # of the pixels alone
            pixels = changed[self.key]
            mean = pixels.float().mean(dim=[axis for axis in range(pixels.ndim) if axis != pixels.ndim - 3])
            changed[self.key] = v2.RandomErasing(self.erase, value=mean.tolist())(pixels)
        return sample | {key: value.as_subclass(Tensor) for key, value in changed.items()}

    def _in_time(self, pixels: Tensor) -> Tensor:
        """The frames of a clip at other times; an image as it is."""
        return pixels

    def _transforms(self, shape: tuple[int, ...]) -> list[nn.Module]:
        transforms: list[nn.Module] = []
        if self.crop:
            height, width = shape[-2:]
            sides = (
                3 / 4 * width / height,
                4 / 3 * width / height,
            )  # of the part, against those of the whole
            transforms.append(v2.RandomResizedCrop((height, width), scale=(1 - self.crop, 1), ratio=sides))
        if self.rotate or self.translate or self.scale:
            transforms.append(
                v2.RandomAffine(
                    degrees=self.rotate,
                    translate=(self.translate, self.translate),
                    scale=(1 - self.scale, 1 + self.scale),
                    interpolation=InterpolationMode.BILINEAR,
                    fill={Mask: NOT_COUNTED, "others": 0},
                )
            )
        if self.hflip:
            transforms.append(v2.RandomHorizontalFlip())
        if self.trivial:
            transforms.append(v2.TrivialAugmentWide())
        if self.brightness or self.contrast or self.saturation:
            transforms.append(v2.ColorJitter(self.brightness, self.contrast, self.saturation))
        return transforms


class ImageAugment(PixelAugment):
    """Changes `image` uint8 [3, H, W]; the options are `PixelAugment`'s."""

    key = "image"


@dataclass(frozen=True)
class VideoAugment(PixelAugment):
    """Changes `video` uint8 [T, 3, H, W], all frames alike; the options are `PixelAugment`'s and two of time.

    The frames that the clip has are repeated or left out; none is decoded anew.

    Attributes:
        time_shift: earlier or later by at most this share of the clip; the frame at the edge is repeated.
        speed: faster or slower about the middle, by a factor between 1 - speed and 1 + speed; where a faster
            clip ends early, its last frame is repeated, and likewise at its start.
    """

    time_shift: float = 0.0
    speed: float = 0.0

    key = "video"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range(0, 0.9, time_shift=self.time_shift, speed=self.speed)

    def _in_time(self, pixels: Tensor) -> Tensor:
        if not (self.time_shift or self.speed):
            return pixels
        num = len(pixels)
        shift, factor = _symmetric(self.time_shift) * num, 1 + _symmetric(self.speed)
        times = (torch.arange(num) + 0.5 - num / 2) * factor + num / 2 + shift  # from the middle of frames
        return pixels[times.floor().long().clamp(0, num - 1)]


@dataclass(frozen=True)
class AudioAugment:
    """Changes the samples of `audio`, a `Waveform`; its rate stays, and without `speed` its length.

    Attributes:
        speed: faster or slower, and so higher or lower, by a factor between 1 - speed and 1 + speed, but
            never so slow as to be cut (Ko et al. 2015, "Audio augmentation for speech recognition").
        gain_db: louder or quieter by at most so many dB; what leaves -1..1 is clipped.
        shift_ms: earlier or later by at most so many milliseconds; what leaves is lost, silence comes in.
        noise_db: level of added white noise in dB against the samples' own power, e.g. -20; None adds none.
        time_mask: SpecAugment: bands of fewer than so many frames are hidden; 0 hides none.
        freq_mask: SpecAugment: bands of fewer than so many mel bins are hidden; 0 hides none.
        num_masks: SpecAugment: how many bands of each kind.
    """

    speed: float = 0.0
    gain_db: float = 0.0
    shift_ms: float = 0.0
    noise_db: float | None = None
    time_mask: int = 0
    freq_mask: int = 0
    num_masks: int = 2

    def __post_init__(self) -> None:
        _check_range(0, 0.5, speed=self.speed)
        _check_range(0, 60, gain_db=self.gain_db)
        _check_range(0, float("inf"), shift_ms=self.shift_ms)
        masks = {"time_mask": self.time_mask, "freq_mask": self.freq_mask, "num_masks": self.num_masks}
        _check_range(0, float("inf"), **masks)

    def __call__(self, sample: Sample, preprocess: Any = None) -> Sample:
        """A copy of `sample` with another waveform.

        The spectrogram is computed later, on the device; what to hide of it goes along as `spectrogram_mask`,
        whose size `preprocess` (its `hop_length` and `n_mels`) tells. What a `preprocess` of another field
        will read stays as it is.
        """
        if not _reads(preprocess, "audio"):
            return sample
        waveform = _entry(sample, "audio")
        samples = waveform.samples
        if self.speed:
            longest = round(preprocess.max_seconds * waveform.sample_rate)
            samples = _faster(samples, 1 + _symmetric(self.speed), longest)
        if by := round(_symmetric(self.shift_ms) * waveform.sample_rate / 1000) if self.shift_ms else 0:
            samples = _shift(samples, by)
        if self.noise_db is not None:
            deviation = samples.square().mean().sqrt() * 10 ** (self.noise_db / 20)
            samples = (samples + torch.randn_like(samples) * deviation).clamp(-1, 1)
        if self.gain_db:
            samples = (samples * 10 ** (_symmetric(self.gain_db) / 20)).clamp(-1, 1)
        changed = sample | {"audio": waveform._replace(samples=samples)}
        if "spans" in sample:  # stretches with a label move with the sound
            seconds = by / waveform.sample_rate
            longer = len(samples) / len(waveform.samples)
            changed["spans"] = [
                (start * longer + seconds, end * longer + seconds, label)
                for start, end, label in sample["spans"]
            ]
        if self.time_mask or self.freq_mask:
            num_frames = len(samples) // preprocess.hop_length + 1
            sizes = (num_frames, preprocess.n_mels, self.time_mask, self.freq_mask, self.num_masks)
            changed["spectrogram_mask"] = spectrogram_mask(*sizes)
        return changed


def spectrogram_mask(
    num_frames: int, n_mels: int, time_mask: int, freq_mask: int, num_masks: int = 2
) -> Tensor:
    """Which cells of a spectrogram to keep, bool [T, n_mels], True = keep.

    SpecAugment, Park et al. 2019, arXiv 1904.08779: `num_masks` bands of fewer than `time_mask` frames and
    as many of fewer than `freq_mask` mel bins are taken out; 0 takes none. The spectrogram itself is
    computed on the device later, so the mask travels beside the waveform.
    """
    keep = torch.ones(1, n_mels, num_frames)  # torchaudio wants frequency first
    for _ in range(num_masks):
        keep = mask_along_axis(keep, min(freq_mask, n_mels), 0.0, axis=1)
        keep = mask_along_axis(keep, min(time_mask, num_frames), 0.0, axis=2)
    return keep[0].T.bool()


def _reads(preprocess: Any, key: str) -> bool:
    """Whether it reads this field, or is not known."""
    return preprocess is None or preprocess.field == key


def _symmetric(limit: float) -> float:
    """Uniform between -limit and limit."""
    return (2 * torch.rand(()).item() - 1) * limit


def _faster(samples: Tensor, factor: float, longest: int) -> Tensor:
    """[S] in the time of S / factor, in steps of 2%; `longest` samples at most, if it has no more itself."""
    percent = max(2 * round(50 * factor), min(100, -(-100 * len(samples) // longest)))
    return resample(samples, percent, 100)


def _shift(samples: Tensor, by: int) -> Tensor:
    """[S] moved later by `by` samples, or earlier if negative, silence coming in."""
    by = max(-len(samples), min(by, len(samples)))
    shifted = torch.zeros_like(samples)
    shifted[max(by, 0) : len(samples) + min(by, 0)] = samples[max(-by, 0) : len(samples) - max(by, 0)]
    return shifted


def _entry(sample: Sample, key: str) -> Any:
    if key not in sample:
        raise ValueError(f'sample has no "{key}" to augment; it has {", ".join(sample)}.')
    return sample[key]


def _check_range(low: float, high: float, **knobs: float) -> None:
    for knob, value in knobs.items():
        if not low <= value <= high:
            raise ValueError(f"{knob}={value} is not between {low} and {high}.")
