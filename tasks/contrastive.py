"""Two modalities in one space of vectors: what belongs together lies close."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import Dataset

from unimodal.data.examples import Examples, label_of
from unimodal.model import Unimodal
from unimodal.tasks.base import Output, Task, num_counted
from unimodal.tasks.contrastive_loss import Contrast, pair_losses
from unimodal.tasks.gather import gather, most, world
from unimodal.tasks.pair_items import PairSamples
from unimodal.tasks.retrieval import CHUNK, Pairs, retrieval, retrieval_modes
from unimodal.tasks.zero_shot import check_templates, zero_shot
from unimodal.types import IGNORED, Batch, TokenSequence

NUM_SHOWN = 8


class Contrastive(Task):
    """Each modality alone through the one backbone, pooled, projected, scaled to length 1.

    The loss compares the pairs of all processes. Validation compares everything with everything, so that its
    figures, the loss too, depend neither on batch size nor on the number of processes.

    Args:
        model: with two tokenizers.
        pooling: from tokens [B, N, D] to vectors [B, D].
        contrast: the loss, with its learned temperature.
        projection_dim: of the shared vectors.
        chunk_size: pairs whose activations are kept at a time; the backward pass computes them again, chunk
            by chunk. Gradients are those of the whole batch (GradCache, Gao et al. 2021, arXiv 2101.06983).
        templates: what text a class name becomes, `{}` standing for it.
    """

    monitor = "val/mean_recall"
    mode = "max"
    separate = True

    def __init__(
        self,
        model: Unimodal,
        pooling: nn.Module,
        contrast: Contrast,
        projection_dim: int = 128,
        chunk_size: int | None = None,
        templates: Sequence[str] = ("{}",),
    ):
        super().__init__(model)
        self.fields = list(model.tokenizers)
        if len(self.fields) != 2:
            raise ValueError(
                f"contrastive learning needs two modalities; the model reads {', '.join(self.fields)}. "
                "Add the other, such as +tokenizer@beside.text=text_bpe."
            )
        if chunk_size is not None and chunk_size < 1:
            raise ValueError(f"task.chunk_size={chunk_size} must be 1 or more, or null.")
        check_templates(templates)
        self.pooling, self.contrast = pooling, contrast
        self.chunk_size, self.templates = chunk_size, list(templates)
        dim = model.backbone.dim
        projections = {field: nn.Linear(dim, projection_dim, bias=False) for field in self.fields}
        for projection in projections.values():
            nn.init.normal_(projection.weight, std=dim**-0.5)
        self.projections = nn.ModuleDict(projections)
        self.pairs = Pairs()
        self.metric_modes = retrieval_modes(self.fields)

    @staticmethod
    def examples(
        samples: Any,
        preprocess: Mapping[str, Any],
        training: bool,
        augment: Callable | None = None,
        seed: int = 0,
    ) -> Dataset:
        """Tensors of both, with `labels` int [2]: which things they are."""
        return Examples(PairSamples(samples, list(preprocess)), preprocess, augment, seed, label_of)

    def forward(self, batch: Batch, compare: bool = True) -> Output:
        """`labels` int [B, 2], -100 = does not count; logits are the vectors [B, 2, P].

        The tokens' embeds are not kept, they have no width. Validation does not `compare` yet, the loss is 0;
        it goes through here all the same because FSDP2 gathers parameters in a module's `forward` only.
        """
        if self.training:
            self.contrast.limit()
        pairs, mask = self._pairs(batch)
        items = batch["labels"]
        loss = self._loss(pairs, items) if compare else pairs.new_zeros(())
        empty = pairs.new_zeros(*mask.shape, 0)
        tokens = TokenSequence(empty, mask, pairs.new_zeros(1, mask.shape[1], 3))
        return Output(loss, (items[:, 0] != IGNORED).sum(), pairs, tokens)

    def project(self, field: str, batch: Batch) -> Tensor:
        """Unit vectors [B, P], float32, of one modality, whatever else the batch holds."""
        return self._projected(field, batch)[0]

    def vectors(self, batch: Batch) -> Tensor:
        """Unit vectors [B, P] of the modality that the batch holds; of a pair, the direction between."""
        here = [f for f in self.fields if self._tokenizer(f).input_key in batch]
        return F.normalize(torch.stack([self.project(field, batch) for field in here]).sum(0), dim=-1)

    def outputs(self, batch: Batch) -> Tensor:
        """As `vectors`."""
        return self.vectors(batch)

    def answer(self, batch: Batch, top_k: int = 1) -> list[dict[str, Any]]:
        """Nothing without names to choose from."""
        raise ValueError("say what there is to tell apart with class_names=[cat,dog], or embeddings=true.")

    def zero_shot(self, class_names: Sequence[str], templates: Sequence[str] | None = None) -> Task:
        """A classifier of the modality beside text, whose classes are what their names say."""
        return zero_shot(self, class_names, templates or self.templates)

    def _loss(self, pairs: Tensor, items: Tensor) -> Tensor:
        """Return the mean loss of these pairs among those of all processes, which may have more or fewer."""
        size, rank = most(len(pairs), pairs.device), world()[0]
        all_pairs, all_items = gather(pairs, size), gather(items, size, IGNORED)
        places = rank * size + torch.arange(len(pairs), device=pairs.device)
        losses = pair_losses(self.contrast, pairs, items, all_pairs, all_items, places)
        counted = items[:, 0] != IGNORED
        return (losses * counted).sum() / counted.sum().clamp_min(1)

    def _tokenizer(self, field: str) -> Any:
        return self.model.tokenizers[field]

    def _projected(self, field: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """Vectors [B, P] and the mask of the tokens [B, N]."""
        others = {self._tokenizer(other).input_key for other in self.fields if other != field}
        tokens = self.model({key: value for key, value in batch.items() if key not in others})
        projected = self.projections[field](self.pooling(tokens))
        return F.normalize(projected.float(), dim=-1), tokens.mask

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Vectors [B, 2, P] and the mask of both token sequences [B, N]."""
        vectors, masks = zip(*(self._in_chunks(field, batch) for field in self.fields), strict=True)
        return torch.stack(vectors, 1), torch.cat(masks, 1)

    def _in_chunks(self, field: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """The same; where gradients are wanted, a chunk at a time."""
        if self.chunk_size is None or not torch.is_grad_enabled():
            return self._projected(field, batch)
        starts = range(0, len(batch["labels"]), self.chunk_size)
        chunks = [{k: v[i : i + self.chunk_size] for k, v in batch.items()} for i in starts]
        for chunk in (chunk for chunk in chunks if "rows" in chunk):  # packed: only the rows that it has
            chunk["rows"] = chunk["rows"].unique(return_inverse=True)[1]
        done = [checkpoint(self._projected, field, chunk, use_reentrant=False) for chunk in chunks]
        vectors, masks = zip(*done, strict=True)
        return torch.cat(vectors), torch.cat(masks)

    def count(self, batch: Batch) -> None:
        """Collect the pairs of one validation batch; nothing is compared before all are there."""
        pairs = self(batch, compare=False).logits
        self.val_samples.update(num_counted(batch))
        counted = batch["labels"][:, 0] != IGNORED
        self.pairs.update(pairs[counted], batch["labels"][counted])
        if not self.shown and "text" in self.fields:
            self.shown = self._describe(pairs, batch)

    def figures(self) -> dict[str, Tensor]:
        """The loss, all validation pairs being one batch, and those of `retrieval`; forgets the pairs."""
        vectors, items = self.pairs.compute()
        self.pairs.reset()
        places = torch.arange(len(items), device=items.device)
        losses = [
            pair_losses(self.contrast, vectors[rows], items[rows], vectors, items, rows)
            for rows in places.split(CHUNK)
        ]
        figures = {"loss": torch.cat(losses).mean(), **retrieval(vectors, items, self.fields)}
        figures["num_samples"] = self.val_samples.compute()
        self.val_samples.reset()
        return figures

    def _describe(self, pairs: Tensor, batch: Batch) -> list[str]:
        ids, decode = batch["input_ids"], self._tokenizer("text").preprocess.decode
        mask = batch.get("attention_mask", torch.ones_like(ids)).bool()
        texts = [decode(row[real].tolist()) for row, real in zip(ids, mask, strict=True)]
        text = self.fields.index("text")
        best = (pairs[:NUM_SHOWN, 1 - text] @ pairs[:, text].T).max(1)
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [f"{texts[row]} -> {texts[guess]} ({score:.2f})" for row, (score, guess) in enumerate(found)]
