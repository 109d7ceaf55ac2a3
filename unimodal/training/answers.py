"""Writing answers: one row an input, as csv, jsonl, parquet or npy."""

import csv
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unimodal.data.sources.inputs import Inputs
from unimodal.training.mask_files import save_masks

FORMATS = (".csv", ".jsonl", ".parquet")
VECTOR_FORMATS = (".npy", ".parquet", ".jsonl")


def output_path(output: str | None, inputs: Any, embeddings: bool) -> Path:
    """Where to write; checked before anything is computed.

    Raises:
        ValueError: for a format that cannot hold the answers, a missing folder, or the input itself.
    """
    path = Path(output or ("embeddings.npy" if embeddings else "predictions.csv"))
    known = VECTOR_FORMATS if embeddings else FORMATS
    if path.suffix.lower() not in known:
        raise ValueError(f"output={path} must end in {', '.join(known)}.")
    if not path.absolute().parent.is_dir():
        raise ValueError(f"output={path}: there is no folder {path.absolute().parent}.")
    asked = [inputs] if isinstance(inputs, str) else inputs
    if any(Path(one).exists() and path.exists() and path.samefile(one) for one in asked):
        raise ValueError(f"output={path} is the input itself; choose another name.")
    return path


def write(
    path: Path,
    inputs: Inputs,
    answers: Mapping[int, Any],
    errors: Mapping[int, str],
    embeddings: bool,
    cut: Collection[int] = (),
) -> None:
    """One row an input, in their order; those that could not be used have an error instead of an answer.

    Where inputs were cut, a column `is_cut` says which. Masks become files beside it; lists stand in a csv as
    JSON.
    """
    if path.suffix.lower() == ".npy":
        _write_vectors(path, inputs, answers, errors, cut)
        return
    answers = save_masks(path, inputs, answers)
    rows = [
        _row(index, inputs, answers.get(index), errors.get(index, ""), embeddings)
        for index in range(len(inputs))
    ]
    if cut:
        rows = [row | _renamed({"is_cut": index in cut}, row) for index, row in enumerate(rows)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if name != "error"] + (["error"] if errors else [])
    full = [{name: row.get(name) for name in names} for row in rows]
    if path.suffix.lower() == ".parquet":
        pq.write_table(pa.Table.from_pylist(full), path)
    elif path.suffix.lower() == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in full), encoding="utf-8")
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in full)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


def _row(index: int, inputs: Inputs, answer: Any, error: str, embeddings: bool) -> dict[str, Any]:
    row = {name: values[index] for name, values in inputs.columns.items()} or {"input": inputs.names[index]}
    if embeddings:
        row["embedding"] = None if answer is None else answer.tolist()
    else:
        row |= _renamed(answer or {}, row)
    return row | {"error": error}


def _renamed(answer: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """Answers do not overwrite what the table holds."""
    return {f"predicted_{name}" if name in taken else name: value for name, value in answer.items()}


def _write_vectors(
    path: Path,
    inputs: Inputs,
    answers: Mapping[int, Any],
    errors: Mapping[int, str],
    cut: Collection[int],
) -> None:
    """float32 [inputs, dim], NaN for those without an answer; beside it a csv that names the rows."""
    dim = len(next(iter(answers.values()), ()))
    vectors = np.full((len(inputs), dim), np.nan, np.float32)
    for index, answer in answers.items():
        vectors[index] = answer
    np.save(path, vectors, allow_pickle=False)
    _write_names(path.with_suffix(".csv"), inputs.names, errors, cut)


def _write_names(path: Path, names: Sequence[str], errors: Mapping[int, str], cut: Collection[int]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "input", *(["is_cut"] if cut else []), "error"])
        writer.writerows(
            [index, name, *([index in cut] if cut else []), errors.get(index, "")]
            for index, name in enumerate(names)
        )
