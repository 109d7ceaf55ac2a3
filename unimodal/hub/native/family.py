"""A stock family as a table, read in both directions."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from transformers import CONFIG_MAPPING

from unimodal.hub.native.heads import Head
from unimodal.hub.native.spec import NEUTRAL, Spec
from unimodal.hub.native.tensors import Entry, Fused, Module, Tensors, Vector

Config = dict[str, Any]
SHOWN = 4  # differences in a message
SPECIAL_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
CONSTANTS = ("tokenizer.normalise.", "tokenizer.log_mel.", "tokenizer.fbank.", "tokenizer.mel.")  # buffers


class Misfit(ValueError):
    """The weights do not fit the stock class; the message says why."""


class BlockMisfit(Misfit):
    """The family has the other dialect; `block` is its name."""

    def __init__(self, message: str, block: str):
        super().__init__(message)
        self.block = block


@dataclass(frozen=True)
class Knob:
    """One setting in config.json and here.

    Attributes:
        theirs: its name there.
        ours: its key in the spec.
        read: from the whole config to our value; by default the value as it is.
        write: from the whole spec to theirs; likewise.
    """

    theirs: str
    ours: str
    read: Callable[[Config], Any] | None = None
    write: Callable[[Spec], Any] | None = None


@dataclass(frozen=True)
class Family:
    """What a stock class is in terms of the one block.

    Attributes:
        name: as `format=` calls it.
        model_type: as config.json calls it.
        field: the field of a sample that it reads.
        tokenizer: dotted name of the tokenizer's class.
        knobs: settings that vary.
        fixed: those that do not, by our keys; what is neither is `NEUTRAL`.
        requires: settings of theirs that the block has no other value for.
        layer: the name of layer `{}` there.
        layers: the tensors of a layer, names within it.
        tensors: all others.
        heads: stock classes with a head, and the bare one.
        part: in a config of several models (CLIP, SigLIP) the key of this one's.
        prefix: of its names among several.
        causal: a token sees only what stands before it.
    """

    name: str
    model_type: str
    field: str
    tokenizer: str
    knobs: tuple[Knob, ...]
    layer: str
    layers: tuple[Module | Fused | Vector, ...]
    tensors: tuple[Entry, ...]
    heads: tuple[Head, ...]
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    requires: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    part: str = ""
    prefix: str = ""
    causal: bool = False

    def full(self, config: Mapping[str, Any]) -> Config:
        """A config.json with the stock class's defaults filled in."""
        said: Config = {key: value for key, value in config.items() if key != "model_type"}
        unsaid: Config = dict.fromkeys(SPECIAL_IDS) if "vocab_size" in said else {}  # may be out of range
        return CONFIG_MAPPING[self.model_type](**unsaid | said).to_dict()

    def read_spec(self, config: Mapping[str, Any]) -> Spec:
        """Our shape of a config.json.

        Raises:
            Misfit: if the block has no such model.
        """
        full = self.full(config)
        odd = [key for key, value in self.requires.items() if full.get(key) != value]
        if odd:
            said = ", ".join(f"{key}={full.get(key)}" for key in odd)
            raise Misfit(f"config.json: {said} is none of what the block can do.")
        spec = NEUTRAL | dict(self.fixed)
        for knob in (knob for knob in self.knobs if knob.ours):
            spec[knob.ours] = knob.read(full) if knob.read else full[knob.theirs]
        return spec

    def write_config(self, spec: Spec) -> Config:
        """The config.json of our shape, without its head.

        Raises:
            Misfit: if the stock class has no such model.
        """
        config = {k.theirs: k.write(spec) if k.write else spec[k.ours] for k in self.knobs if k.theirs}
        config |= dict(self.requires)
        try:
            back = self.read_spec(config)
        except Exception as error:  # whatever a stock config's own checks raise
            raise Misfit(f"{self.name} cannot be so: {' '.join(str(error).split())}") from error
        self._check_same(spec, back)
        return {"model_type": self.model_type} | config

    def read_tensors(self, disk: Tensors, spec: Spec, head: Head) -> dict[str, Tensor]:
        """Our tensors as `blocks.0...`, `norm...`, `tokenizer...`, `head...`."""
        theirs = self._stripped(disk)
        ours: dict[str, Tensor] = {}
        for entry in self._entries(spec["depth"], head):
            ours |= entry.read(theirs, spec)
        return ours

    def write_tensors(self, ours: Tensors, spec: Spec, head: Head) -> dict[str, Tensor]:
        """Their tensors, under the names that the stock class has on the disk.

        Raises:
            Misfit: if one of ours has no place there.
        """
        written: dict[str, Tensor] = {}
        for entry in self._entries(spec["depth"], None):
            written |= {f"{head.prefix}{name}": t for name, t in entry.write(ours, spec).items()}
        for entry in head.entries:
            written |= entry.write(ours, spec)
        back = self.read_tensors(written, spec, head)
        lost = [name for name in ours if name not in back and not name.startswith(CONSTANTS)]
        if lost:
            raise Misfit(f"{head.stock} has no place for {', '.join(lost[:3])} ({len(lost)} tensors).")
        return written

    def _entries(self, depth: int, head: Head | None) -> list[Entry]:
        layers = [
            _placed(entry, self.layer.format(i), f"blocks.{i}.")
            for i in range(depth)
            for entry in self.layers
        ]
        return [*layers, *self.tensors, *(head.entries if head else ())]

    def _stripped(self, disk: Tensors) -> Tensors:
        """Names without the prefix that a class with a head puts before them."""
        anchor = self.layer.format(0)
        found = {name.partition(anchor)[0] for name in disk if anchor in name}
        if not found:
            raise Misfit(f"its tensors have no {anchor}*, which {self.name} has.")
        prefix = self.prefix if self.prefix in found else min(found, key=len)
        return {name.removeprefix(prefix): tensor for name, tensor in disk.items()}

    def _check_same(self, spec: Spec, back: Spec) -> None:
        keys = [key for key in {**spec, **back} if not _same(key, spec, back)]
        if "norm" in keys:
            block = "classic" if back["norm"] == "layer" else "modern"
            raise BlockMisfit(f"{self.name} is made of other blocks; train with block={block}.", block)
        if keys:
            said = "; ".join(f"{key}={back.get(key)} there, {spec.get(key)} here" for key in keys[:SHOWN])
            more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
            raise Misfit(f"{self.name} is another model: {said}{more}.")


def _same(key: str, spec: Spec, back: Spec) -> bool:
    here: Any = spec.get(key)
    there: Any = back.get(key)
    if key == "qkv_bias":  # a key bias changes nothing: zeros are written for it
        return (here[0], here[2]) == (there[0], there[2]) and (there[1] or not here[1])
    if isinstance(here, list | tuple) and isinstance(there, list | tuple):
        return list(here) == list(there)
    return here == there


def _placed(entry: Module | Fused | Vector, theirs: str, ours: str) -> Entry:
    """A layer's entry with the layer's names before its own."""
    if isinstance(entry, Fused):
        return replace(entry, theirs=theirs + entry.theirs, ours=tuple(ours + name for name in entry.ours))
    placed = replace(entry, theirs=theirs + entry.theirs, ours=ours + entry.ours)
    if isinstance(placed, Module) and placed.bias_name:
        return replace(placed, bias_name=theirs + placed.bias_name)
    return placed
