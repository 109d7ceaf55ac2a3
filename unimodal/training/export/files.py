"""Held-out samples as they are stored: what a clean process is asked about in files, and what it says."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import torch
from PIL import Image

from unimodal.data.decoding.audio import decode_audio
from unimodal.data.decoding.encoded import BadSample, Encoded
from unimodal.data.decoding.forms import as_clip, as_picture, as_sound, encoded, is_decoder
from unimodal.data.decoding.images import decode_image
from unimodal.data.decoding.texts import decode_text
from unimodal.data.decoding.videos import decode_video
from unimodal.hub.trained import CLASSIFICATION, REGRESSION
from unimodal.hub.usage import STEPS
from unimodal.hub.usage_files import Reading
from unimodal.hub.usage_inputs import INPUTS
from unimodal.tasks.base import Task
from unimodal.training import build
from unimodal.training.export.examples import plain_text, tensors
from unimodal.training.export.kinds import kind_of
from unimodal.types import Sample

METRIC_SECONDS = 120  # after which a clean process predicts no more files
NUM_SCANNED = 200  # held-out files, at least, of which the kind is looked at
PLAIN = "decoded samples"  # the kind of what is in no file


@dataclass(frozen=True)
class HeldOut:
    """A held-out sample.

    Attributes:
        field: its modality.
        value: its path, or the text.
        kind: the format of the file, and what is special about it.
        sample: as the run reads it.
        label: of it; None where it has none.
    """

    field: str
    value: str
    kind: tuple[str, ...]
    sample: Sample
    label: Any = None


def held_out(
    config: build.Config, field: str, preprocess: Any, reading: Reading, num: int, folder: Path
) -> list[HeldOut]:
    """Up to `num` samples of the run's held-out data, evenly spread over it, the first of each kind in front.

    Args:
        config: of the run.
        field: of the modality.
        preprocess: of its tokenizer.
        reading: what the model reads.
        num: at most.
        folder: where what is in no file is written to one, without loss.

    Returns:
        None of them where the data is gone.
    """
    try:
        rows = build.make_source(config).split("val")
        indices = np.unique(np.linspace(0, len(rows) - 1, min(num, len(rows))).astype(int))
        found = list(_held_out(rows, indices.tolist(), field, preprocess, reading, folder))
    except (ValueError, OSError):
        return []
    seen: dict[tuple[str, ...], int] = {}
    turns = []  # of each the number among its kind
    for one in found:
        turns.append(seen.get(one.kind, 0))
        seen[one.kind] = turns[-1] + 1
    return [found[i] for i in sorted(range(len(found)), key=lambda i: turns[i])]


def _held_out(
    rows: Any, indices: Sequence[int], field: str, preprocess: Any, reading: Reading, folder: Path
) -> Iterator[HeldOut]:
    for index in indices:
        with suppress(BadSample):  # which training leaves out as well, or reports
            row = rows[index]
            part = next((part for part in row.get("parts", [row]) if field in part), None)
            if part is not None:
                one = stored(field, part[field], preprocess, reading, folder / f"{field}_{index}")
                yield replace(one, label=None if "parts" in row else row.get("label"))


def stored(field: str, value: Any, preprocess: Any, reading: Reading, path: Path) -> HeldOut:
    """A sample in a file of its own; `path` is where it is written if it is in none.

    Raises:
        BadSample: if it cannot be read.
    """
    if field == "text":
        text = plain_text(decode_text(value), preprocess)
        return HeldOut(field, text, ("text",), {"text": text})
    if _is_decoded(field, value):
        write_decoded(field, value, path)
        return HeldOut(field, str(path.resolve()), (PLAIN,), {field: value})
    source = encoded(value)
    kind = kind_of(field, source, reading)
    if source.data is not None:
        path.write_bytes(source.data)
    where = path if source.path is None or source.data is not None else Path(source.path)
    return HeldOut(field, str(where.resolve()), kind, {field: source})


def _is_decoded(field: str, value: Any) -> bool:
    if field == "video":
        return is_decoder(value, "get_frames_played_at") or as_clip(value) is not None
    if isinstance(value, Encoded):
        return False
    return (as_picture(value) if field == "image" else as_sound(value)) is not None


def write_decoded(field: str, value: Any, path: Path) -> None:
    """Write a decoded sample to a file from which the same values are read: PNG, WAV of floats, FFV1."""
    if field == "image":
        Image.fromarray(decode_image(value).permute(1, 2, 0).numpy()).save(path, "PNG")
    elif field == "audio":
        samples, rate = decode_audio(value)
        soundfile.write(path, samples.numpy(), rate, "FLOAT", format="WAV")
    else:
        clip = as_clip(value)
        frames = decode_video(value, 1) if clip is None else clip
        with av.open(str(path), "w", format="matroska") as file:
            height, width = frames.shape[-2:]
            stream = file.add_stream("ffv1", rate=10, width=width, height=height, pix_fmt="bgr0")
            for pixels in frames.permute(0, 2, 3, 1).contiguous().numpy():
                file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            file.mux(stream.encode())


def request_of(
    files: Sequence[HeldOut], task: Task, num_whole: int, with_head: bool, writes: bool
) -> dict[str, Any]:
    """What a clean process has to know to ask about these files.

    Args:
        files: in order.
        task: of the run, with its head; the pipeline is asked for all of its classes or numbers.
        num_whole: the first ones, of which outputs are compared; of the others the pipeline's answer alone.
        with_head: whether the folder's model has the head.
        writes: whether the folder's answer is a text.
    """
    given = {field: one.given for field, one in INPUTS.items()}
    return {
        "files": [
            {
                "field": one.field,
                "value": one.value,
                "given": given[one.field],
                "has_name": one.field != "text" and one.kind != (PLAIN,),
            }
            for one in files
        ],
        "num_whole": num_whole,
        "metric_seconds": METRIC_SECONDS,
        "marker": STEPS,
        "top_k": len(names_of(task)) if with_head else 0,
        "writes": writes,
    }


def is_a(task: Task, name: str) -> bool:
    """Return whether a task is of the class of this name, one of `hub.trained`, or of a subclass."""
    return any(f"{one.__module__}.{one.__name__}" == name for one in type(task).__mro__)


def names_of(task: Any) -> list[str]:
    """Of a classification's classes or a regression's numbers; none of other tasks."""
    if is_a(task, CLASSIFICATION):
        return task.class_names
    return task.target_names if is_a(task, REGRESSION) else []


@torch.no_grad()
def expected(task: Task, one: HeldOut, preprocess: Any, with_head: bool) -> torch.Tensor:
    """The run's outputs for a file, read as `predict` reads it."""
    batch = tensors(one.sample, one.field, preprocess)
    return (task.outputs(batch) if with_head else task.encode(batch).embeds)[0].float()


def meaning(task: Any, outputs: torch.Tensor) -> torch.Tensor:
    """Probabilities of classes; else the outputs as they are."""
    return task.probabilities(outputs) if is_a(task, CLASSIFICATION) else outputs


def said_of(answers: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """What a clean process said of the files beside outputs."""
    return json.loads(str(answers["said"])) if "said" in answers else []


def scores(task: Task, answer: Sequence[Mapping[str, Any]]) -> torch.Tensor | None:
    """A pipeline's answer in the order of the task's classes or numbers; None where it lacks one."""
    by_label = {one["label"]: one["score"] for one in answer}
    names = names_of(task)
    return torch.tensor([by_label[name] for name in names]) if set(names) <= set(by_label) else None
