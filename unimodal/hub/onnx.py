"""model.onnx, which onnxruntime runs without torch and without code of ours."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unimodal.hub.fourier import Fourier
from unimodal.hub.labels import label_settings, special_ids
from unimodal.hub.portable.inputs import make_batch
from unimodal.hub.processors.writing import PLAIN, VIDEO, write_processors
from unimodal.hub.trained import Trained
from unimodal.types import Batch

MODEL = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")
BATCH, LENGTH = "batch", "length"


@dataclass(frozen=True)
class Inputs:
    """What the graph is given, exactly as the stock processor beside it gives it.

    Attributes:
        examples: by name; two rows, because an axis of one is taken for a fixed one.
        lengths: whether the second axis varies too.
        max_samples: longer waveforms are cut within the graph, as in training.
    """

    examples: dict[str, Tensor]
    lengths: bool = False
    max_samples: int | None = None

    def lines(self) -> list[str]:
        """Name, type and shape of each, for a reader."""
        return [f"{name}: {_kind(tensor)} {self._shape(tensor)}" for name, tensor in self.examples.items()]

    def _shape(self, tensor: Tensor) -> str:
        fixed = tensor.shape[2:] if self.lengths else tensor.shape[1:]
        return f"[{', '.join((BATCH, *([LENGTH] if self.lengths else []), *map(str, fixed)))}]"


def check_installed() -> None:
    """Raise where the extra is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(f"format=onnx needs {', '.join(missing)}: pip install 'unimodal[onnx]'")


def inputs_of(field: str, preprocess: Any) -> Inputs:
    """The inputs of a model that reads this field, in the sizes that its `preprocess` names.

    Pixels are uint8: the graph normalises them.
    """
    if field == "text":
        length = max(2, min(8, preprocess.max_len))
        ids = torch.ones(2, length, dtype=torch.int64)
        return Inputs({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, lengths=True)
    if field == "audio":
        longest = round(preprocess.max_seconds * preprocess.sample_rate)
        samples = torch.zeros(2, max(2, longest // 2))
        mask = torch.ones(samples.shape, dtype=torch.int32)  # as Wav2Vec2FeatureExtractor makes it
        return Inputs({"input_values": samples, "attention_mask": mask}, lengths=True, max_samples=longest)
    frame = (3, *preprocess.image_size)
    if field == "video":
        clips = torch.zeros(2, preprocess.num_frames, *frame, dtype=torch.uint8)
        return Inputs({"pixel_values_videos": clips})
    return Inputs({"pixel_values": torch.zeros(2, *frame, dtype=torch.uint8)})


def write_onnx(
    folder: Path,
    trained: Trained,
    inputs: Inputs,
    model: nn.Module,
    answer: Callable[[Batch], Tensor],
    out: str,
) -> None:
    """Write model.onnx, the processor's files, and config.json with the names of the outputs.

    Args:
        folder: exists.
        trained: of one modality.
        inputs: of `inputs_of`.
        model: in evaluation mode, on the CPU, fp32.
        answer: a method of it.
        out: name of the graph's one output.

    Raises:
        ValueError: if torch cannot express the model in ONNX.
    """
    axes = {0: BATCH, 1: LENGTH} if inputs.lengths else {0: BATCH}
    graph = _Graph(model, answer, inputs).eval()
    with _quiet(), torch.no_grad():
        graph(*inputs.examples.values())  # makes the matrices that the trace takes as constants
        try:
            program = torch.onnx.export(
                graph,
                tuple(inputs.examples.values()),
                dynamo=True,
                verbose=False,
                input_names=list(inputs.examples),
                output_names=[out],
                dynamic_shapes=(tuple(axes for _ in inputs.examples),),
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ValueError(f"this model cannot be put into ONNX: {_reason(error)}") from error
        assert program is not None
        _forget_source(program.model)
        program.save(folder / MODEL)  # above 2 GB the weights lie beside it, as model.onnx.data
    write_processors(folder, trained, portable=True)
    _leave_pixels_to_the_graph(folder)
    _write_config(folder, trained)


class _Graph(nn.Module):
    """What is traced: tensors in the order of the examples, to one tensor."""

    def __init__(self, model: nn.Module, answer: Callable[[Batch], Tensor], inputs: Inputs):
        super().__init__()
        self.model, self.answer = model, answer
        self.names, self.max_samples = list(inputs.examples), inputs.max_samples
        self.fourier = Fourier()

    def forward(self, *tensors: Tensor) -> Tensor:
        given = dict(zip(self.names, tensors, strict=True))
        with self.fourier.instead():
            return self.answer(make_batch(**given, max_samples=self.max_samples))


def _forget_source(graph: Any) -> None:
    """Each node tells from which line of which file it came, with the folders of this machine."""
    graph.metadata_props.clear()
    for node in graph.graph.all_nodes():
        node.metadata_props.clear()
    for function in graph.functions.values():
        for node in function.all_nodes():
            node.metadata_props.clear()


def _leave_pixels_to_the_graph(folder: Path) -> None:
    """The processor resizes; what it gives is what the data gave in training."""
    for path in (folder / PLAIN, folder / VIDEO):
        if not path.is_file():
            continue
        values = json.loads(path.read_text(encoding="utf-8"))
        if "image_mean" in values:
            values |= {"do_rescale": False, "do_normalize": False}
            path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_config(folder: Path, trained: Trained) -> None:
    said = label_settings(trained.task)
    if "text" in trained.tokenizers:
        said |= special_ids(trained.tokenizers["text"]["vocabulary"])
    (folder / "config.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _reason(error: BaseException) -> str:
    """The innermost error's first line: torch wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells its own developers a lot."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
