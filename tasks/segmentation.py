"""Which class each pixel of an image belongs to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from unimodal.data.decoding.masks import NOT_COUNTED
from unimodal.data.examples import Examples
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task
from unimodal.tasks.sums import ClassCounts, decided, mean
from unimodal.types import IGNORED, Batch

NUM_SHOWN = 4


@dataclass(frozen=True)
class MaskLabels:
    """From a fitted sample's `mask` uint8 [H, W] to labels, in data workers.

    Attributes:
        image_size: (height, width) that masks are resized to, as images are.
        num_classes: that a mask may hold.
    """

    image_size: tuple[int, int]
    num_classes: int
    field: str = "mask"

    def __call__(self, sample: Mapping[str, Any]) -> Tensor:
        """Int64 [H, W], -100 where no class counts."""
        labels = sample["mask"].long()
        return labels.masked_fill(labels == NOT_COUNTED, IGNORED)


class Segmentation(Task):
    """A linear layer on each patch's token gives the logits of a small grid of cells, zero at first.

    The cells of all patches side by side are enlarged bilinearly to the image. With one cell a patch this is
    the linear decoder of Strudel et al. 2021 (Segmenter, arXiv 2105.05633); several let a mask be finer than
    the patches are. Cross-entropy of the pixels that count.

    Figures are `miou`, the mean over classes of intersection over union, and `accuracy` of pixels, over the
    whole validation part; masks are compared at the size at which the model sees the image.

    Args:
        model: whose one tokenizer cuts images into a grid of tokens.
        class_names: of the mask's values 0, 1, 2, ...
        cells: rows and columns of cells a patch; as many as it has pixels is the finest that makes sense.
    """

    monitor = "val/miou"
    mode = "max"
    metric_modes: Mapping[str, str] = {"miou": "max", "accuracy": "max"}

    def __init__(self, model: Unimodal, class_names: Sequence[str], cells: int = 4):
        super().__init__(model)
        if list(model.tokenizers) != ["image"]:
            fields = ", ".join(model.tokenizers)
            raise ValueError(f"segmentation reads images; this model reads {fields}. Set modality=image.")
        if len(class_names) < 2:
            raise ValueError(f"segmentation needs two classes or more; the data has {list(class_names)}.")
        image: Any = model.tokenizers["image"]
        if callable(image.preprocess.image_size):  # each image its own
            raise ValueError("segmentation needs one image size; set tokenizer=image_patch.")
        self.image_size, self.grid = tuple(image.preprocess.image_size), image.position_grid
        finest = self.image_size[0] // self.grid[0]
        if not 1 <= cells <= finest:
            raise ValueError(f"task.cells={cells} is not between 1 and {finest}, the pixels of a patch.")
        self.class_names, self.cells = list(class_names), cells
        self.head = nn.Linear(model.backbone.dim, len(class_names) * cells**2)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.class_counts = ClassCounts(len(class_names))

    @property
    def preprocess(self) -> dict[str, Any]:
        """The tokenizer's, and that of the mask."""
        return super().preprocess | {"mask": MaskLabels(self.image_size, len(self.class_names))}

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of each image with its labels."""
        inputs = {field: one for field, one in preprocess.items() if field != "mask"}
        return Examples(samples, inputs, augment, seed, preprocess["mask"])

    def forward(self, batch: Batch) -> Output:
        """`labels` int [B, H, W]; logits [B, C, H, W]."""
        tokens = self.encode(batch)
        logits, labels = self._logits(tokens.embeds), batch["labels"]
        total = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        count = (labels != IGNORED).sum()
        return Output(total / count.clamp_min(1), count, logits, tokens)

    def outputs(self, batch: Batch) -> Tensor:
        """The logits, [B, C, H, W]."""
        return self._logits(self.encode(batch).embeds)

    def _logits(self, embeds: Tensor) -> Tensor:
        rows, columns = self.grid
        cells = self.head(embeds[:, -rows * columns :]).float()  # [B, N, C * cells ** 2], prefix left out
        cells = cells.transpose(1, 2).unflatten(2, (rows, columns))
        return F.interpolate(F.pixel_shuffle(cells, self.cells), self.image_size, mode="bilinear")

    def update_metrics(self, output: Output, batch: Batch) -> None:
        """Count pixels; keeps the first images to show."""
        said = decided(output.logits, 1)
        self.class_counts.update(said, batch["labels"])
        if not self.shown:
            self.shown = [
                self._describe(*one) for one in zip(batch["labels"][:NUM_SHOWN], said, strict=False)
            ]

    def compute_metrics(self) -> dict[str, Tensor]:
        """`miou`, and `accuracy` of pixels."""
        figures = {
            "miou": mean(self.class_counts.intersection_over_union()),
            "accuracy": self.class_counts.accuracy(),
        }
        self.class_counts.reset()
        return figures

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """`mask`, uint8 [H, W] of classes, and what share of the image the largest take; needs no labels."""
        return [self._answer(said, top_k) for said in self.outputs(batch).argmax(1)]

    def _answer(self, said: Tensor, top_k: int) -> dict[str, Any]:
        shares = said.flatten().bincount(minlength=len(self.class_names)) / said.numel()
        answer: dict[str, Any] = {"mask": said.to(torch.uint8).cpu()}
        for place, index in enumerate(shares.argsort(descending=True, stable=True)[:top_k].tolist(), 1):
            answer |= {
                f"top_{place}": self.class_names[index],
                f"share_{place}": round(shares[index].item(), 6),
            }
        return answer

    def _describe(self, labels: Tensor, said: Tensor) -> str:
        counted = labels != IGNORED
        right = (labels == said)[counted].float().mean().item()
        names = [*self.class_names, "no class"]
        there, seen = (
            ", ".join(names[index] for index in one[counted].unique().tolist()) for one in (labels, said)
        )
        return f"{there} -> {seen} ({right:.1%} of the pixels)"
