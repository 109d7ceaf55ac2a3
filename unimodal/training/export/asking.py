"""A process that has never heard of unimodal, and what it is asked about a written folder."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from unimodal.hub.adapter import ADAPTER
from unimodal.training.export import clean_process
from unimodal.training.export.examples import write_media

TOLERANCE = 1e-4  # of any output, in fp32; of a regression's numbers, as a share of their size
PROCESSORS = {
    "image": "AutoImageProcessor",
    "video": "AutoVideoProcessor",
    "audio": "AutoFeatureExtractor",
    "text": "AutoTokenizer",
}
NOTHING = {"num_samples": 0, "num_prompts": 0, "max_len": None, "method": "", "files": (), "writes": False}
"""What a request asks of a folder unless it says otherwise."""


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
        """Return the name of the output that is compared."""
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


@dataclass(frozen=True)
class CardLines:
    """The lines of Python that a folder's model card prints.

    Attributes:
        name: of the folder, as the lines call it.
        blocks: of lines, each run by itself.
        preprocess: of the run, by modality; the media that the lines read suit it.
        files: what a clean process has to know to ask about files of the run.
    """

    name: str = ""
    blocks: tuple[str, ...] = ()
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)


NO_LINES = CardLines()


def ask_clean_process(
    folder: Path, request: Mapping[str, Any], arrays: Mapping[str, np.ndarray], card: CardLines
) -> dict[str, np.ndarray]:
    """The answers of a process without unimodal, in which the card's lines ran too.

    Raises:
        ValueError: if it fails, with its last word.
    """
    with TemporaryDirectory() as name:
        place = Path(name)
        np.savez(place / "samples.npz", **arrays)  # type: ignore[arg-type]  # a key is no argument of savez
        lines = place / "lines"
        lines.mkdir()
        if card.blocks:
            (lines / card.name).symlink_to(folder.resolve(), target_is_directory=True)
            write_media(lines, card.preprocess)
        paths = {"samples": place / "samples.npz", "answers": place / "answers.npz", "lines_folder": lines}
        whole = {
            **NOTHING,
            **request,
            **card.files,
            "lines": card.blocks,
            **{key: str(path) for key, path in paths.items()},
        }
        (place / "request.json").write_text(json.dumps(whole), encoding="utf-8")
        command = [sys.executable, "-I", str(clean_process.__file__), str(place / "request.json")]
        run = subprocess.run(command, capture_output=True, text=True, env=_environment(place), check=False)
        if run.returncode:
            reason = run.stderr.strip().rpartition("\n")[2]
            raise ValueError(f"the exported folder does not work in a clean process: {reason}")
        with np.load(place / "answers.npz") as answers:
            return dict(answers)


def _environment(place: Path) -> dict[str, str]:
    return os.environ | {"HF_MODULES_CACHE": str(place / "modules"), "HF_HUB_OFFLINE": "1"}


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
