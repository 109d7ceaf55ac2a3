"""The comparison of a written folder with the run: in a process that has never heard of unimodal."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from unimodal.hub.adapter import ADAPTER
from unimodal.hub.trained import Node
from unimodal.tasks.base import Task
from unimodal.training.export import clean_process
from unimodal.training.export.examples import as_array, tensors
from unimodal.types import Sample

TOLERANCE = 1e-4  # of any output, in fp32; of a regression's numbers, as a share of their size
PROCESSORS = {
    "image": "AutoImageProcessor",
    "video": "AutoVideoProcessor",
    "audio": "AutoFeatureExtractor",
    "text": "AutoTokenizer",
}


@dataclass(frozen=True)
class Loading:
    """How a folder is loaded.

    Attributes:
        model_class: of transformers.
        trust_remote_code: whether the folder's own code runs.
        field: which modality is compared.
        with_head: whether the head's outputs are compared, else the tokens.
        method: of the model, which is asked for vectors; "": the model itself.
        adapter: whether the folder's adapter is put on the model.
        graph: model.onnx is asked, and once more for all samples together; `model_class` says nothing.
        expected_missing: tensors that the class makes anew.
    """

    model_class: str
    trust_remote_code: bool
    field: str
    with_head: bool
    method: str = ""
    adapter: bool = False
    graph: bool = False
    expected_missing: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """What is compared."""
        return "pooler_output" if self.method else "logits" if self.with_head else "last_hidden_state"

    def request(self, folder: Path) -> dict[str, Any]:
        """What a clean process has to know to load the folder."""
        return {
            "folder": str(folder.resolve()),
            "model_class": self.model_class,
            "trust_remote_code": self.trust_remote_code,
            "adapter": str(folder.resolve() / ADAPTER) if self.adapter else "",
            "graph": self.graph,
            "expected_missing": self.expected_missing,
        }


def units(node: Node) -> list[float]:
    """What the outputs of a task are measured in: the numbers of a regression are as large as the data's."""
    scale = zip(node.get("target_mean", [0.0]), node.get("target_std", [1.0]), strict=True)
    return [max(abs(mean), std) for mean, std in scale]


def verify(
    folder: Path, loading: Loading, task: Task, samples: Sequence[Sample], scale: Sequence[float] = (1.0,)
) -> float:
    """The largest difference between any output of the folder's model and the run's.

    Each sample goes through the folder's own processor there and through ours here.

    Args:
        folder: as it will be.
        loading: how it is loaded.
        task: the run's.
        samples: that both are asked about.
        scale: `units` of the head's outputs.

    Returns:
        The difference over `scale`.

    Raises:
        ValueError: if the folder does not load, or an output differs by more than `TOLERANCE`.
    """
    answers = _ask(folder, loading, task, samples)
    preprocess = _preprocess(task, loading.field)
    differences: list[float] = []
    for index, sample in enumerate(samples):
        batch = tensors(sample, loading.field, preprocess)
        if f"ids_{index}" in answers:
            batch = _same_text(batch, torch.from_numpy(answers[f"ids_{index}"])[None], task)
        expected = _outputs(task, batch, loading.with_head)
        there = [answers[name] for name in (f"output_{index}", f"together_{index}") if name in answers]
        unit = torch.tensor(scale) if loading.with_head else torch.ones(1)
        differences += [difference(expected / unit, torch.from_numpy(one) / unit) for one in there]
    return worst_of(differences)


def worst_of(differences: Sequence[float]) -> float:
    """The largest; raises ValueError where it is more than rounding."""
    worst = float(torch.tensor(differences).max())  # which keeps a nan, as Python's own max does not
    if not worst <= TOLERANCE:  # nan is no equality
        raise ValueError(
            f"the exported model's outputs differ by up to {worst:.2g} from the run's (at most {TOLERANCE:g} "
            f"may be rounding), so no folder is left. This is a fault of unimodal: please report it."
        )
    return worst


def difference(expected: torch.Tensor, there: torch.Tensor) -> float:
    """The largest of all; raises ValueError for another shape."""
    if expected.shape != there.shape:
        raise ValueError(
            f"the exported model gives {tuple(there.shape)} values, not {tuple(expected.shape)}."
        )
    return float((expected - there).abs().max())


def _ask(folder: Path, loading: Loading, task: Task, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    arrays = {f"{i:04d}": as_array(sample, loading.field) for i, sample in enumerate(samples)}
    asked = {
        "kind": "outputs",
        "processor_class": PROCESSORS[loading.field],
        "field": loading.field,
        "sample_rate": getattr(_preprocess(task, loading.field), "sample_rate", None),
        "method": loading.method,
        "output": loading.output,
    }
    return ask_clean_process(loading.request(folder) | asked, arrays)


def ask_clean_process(request: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers of a process without unimodal; raises ValueError with its last word if it fails."""
    with TemporaryDirectory() as name:
        place = Path(name)
        np.savez(place / "samples.npz", **arrays)  # type: ignore[arg-type]  # a key is no argument of savez
        request |= {"samples": str(place / "samples.npz"), "answers": str(place / "answers.npz")}
        (place / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-I", str(clean_process.__file__), str(place / "request.json")]
        run = subprocess.run(command, capture_output=True, text=True, env=_environment(place), check=False)
        if run.returncode:
            reason = run.stderr.strip().rpartition("\n")[2]
            raise ValueError(f"the exported folder does not load in a clean process: {reason}")
        with np.load(place / "answers.npz") as answers:
            return dict(answers)


def _environment(place: Path) -> dict[str, str]:
    return os.environ | {"HF_MODULES_CACHE": str(place / "modules"), "HF_HUB_OFFLINE": "1"}


def _preprocess(task: Task, field: str) -> Any:
    tokenizer: Any = task.model.tokenizers[field]
    return tokenizer.preprocess


def _same_text(batch: dict[str, torch.Tensor], ids: torch.Tensor, task: Task) -> dict[str, torch.Tensor]:
    """The ids of the folder's tokenizer; a language model's may begin with the end of the text before."""
    own = batch["input_ids"]
    if task.causal and ids.shape[1] > 1 and not torch.equal(ids, own):
        own = torch.cat((ids[:, :1], own), 1)[:, : ids.shape[1]]
    if not torch.equal(ids, own):
        raise ValueError("the exported tokenizer gives other ids than the run's; please report it.")
    return {"input_ids": ids}


@torch.no_grad()
def _outputs(task: Task, batch: dict[str, torch.Tensor], with_head: bool) -> torch.Tensor:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the other side: sums in the same order
    try:
        return (task.outputs(batch) if with_head else task.encode(batch).embeds)[0].float()
    finally:
        torch.set_num_threads(threads)
