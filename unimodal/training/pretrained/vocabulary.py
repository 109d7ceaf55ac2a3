"""Ids of text mean something only in their vocabulary: the checkpoint's is taken, or rows move by token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer as FastTokenizer
from torch import Tensor

from unimodal.training.build import Config, tokenizer_nodes
from unimodal.training.pretrained.origin import Origin


@dataclass(frozen=True)
class Rows:
    """From the checkpoint's ids to those here.

    Attributes:
        size: of the checkpoint's vocabulary.
        here: ids here of the tokens that both know.
        there: their ids in the checkpoint.
        any_new: some tokens here are new.
    """

    size: int
    here: list[int]
    there: list[int]
    any_new: bool

    def fits(self, known: Tensor) -> bool:
        """Whether a tensor of the checkpoint has a row a token."""
        return known.ndim == 2 and len(known) == self.size

    def move(self, known: Tensor, fresh: Tensor) -> Tensor:
        """The fresh tensor, at the scale of the known one, with the rows of common tokens replaced."""
        scale = known.std() / fresh.detach().std().clamp_min(1e-12)
        moved = fresh.detach() * scale.to(fresh.dtype)
        moved[torch.tensor(self.here)] = known[torch.tensor(self.there)].to(moved.dtype)
        return moved


def take_vocabulary(config: Config, saved: Config) -> tuple[Config, str]:
    """The config with the checkpoint's vocabulary, where it would else be made from the data; and a note.

    A vocabulary that the user named is kept, and so is any with `finetune.resize_vocabulary`.
    """
    node, theirs = _vocabulary(config), _vocabulary(saved)
    if not _is_of_the_data(node) or not theirs or config["finetune"].get("resize_vocabulary"):
        return config, ""
    return _with_vocabulary(config, theirs), f"  vocabulary: the checkpoint's {len(_ids(theirs)):,} tokens"


def make_rows(config: Config, origin: Origin) -> Rows | None:
    """How rows move between two vocabularies; None where they are the same, or one side has none.

    Raises:
        ValueError: if they differ and `finetune.resize_vocabulary` is not set.
    """
    mine, theirs = _vocabulary(config), _vocabulary(origin.config)
    if not mine or not theirs:
        return None
    here, there = _ids(mine), _ids(theirs)
    if here == there:
        return None
    if not config["finetune"].get("resize_vocabulary"):
        raise ValueError(
            f"the vocabulary has {len(here):,} tokens here, {len(there):,} in {origin.name}; "
            "drop tokenizer=... to take the checkpoint's, or set finetune.resize_vocabulary=true "
            "to keep the rows of tokens that both know."
        )
    common = [token for token in here if token in there]
    return Rows(
        size=_text_node(origin.config).get("vocab_size") or 1 + max(there.values()),  # ids may have holes
        here=[here[token] for token in common],
        there=[there[token] for token in common],
        any_new=len(common) < len(here),
    )


def _text_node(config: Config) -> Config:
    return next((node for node in tokenizer_nodes(config) if "vocabulary" in node), {})


def _vocabulary(config: Config) -> Any:
    return _text_node(config).get("vocabulary")


def _with_vocabulary(config: Config, vocabulary: Any) -> Config:
    def changed(node: Config) -> Config:
        return node | {"vocabulary": vocabulary} if "vocabulary" in node else node

    beside = {name: changed(node) for name, node in (config.get("beside") or {}).items()}
    return config | {"tokenizer": changed(config["tokenizer"]), "beside": beside}


def _is_of_the_data(node: Any) -> bool:
    """Whether it is a function that makes a vocabulary, not one that reads what the user named."""
    asks = isinstance(node, Mapping) and node.get("_partial_") is True
    return asks and not str(node["_target_"]).endswith(".pretrained_vocabulary")


def _ids(vocabulary: Mapping[str, str]) -> dict[str, int]:
    return FastTokenizer.from_str(vocabulary["tokenizer"]).get_vocab()
