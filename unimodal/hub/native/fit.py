"""Whether a trained model is one of a stock family, and of which of its classes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unimodal.hub.native import families
from unimodal.hub.native.family import BlockMisfit, Family, Misfit
from unimodal.hub.native.heads import POOLED, Head, settings
from unimodal.hub.native.spec import Spec, to_spec
from unimodal.hub.processors.arguments import arguments
from unimodal.hub.trained import LANGUAGE_MODELING, REGRESSION, Trained
from unimodal.suggestions import nearest


class HeadMisfit(Misfit):
    """The family would hold the backbone, but has no class for the head.

    Attributes:
        near: it has one for such a task, with other settings.
    """

    def __init__(self, message: str, near: bool = False):
        super().__init__(message)
        self.near = near


POOLING_OPTIONS = {"first 1": "first", "first 2": "first_two"}
MEND = {  # what to train with, by the setting that a stock class dictates
    "pooling": lambda wanted: f"task/pooling={POOLING_OPTIONS.get(wanted, wanted)}",
    "head_norm": lambda wanted: f"task.head_norm={str(wanted).lower()}",
    "head_norm_eps": lambda wanted: f"task.head_norm_eps={wanted}",
    "head_bias": lambda wanted: f"task.head_bias={str(wanted).lower()}",
    "causal": lambda wanted: f"task.causal={str(wanted).lower()}",
}


@dataclass(frozen=True)
class Fit:
    """A trained model as a stock one.

    Attributes:
        field: of the tokenizer that goes along.
        family: the table.
        head: the stock class.
        spec: the shape.
    """

    field: str
    family: Family
    head: Head
    spec: Spec


def fit(trained: Trained, field: str, name: str, with_head: bool = True) -> Fit:
    """The model as one of the family that `format=` names.

    Raises:
        Misfit: with the reason, if it is none.
        ValueError: if there is no such family.
    """
    family = families().get(name)
    if family is None:
        known = ["auto", "portable", "onnx", *families()]
        hint = nearest(name.lower(), known) or "."
        raise ValueError(f"format={name} is unknown{hint} There are {', '.join(known)}.")
    if family.field != field:
        raise Misfit(f"{name} reads {family.field}; this model reads {field}.")
    node = trained.tokenizers[field]
    if node["_target_"] != family.tokenizer:
        wanted, here = (target.rpartition(".")[2] for target in (family.tokenizer, node["_target_"]))
        mend = "." if field == "text" else f"; train with tokenizer={_option(wanted)}"
        raise Misfit(f"{name} reads its input as {wanted} does; this model has {here}{mend}")
    spec = to_spec(trained.backbone, arguments(node))
    if field == "text":
        rows = len(trained.weights["model.tokenizers.text.embedding.weight"])
        spec |= {"tokenizer.vocab_size": rows, "tied": bool(trained.task.get("tied", False))}
    family.write_config(spec)
    return Fit(field, family, _head(trained, family, spec, with_head), spec)


def best_fit(trained: Trained, field: str, with_head: bool = True) -> tuple[Fit | None, str]:
    """The first family that holds the model; where none does, what the nearest one lacks."""
    reasons: list[Misfit] = []
    for name in families():
        try:
            return fit(trained, field, name, with_head), ""
        except Misfit as misfit:
            reasons.append(misfit)
    nearest_first = min(reasons, key=_distance)
    if isinstance(nearest_first, BlockMisfit):
        return None, f"they are made of other blocks; train with block={nearest_first.block}."
    near = isinstance(nearest_first, HeadMisfit)
    return None, str(nearest_first) if near else "none has these blocks with this tokenizer."


def _distance(misfit: Misfit) -> int:
    """How much would have to be trained otherwise."""
    if isinstance(misfit, HeadMisfit):
        return 0 if misfit.near else 1
    return 2 if isinstance(misfit, BlockMisfit) else 3


def _head(trained: Trained, family: Family, spec: Spec, with_head: bool) -> Head:
    target = trained.task["_target_"]
    bare = next((head for head in family.heads if not head.tasks), None)
    if not with_head:
        if bare is None:
            raise HeadMisfit(f"{family.name} has no class without a head.")
        _check_causal(trained, family)
        return bare
    fitting = [head for head in family.heads if target in head.tasks and head.suits(spec)]
    if not fitting:
        hint = "; head=false exports the backbone without its head" if bare else ""
        task = target.rpartition(".")[2]
        raise HeadMisfit(f"{family.name} has no class with a head like this {task}'s{hint}.")
    reasons = [_why_not(trained, head, spec) for head in fitting]
    if "" not in reasons:
        raise HeadMisfit(reasons[0], near=True)
    return fitting[reasons.index("")]


def _why_not(trained: Trained, head: Head, spec: Spec) -> str:
    """Empty where the task is what the class dictates."""
    if trained.task["_target_"] not in POOLED:
        return ""
    here = settings(trained.task)
    needs = {key: value(spec) if callable(value) else value for key, value in head.needs.items()}
    odd = {key: value for key, value in needs.items() if here[key] != value}
    if odd:
        said = ", ".join(f"{key}={value} ({here[key]} here)" for key, value in odd.items())
        mend: dict[str, Callable[[Any], str]] = MEND
        return f"{head.stock} has {said}; train with {' '.join(mend[k](v) for k, v in odd.items())}"
    if trained.task["_target_"] == REGRESSION and not here["head_bias"]:
        return f"{head.stock} has no bias that could hold the numbers' mean."
    return ""


def _option(tokenizer: str) -> str:
    """The yaml of a tokenizer's class: ImagePatchTokenizer is in image_patch."""
    return re.sub(r"\B(?=[A-Z])", "_", tokenizer.removesuffix("Tokenizer")).lower()


def _check_causal(trained: Trained, family: Family) -> None:
    here = trained.task["_target_"] == LANGUAGE_MODELING or bool(trained.task.get("causal", False))
    if here != family.causal:
        kinds = {True: "what stands before it", False: "every other"}
        raise Misfit(f"in {family.name} a token sees {kinds[family.causal]}, in this model {kinds[here]}.")
