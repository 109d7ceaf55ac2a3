"""The model card: what the model is, how to load it, what it was trained on and how well it does."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from unimodal.hub.usage import adapter_usage, graph_usage, pipeline_tag, usage
from unimodal.hub.usage_by_head import BY_HEAD, usage_by_head
from unimodal.hub.usage_files import BY_NAME, RARE, Reading, other_kinds

OTHERWISE = (
    "These kinds of file need the function below; the lines above read them otherwise than training did:"
)
MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")  # what CommonMark and the hub's mathematics could read


@dataclass(frozen=True)
class Verified:
    """What the check after writing found.

    Attributes:
        difference: the largest between the outputs of the run's model and of the folder's, in fp32.
        num_samples: that were compared.
    """

    difference: float
    num_samples: int


@dataclass(frozen=True)
class Card:
    """Plain values; any text may come from a user.

    Attributes:
        title: the model's name.
        modality: image, audio, video or text; of a joint model the one that the task reads.
        task: its class's name, for instance Classification.
        family: of the stock class, for instance vit; None for a portable folder.
        class_name: that loads it with its head, for instance AutoModelForImageClassification.
        parameters: how many.
        backbone: a line about the block and its sizes.
        data: lines about what it was trained on.
        metrics: on held-out data, by name.
        command: that trained it; "" where it is not known.
        verified: against the run.
        notes: what else a user has to know.
        runtime: the package that runs it: transformers, or onnxruntime.
        adapter: whether there is one in the folder `adapter`.
        modalities: all that the model reads.
        num_new: tokens that a language model writes in the lines of Python.
        with_head: whether the model has the head of its task.
        readings: what the lines that read files have to know of the run, by modality.
        checked: sentences on what the check from files found.
    """

    title: str
    modality: str
    task: str
    family: str | None
    class_name: str
    parameters: int
    backbone: str
    data: tuple[str, ...]
    metrics: dict[str, float]
    command: str
    verified: Verified = Verified(math.nan, 0)
    notes: tuple[str, ...] = field(default=())
    runtime: str = "transformers"
    adapter: bool = False
    modalities: tuple[str, ...] = ()
    num_new: int = 64
    with_head: bool = True
    readings: Mapping[str, Reading] = field(default_factory=dict)
    checked: tuple[str, ...] = field(default=())

    @property
    def reading(self) -> Reading:
        """Return what the lines have to know to read a file of the card's modality."""
        return self.readings.get(self.modality, Reading())

    @property
    def asked(self) -> str:
        """The task that the model can be asked for; "" without its head."""
        return self.task if self.with_head else ""

    @property
    def blocks(self) -> tuple[str, ...]:
        """The lines of Python that load the model and ask it something; those of an adapter come first."""
        if not self.adapter:
            return (_code(self),)
        return adapter_usage(self.title, self.class_name, self.family is not None), _code(self)


def write_card(folder: Path, card: Card) -> None:
    """`README.md`, with the header that the Hugging Face hub reads."""
    body = "\n\n".join(part for part in _parts(folder, card) if part)
    ModelCard(f"---\n{_header(folder, card).to_yaml()}\n---\n\n{body}\n").save(folder / "README.md")


def _header(folder: Path, card: Card) -> ModelCardData:
    tag = pipeline_tag(card.asked, card.modality, card.modalities)
    name = next(filter(None, map(_line, card.data)), "the training data")
    results = [
        EvalResult(
            task_type=tag,
            dataset_type=_slug(name),
            dataset_name=name,
            metric_type=_slug(metric),
            metric_name=_line(metric),
            metric_value=value,
        )
        for metric, value in card.metrics.items()
        if math.isfinite(value)
    ]
    return ModelCardData(
        library_name=card.runtime,
        pipeline_tag=tag,
        tags=["unimodal", card.modality, _tag(card), *(["peft", "lora"] if card.adapter else [])],
        model_name=_title(folder, card) if results else None,
        eval_results=results or None,
    )


