"""The lines of a model card, run in the clean process on made-up media and then on files of the run.

Part of `clean_process.py`, which loads this file by its path; nothing here imports the project.
"""

import ast
import json
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

LOADS = ("from_pretrained(", "pipeline(", "InferenceSession(")  # in assignments that run once


def run_lines(request: dict[str, Any], ask: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Run each block of lines where it finds the folder and the media that it names; then ask about files.

    Args:
        request: with the `lines`, and the `files` about which the last block is asked.
        ask: from the inputs that a processor made to the outputs of the folder's model.
    """
    os.chdir(request["lines_folder"])
    adapted, names, kept = None, dict[str, Any](), Kept()
    for lines in request["lines"]:
        names, kept = {"__name__": "__main__"}, Kept()
        try:
            run(lines, names, kept)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise SystemExit(f"the lines of its model card raise {type(error).__name__}: {reason}") from error
        adapted = names.get("model") if adapted is None and request["adapter"] else adapted
    if not request["lines"] or not request["files"]:
        return {}
    if request["adapter"] and "pipe" in names:  # the last block is that of the model without it
        names["pipe"].model = adapted
    return about_files(request, names, kept, ask)


Kept = dict[str, dict[str, Any]]
"""What statements that load something assigned, by their text."""


def run(lines: str, names: dict[str, Any], kept: Kept) -> None:
    """Run lines; nothing that was loaded before is loaded again."""
    for statement in ast.parse(lines).body:
        text = ast.unparse(statement)
        if text in kept:
            names.update(kept[text])
            continue
        exec(compile(ast.Module([statement], []), "README.md", "exec"), names)
        if isinstance(statement, ast.Assign) and any(word in text for word in LOADS):
            kept[text] = {name: names[name] for name in map(ast.unparse, statement.targets)}


def about_files(request: dict[str, Any], names: dict[str, Any], kept: Kept, ask: Callable) -> dict[str, Any]:
    """What the folder says of each file: `output_N` of the outputs, and `said`, JSON of all else."""
    import numpy as np

    found: list[dict[str, Any]] = []
    answers: dict[str, Any] = {}
    over = time.monotonic() + request["metric_seconds"]
    if "pipe" in names and request["top_k"]:
        pipe = names["pipe"]
        all_scores = {"pipe": lambda *given, **more: pipe(*given, top_k=request["top_k"], **more)}
        kept |= {text: all_scores for text, assigned in kept.items() if "pipe" in assigned}
        names |= all_scores
    for index, file in enumerate(request["files"]):
        if index >= request["num_whole"] and time.monotonic() > over:
            break
        whole = index < request["num_whole"]
        said, output = by_lines(request, names, kept, file, ask, whole)
        if output is not None:
            answers[f"file_{index}"] = output
        found.append(said | by_name(request, names, file))
    return answers | {"said": np.array(json.dumps(found))}


def by_lines(
    request: dict[str, Any],
    names: dict[str, Any],
    kept: Kept,
    file: dict[str, Any],
    ask: Callable,
    whole: bool,
) -> tuple[dict[str, Any], Any]:
    """The card's lines with this file in place of the one that they name; without loading anything again.

    Returns:
        The pipeline's answer, a text or an error; and the outputs, where all lines ran (`whole`).
    """
    printed: list[Any] = []
    names["print"] = lambda *values: printed.extend(values)
    lines = request["lines"][-1].replace(file["given"], repr(file["value"]))
    pipe_only, marker, _ = lines.partition(request["marker"])
    try:
        run(lines if whole or not marker else pipe_only, names, kept)
        output = outputs_of(request, names, file, ask) if whole or not marker else None
    except Exception as error:
        return {"error": reason_of(error)}, None
    piped = printed[0] if marker and printed and isinstance(printed[0], list | dict) else None
    text = printed[-1] if printed and isinstance(printed[-1], str) else None
    return {"piped": piped if request["top_k"] else None, "text": text}, output


def outputs_of(request: dict[str, Any], names: dict[str, Any], file: dict[str, Any], ask: Callable) -> Any:
    """The model's outputs for what the lines made of the file; None of a captioner, which writes a text."""
    if request["writes"]:
        return None
    if request["graph"]:
        return names["logits"][0]
    if request["method"]:
        return names[f"{file['field']}_vectors"][0].detach().numpy()
    return ask(names["inputs"])[0]


def by_name(request: dict[str, Any], names: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """What the pipeline says where it is given the file's name and nothing else; {} where it needs more."""
    has_program = file["field"] != "audio" or shutil.which("ffmpeg")
    if "pipe" not in names or not request["top_k"] or not file["has_name"] or not has_program:
        return {}
    try:
        return {"by_name": names["pipe"](file["value"])}
    except ImportError:  # torchcodec, which the pipeline needs for clips
        return {}
    except Exception as error:
        return {"by_name_error": reason_of(error)}


def reason_of(error: Exception) -> str:
    """An error on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
