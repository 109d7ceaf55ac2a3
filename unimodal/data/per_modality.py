"""Light random changes of several modalities, each in its own way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unimodal.types import Sample


@dataclass(frozen=True)
class PerModality:
    """One augmentation a modality, for models of several tokenizers; None leaves it as it is."""

    image: Callable[[Sample, Any], Sample] | None = None
    audio: Callable[[Sample, Any], Sample] | None = None
    video: Callable[[Sample, Any], Sample] | None = None

    def __call__(self, sample: Sample, preprocess: Any) -> Sample:
        """A copy of `sample` where what `preprocess` reads is changed."""
        each = {"image": self.image, "audio": self.audio, "video": self.video}
        augment = each.get(preprocess.field)
        return sample if augment is None else augment(sample, preprocess)