def _parts(folder: Path, card: Card) -> Iterable[str]:
    *adapted, code = card.blocks
    yield f"# {escaped(_title(folder, card))}"
    size = f"{card.parameters:,} parameters, {escaped(card.backbone)}"
    yield f"{card.task} of {card.modality}: {size}; {_kind(card)}."
    yield "## Use"
    for lines in adapted:
        yield f"The results below are those of the model with its adapter:\n\n{fenced(lines, 'python')}"
        yield "Without the adapter it is the model that was adapted, under the adapted one's head:"
    yield fenced(code, "python")
    yield _files(card)
    yield listed("Notes", card.notes)
    yield listed("Training data", card.data)
    if card.metrics:
        rows = [f"| {escaped(name)} | {value:.6g} |" for name, value in card.metrics.items()]
        yield "\n".join(("## Results on held-out data\n", "| metric | value |", "| --- | --- |", *rows))
    if card.command:
        yield f"## Training\n\n{fenced(card.command, 'sh')}"
    checked = card.verified
    yield (
        f"## Verification\n\nLargest difference to the run's outputs: {checked.difference:.1e} over "
        f"{checked.num_samples} samples, {card.runtime} {version(card.runtime)}, fp32."
    )


def _files(card: Card) -> str:
    """What was found on files, and the kinds of file that need other lines."""
    parts = ["\n".join(f"- {escaped(line)}" for line in card.checked)]
    for modality in card.modalities or (card.modality,):
        if modality == "image" or "pipe(" in card.blocks[-1]:
            parts.append(escaped(BY_NAME.get(modality, "")))
        kinds, lines = other_kinds(modality, card.readings.get(modality, Reading()))
        if kinds:
            named = "\n".join(f"- {escaped(f'{kind.name}: {kind.stock}')}" for kind in kinds)
            parts.append(f"{OTHERWISE}\n\n{named}\n\n{fenced(lines, 'python')}")
        parts.append(escaped(RARE.get(modality, "")))
    body = "\n\n".join(part for part in parts if part)
    return f"## Files\n\n{body}" if body else ""


def _code(card: Card) -> str:
    if card.runtime != "transformers":
        return graph_usage(card.title, card.modality, card.asked, card.num_new, card.reading)
    native = card.family is not None
    if card.asked in BY_HEAD and not native:
        return usage_by_head(card.title, card.task, card.class_name, card.modalities, card.readings)
    return usage(card.title, card.modality, card.asked, card.class_name, native, card.num_new, card.reading)


def _tag(card: Card) -> str:
    if card.runtime == "onnxruntime":
        return "onnx"
    return card.family or "custom_code"


def _kind(card: Card) -> str:
    if card.runtime == "onnxruntime":
        return "model.onnx, which needs no torch"
    if card.family:
        return f"weights of the stock {card.family}, no custom code"
    return "custom code, in this folder"


def listed(heading: str, lines: Iterable[str]) -> str:
    """A section of bullets; nothing for no lines."""
    items = [f"- {escaped(line)}" for line in lines if _line(line)]
    return "\n".join((f"## {heading}\n", *items)) if items else ""


def escaped(text: str) -> str:
    """Any text on one line of markdown, a table's cell included, as it reads."""
    plain = MARKUP.sub(r"\\\1", _line(text))
    return re.sub(r"^(\d+)([.)])|^([-=])", r"\1\\\2\3", plain)  # a list, a rule, an underlined heading


def fenced(code: str, language: str) -> str:
    """A block of code within a fence that no line of it can close."""
    code = "\n".join("".join(c if c.isprintable() else " " for c in line) for line in code.splitlines())
    ticks = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}{language}\n{code.strip()}\n{fence}"


def _title(folder: Path, card: Card) -> str:
    return _line(card.title) or folder.name


def _line(text: str) -> str:
    """White space and what cannot be seen become single spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unknown"
