"""The comparison of a captioner: each token that its folder writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unimodal.hub.card import Verified
from unimodal.tasks.base import Task
from unimodal.training import build
from unimodal.training.export.examples import as_array, captioned, tensors
from unimodal.training.export.verify import PROCESSORS, Loading, ask_clean_process, difference, worst_of
from unimodal.types import Sample

MOST_WRITTEN = 32
CHARACTERS_A_TOKEN = 1 / 4  # that a prompt of bytes has at least: so many fit


def verify_captions(
    folder: Path, loading: Loading, config: build.Config, task: Any, num: int
) -> tuple[Verified, str]:
    """What `generate` writes greedily about held-out samples in a clean process, against the run.

    With the written text before it, the run must give the same logits for each token: then it would have
    written the same.

    Args:
        folder: as it will be.
        loading: how it is loaded.
        config: of the run.
        task: the captioner.
        num: of samples.

    Returns:
        The largest difference, and a note where samples are noise.

    Raises:
        ValueError: if the folder does not load, or the logits or the ids of a prompt differ.
    """
    media = {field: task.preprocess[field] for field in task.asks}
    samples, note = captioned(config, media, num)
    room = int(task.text.preprocess.max_len // 2 * CHARACTERS_A_TOKEN)
    samples = [{**sample, "prompt": sample["prompt"][:room]} for sample in samples]
    answers = ask_clean_process(_request(folder, loading, task, len(samples)), _arrays(samples))
    differences = []
    for index, sample in enumerate(samples):
        ids = torch.from_numpy(answers[f"ids_{index}"])
        expected = _expected(task, sample, media, ids)
        differences.append(difference(expected, torch.from_numpy(answers[f"output_{index}"])))
    return Verified(worst_of(differences), len(samples)), note


def _request(folder: Path, loading: Loading, task: Any, num: int) -> dict[str, Any]:
    fields = {field: PROCESSORS[field] for field in task.model.tokenizers}
    rates = [getattr(one, "sample_rate", None) for one in task.preprocess.values()]
    asked = {
        "kind": "texts",
        "processor_classes": fields,
        "sample_rate": next(filter(None, rates), None),
        "max_new_tokens": min(task.decoding.max_new_tokens, MOST_WRITTEN),
        "num_samples": num,
    }
    return loading.request(folder) | asked


def _arrays(samples: list[Sample]) -> dict[str, np.ndarray]:
    return {
        f"{index}_{field}": np.array(value) if field == "prompt" else as_array(sample, field)
        for index, sample in enumerate(samples)
        for field, value in sample.items()
    }


@torch.no_grad()
def _expected(task: Task, sample: Sample, media: Mapping[str, Any], ids: torch.Tensor) -> torch.Tensor:
    """The run's logits [L, V] of the tokens that were written behind the prompt; int [N] are both."""
    given = task.asked["prompt"]({"prompt": sample["prompt"]})
    start = given["input_ids"]
    if ids[: len(start)].tolist() != start.tolist():
        raise ValueError("the exported tokenizer gives other ids than the run's; please report it.")
    batch = {"input_ids": ids[None, :-1], "num_prompt_tokens": given["num_prompt_tokens"][None]}
    for field, preprocess in media.items():
        batch |= tensors({field: sample[field]}, field, preprocess)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the other side: sums in the same order
    try:
        return task.outputs(batch)[0, len(start) - 1 :].float()
    finally:
        torch.set_num_threads(threads)
