"""How the tensors of a stock class and ours belong together; each entry reads and writes.

Names are those on the disk, without the stock class's prefix on one side, without `model.` on the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unimodal.hub.native.spec import Spec

Tensors = Mapping[str, Tensor]
Shape = Callable[[Spec], Sequence[int]]
SUFFIXES = ("weight", "bias")


class Entry(Protocol):
    """One line of a table."""

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Ours, of those that are there."""

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Theirs."""


@dataclass(frozen=True)
class Module:
    """A layer with `weight` and perhaps `bias` on either side.

    Attributes:
        theirs: its name there.
        ours: its name here.
        bias: `zero` writes a bias of zeros where ours has none: a key bias changes nothing under softmax.
        bias_name: the whole name of their bias, where it is not `theirs` + `.bias`.
    """

    theirs: str
    ours: str
    bias: str = ""
    bias_name: str = ""

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """As it is."""
        found = {
            f"{self.ours}.{s}": theirs[f"{self.theirs}.{s}"]
            for s in SUFFIXES
            if f"{self.theirs}.{s}" in theirs
        }
        if self.bias_name in theirs:
            found[f"{self.ours}.bias"] = theirs[self.bias_name]
        return found

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """As it is."""
        names = {"weight": f"{self.theirs}.weight", "bias": self.bias_name or f"{self.theirs}.bias"}
        written = {names[s]: ours[f"{self.ours}.{s}"] for s in SUFFIXES if f"{self.ours}.{s}" in ours}
        if self.bias == "zero" and spec["qkv_bias"][0] and names["bias"] not in written:
            written[names["bias"]] = torch.zeros(len(ours[f"{self.ours}.weight"]))
        return written


@dataclass(frozen=True)
class Fused:
    """One layer there, several here: their outputs one after another.

    Attributes:
        theirs: its name there.
        ours: their names here.
        transposed: the weight is [in, out] there (GPT-2's Conv1D).
        heads: ours are query, key and value, which may have different numbers of heads; else all are as wide.
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    heads: bool = False

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Cut along the outputs."""
        found: dict[str, Tensor] = {}
        for suffix in SUFFIXES:
            whole = theirs.get(f"{self.theirs}.{suffix}")
            if whole is None:
                continue
            whole = whole.T if self.transposed and whole.ndim == 2 else whole
            parts = whole.split(self._sizes(spec, len(whole)))
            found |= {
                f"{ours}.{suffix}": part.contiguous() for ours, part in zip(self.ours, parts, strict=True)
            }
        return found

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Join along the outputs; a bias that only some of them have is zero in the others."""
        weights = [ours[f"{name}.weight"] for name in self.ours]
        whole = torch.cat(weights)
        written = {f"{self.theirs}.weight": (whole.T if self.transposed else whole).contiguous()}
        if any(f"{name}.bias" in ours for name in self.ours):
            zeros = [torch.zeros(len(weight)) for weight in weights]
            biases = [ours.get(f"{name}.bias", zero) for name, zero in zip(self.ours, zeros, strict=True)]
            written[f"{self.theirs}.bias"] = torch.cat(biases)
        return written

    def _sizes(self, spec: Spec, total: int) -> list[int]:
        if self.heads:
            heads = (spec["num_heads"], spec["num_kv_heads"], spec["num_kv_heads"])
            return [num * spec["head_dim"] for num in heads]
        return [total // len(self.ours)] * len(self.ours)


@dataclass(frozen=True)
class Reshaped:
    """One tensor with other axes, a matrix here.

    Attributes:
        theirs: its whole name there.
        ours: its whole name here.
        shape: its shape there.
        flat: it is [dim, what a patch holds] here, as a linear layer; else a table [rows, dim].
    """

    theirs: str
    ours: str
    shape: Shape
    flat: bool = False

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Our two axes."""
        if self.theirs not in theirs:
            return {}
        shape = (spec["dim"], -1) if self.flat else (-1, spec["dim"])
        return {self.ours: theirs[self.theirs].reshape(shape)}

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Their axes."""
        return {self.theirs: ours[self.ours].reshape(tuple(self.shape(spec)))} if self.ours in ours else {}


@dataclass(frozen=True)
class Vector:
    """One tensor, the same on either side; both names whole."""

    theirs: str
    ours: str

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """As it is."""
        return {self.ours: theirs[self.theirs]} if self.theirs in theirs else {}

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """As it is."""
        return {self.theirs: ours[self.ours]} if self.ours in ours else {}


@dataclass(frozen=True)
class Prefix:
    """Prefix tokens: several tensors there, one table here.

    Attributes:
        theirs: their whole names, in order; each is one token, but the last, which has all that remain.
        ours: the table's name.
        axes: how many axes each has there: 3 is [1, n, dim], 1 is [dim].
    """

    theirs: tuple[str, ...]
    ours: str
    axes: int = 3

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Joined, [n, dim]."""
        rows = [theirs[name].reshape(-1, spec["dim"]) for name in self.theirs if name in theirs]
        return {self.ours: torch.cat(rows)} if rows else {}

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Cut into tokens."""
        table, last = ours[self.ours], len(self.theirs) - 1
        cut = [table[i : i + 1] for i in range(last)] + [table[last:]]
        shaped = [rows[None] if self.axes == 3 else rows[0] for rows in cut]
        return dict(zip(self.theirs, shaped, strict=True))


@dataclass(frozen=True)
class Neutral:
    """A tensor that the stock class wants and we have no use for: not read, written without effect.

    Attributes:
        theirs: its whole name there.
        make: what is written.
    """

    theirs: str
    make: Callable[[Spec], Tensor]

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """The tensor without effect."""
        return {self.theirs: self.make(spec)}


@dataclass(frozen=True)
class TiedHead:
    """The layer that predicts tokens; where it is tied the disk has the embedding only."""

    theirs: str
    embedding: str

    def read(self, theirs: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Its own weight, or the embedding's."""
        known = theirs.get(f"{self.theirs}.weight", theirs.get(f"{self.embedding}.weight"))
        return {} if known is None else {"head.weight": known}

    def write(self, ours: Tensors, spec: Spec) -> dict[str, Tensor]:
        """Its weight, unless tied."""
        return {} if spec["tied"] else {f"{self.theirs}.weight": ours["head.weight"]}
