"""Simple features of samples, by field: what a linear model of scikit-learn reads as a baseline."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import Tensor
from torch.utils.data import Dataset
from torchaudio.functional import melscale_fbanks

from unimodal.data.decoding.encoded import BadSample
from unimodal.data.examples import Examples
from unimodal.types import IGNORED, Sample, Waveform

SIDE, NUM_FRAMES = 16, 8  # pixels of a small picture, frames of a small clip
N_MELS, NUM_PARTS, WINDOW = 40, 8, 0.025  # mel bands, parts of a clip in time, seconds of a window
FLOOR = 1e-6  # power below which sound counts as silence: -60 dB
NUM_COMPONENTS = 128  # of a vector that are kept
MAX_CHARACTERS = 4_000  # of a text
MAX_WORDS = 200_000  # words and pairs of words, the most frequent ones


@dataclass(frozen=True)
class SimpleFeatures:
    """How one field of a sample becomes features.

    Attributes:
        name: in messages.
        read: from the fitted value of a sample to a str or a vector; runs in data workers.
        encoder: from what `read` gives for the training samples, None where a sample lacks the field, to a
            transformer of scikit-learn; its rows have a length of about 1.
        max_train: training samples that are enough.
        max_val: validation samples that are enough.
        strengths: values of scikit-learn's `C` to choose from for a classifier.
    """

    name: str
    read: Callable[[Any], Any]
    encoder: Callable[[Sequence[Any]], Pipeline]
    max_train: int
    max_val: int
    strengths: tuple[float, ...]


class FeatureRows(Dataset):
    """What `read` gives for the fields of some samples, without augmentation, and their labels.

    Args:
        examples: of a split.
        fields: that are read; names of `FEATURES`.
        indices: of the samples.
    """

    def __init__(self, examples: Examples, fields: Sequence[str], indices: Sequence[int]):
        self.examples, self.fields, self.indices = examples, fields, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> tuple[list[Any], Tensor]:
        """One value a field, None where the sample lacks it; the label, -100 where it does not count."""
        sample = self.examples.samples[self.indices[row]]
        assert self.examples.target is not None, "only tasks with labels have a baseline"
        label = self.examples.target(sample)
        values = [_read(field, sample) for field in self.fields]
        return values, label if sample.get("counted", True) else torch.full_like(label, IGNORED)


def _read(field: str, sample: Sample) -> Any:
    """What is read of a field, of samples in parts of the first part that has it."""
    holder = next((part for part in sample.get("parts", ()) if field in part), sample)
    value = holder.get(field)
    try:
        return None if value is None else FEATURES[field].read(value)
    except Exception as error:  # a modality of one's own may call something else so
        raise BadSample(f'"{field}" is not what its simple features are made of: {error}') from error


def read_text(text: str) -> str:
    """Return the beginning of the text, which tells enough."""
    return text[:MAX_CHARACTERS]


def read_image(pixels: Tensor) -> np.ndarray:
    """Pixels [3, H, W] -> float32 [768], those of a picture of 16 x 16: each the mean of its area."""
    return F.adaptive_avg_pool2d(pixels.float(), SIDE).flatten().numpy()


def read_video(pixels: Tensor) -> np.ndarray:
    """Pixels [T, 3, H, W] -> float32 [2048], those of 8 grey frames of 16 x 16, spread evenly."""
    frames = torch.linspace(0, len(pixels) - 1, NUM_FRAMES).round().long()
    return F.adaptive_avg_pool2d(pixels[frames].float().mean(1), SIDE).flatten().numpy()


def read_audio(sound: Waveform) -> np.ndarray:
    """Mean and deviation of each log-mel band, and its means in 8 parts of the clip: float32 [400]."""
    bands = _log_mel(sound.samples.numpy(), sound.sample_rate)  # [T, N_MELS]
    starts = np.arange(NUM_PARTS) * len(bands) // NUM_PARTS
    parts = np.add.reduceat(bands, starts) / np.diff(starts, append=len(bands))[:, None]
    return np.concatenate([bands.mean(0), bands.std(0), parts.ravel()])


def _log_mel(samples: np.ndarray, rate: int) -> np.ndarray:
    """The log-mel spectrum of windows side by side [T, N_MELS]; numpy is faster than torch on short clips."""
    window, filters = _filters(rate)
    num_frames = max(-(-len(samples) // len(window)), NUM_PARTS)
    frames = np.zeros((num_frames, len(window)), np.float32)
    frames.reshape(-1)[: len(samples)] = samples
    power = np.abs(np.fft.rfft(frames * window, 2 * (len(filters) - 1))) ** 2
    return np.log(power @ filters + FLOOR)


@lru_cache(maxsize=8)
def _filters(rate: int) -> tuple[np.ndarray, np.ndarray]:
    """The Hann window, and the mel filters [bins, N_MELS]; zero-padded, else narrow bands hold no bin."""
    length = max(round(WINDOW * rate), 2)
    num_bins = (1 << (length - 1).bit_length()) + 1
    filters = melscale_fbanks(num_bins, 0.0, rate / 2, N_MELS, rate)
    return np.hanning(length + 1)[:-1].astype(np.float32), filters.numpy()


def words_encoder(texts: Sequence[str | None]) -> Pipeline:
    """TF-IDF of words and of pairs of words; a sample without text has none."""
    words = TfidfVectorizer(
        token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True, max_features=MAX_WORDS
    )
    return make_pipeline(FunctionTransformer(_texts), words)


def vector_encoder(vectors: Sequence[np.ndarray | None]) -> Pipeline:
    """The main directions of standardised columns; a sample without a vector has the mean."""
    num_columns = next(len(vector) for vector in vectors if vector is not None)
    return make_pipeline(
        FunctionTransformer(_stacked, kw_args={"num_columns": num_columns}),
        SimpleImputer(keep_empty_features=True),
        StandardScaler(),
        PCA(min(NUM_COMPONENTS, len(vectors), num_columns), random_state=0),
        FunctionTransformer(_divided, kw_args={"divisor": num_columns**0.5}),
    )


def _texts(texts: Sequence[str | None]) -> list[str]:
    return [text or "" for text in texts]


def _stacked(vectors: Sequence[np.ndarray | None], num_columns: int) -> np.ndarray:
    missing = np.full(num_columns, np.nan, np.float32)
    return np.stack([missing if vector is None else vector for vector in vectors])


def _divided(rows: np.ndarray, divisor: float) -> np.ndarray:
    return rows / divisor


VECTOR = (vector_encoder, 2500, 5000, (1.0, 10.0, 100.0))
FEATURES: Mapping[str, SimpleFeatures] = {
    "text": SimpleFeatures(
        "TF-IDF of words and pairs of words", read_text, words_encoder, 20_000, 20_000, (30.0,)
    ),
    "image": SimpleFeatures(f"{SIDE}x{SIDE} pixels", read_image, *VECTOR),
    "audio": SimpleFeatures("log-mel means and deviations", read_audio, *VECTOR),
    "video": SimpleFeatures(f"{NUM_FRAMES} grey frames of {SIDE}x{SIDE} pixels", read_video, *VECTOR),
}
"""By the sample's field; a field that is not here has no baseline."""
