"""`unimodal export`: from a run to a folder that Hugging Face transformers loads."""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import numpy as np
from transformers.utils import logging as transformers_logging

from unimodal.hub.adapter import ADAPTER
from unimodal.hub.card import Verified, write_card
from unimodal.hub.native.fit import Fit, best_fit, fit
from unimodal.hub.native.writing import write_native
from unimodal.hub.onnx import MODEL
from unimodal.hub.portable.auto import OF_FIELD, OF_TASK
from unimodal.hub.portable.write import write_portable
from unimodal.hub.processors.text import check_text
from unimodal.hub.processors.writing import write_processors, writes_text
from unimodal.hub.push import push
from unimodal.hub.trained import CAPTIONING, CONTRASTIVE, LANGUAGE_MODELING, Trained
from unimodal.training import build
from unimodal.training.console import say, table
from unimodal.training.export.adapter import put_adapter, with_adapter
from unimodal.training.export.asking import NO_LINES, CardLines, Loading
from unimodal.training.export.description import describe, verified_card
from unimodal.training.export.examples import examples
from unimodal.training.export.file_check import FileCheck
from unimodal.training.export.onnx import check_graph, write_graph
from unimodal.training.export.prompts import Prompts, verify_captions
from unimodal.training.export.refusals import check_numbers, check_task
from unimodal.training.export.run import Run, read_run
from unimodal.training.export.verify import units, verify

CHECKED_CHARACTERS = 200  # of each text: whether both tokenizers cut it alike


def export(config: build.Config, config_dirs: Iterable[Path] = ()) -> Path:
    """Write the folder that `config` (export.yaml) asks for; returns it.

    Nothing is at `output` before the folder has been loaded in a clean process and found equal to the run.

    Raises:
        ValueError: if the run does not fit the format, the outputs differ, or there is something at `output`.
    """
    logging.getLogger().setLevel(logging.WARNING)  # what libraries say of their own files
    transformers_logging.set_verbosity_error()
    missing = next((key for key in ("checkpoint", "output") if config[key] == "???"), None)
    if missing:
        raise ValueError(f"{missing} is not set: unimodal export checkpoint=RUN output=DIR")
    _check_counts(config)
    output = Path(config["output"]).expanduser().absolute()
    if output.exists():
        raise ValueError(f"output={config['output']} exists already; name a new folder, or remove it.")
    if config["format"] == "onnx":
        check_graph(config["adapter"])
    run = read_run(config, config_dirs)
    check_task(config, run.trained.task["_target_"])
    check_numbers(config, run.trained.task)
    fitted, why = choose(config, run.trained, run.field)
    if fitted is None and not config["head"] and config["format"] != "onnx":
        reason = f", and none fits: {why}" if why else "."
        raise ValueError(
            f"head=false is for stock classes{reason} A portable folder keeps its head; "
            "AutoModel loads it without."
        )
    if fitted and run.adapter and config["format"] == "auto":
        fitted, why = with_adapter(run.adapter, run.trained, fitted)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        rows = _write(config, run, fitted, partial, output.name)
        partial.chmod(0o755)
        partial.rename(output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if why:
        say(f"no stock class fits: {why}")
    say(table({"folder": config["output"], **rows}))
    if config["push"]:
        say(f"pushed to {push(output, config['push'], config['private'])}")
    return output


def _check_counts(config: build.Config) -> None:
    if config["num_samples"] < 1:
        raise ValueError(
            f"num_samples={config['num_samples']} must be at least 1: nothing is left unchecked."
        )
    if config["num_metric_samples"] < 0:
        raise ValueError(
            f"num_metric_samples={config['num_metric_samples']} must be 0 or more; 0 leaves the metric out."
        )


def choose(config: build.Config, trained: Trained, field: str) -> tuple[Fit | None, str]:
    """The stock class that `format` asks for, None for a portable folder; and why `auto` found none."""
    portable_only = config["format"] == "auto" and config["head"] and trained.task["_target_"] in OF_TASK
    if config["format"] == "portable" or portable_only:
        return None, ""
    if len(trained.tokenizers) > 1:
        several = (
            f"a stock class reads one modality; choose one of {', '.join(trained.tokenizers)} as modality="
        )
        if config["format"] == "auto":
            return None, several
        raise ValueError(several)
    if config["format"] == "onnx":
        return None, ""
    if config["format"] == "auto":
        return best_fit(trained, field, config["head"])
    return fit(trained, field, config["format"], config["head"]), ""


def _write(config: build.Config, run: Run, fitted: Fit | None, folder: Path, name: str) -> dict[str, Any]:
    """All files, verified; returns what the user is told."""
    loading = _files(config, run, fitted, folder, name)
    preprocess = {field: tokenizer.preprocess for field, tokenizer in _tokenizers(run).items()}
    with TemporaryDirectory() as place:
        check = FileCheck.of_run(config, run, loading, preprocess, Path(place))
        card = describe(run, fitted, loading, name, check.readings)
        lines = CardLines(name, card.blocks, preprocess, check.request())
        verified, note, answers = _verified(config, run, fitted, folder, loading, lines)
        checked = check.report(answers).lines
    write_card(folder, verified_card(card, verified, note, checked))
    compared = f"{verified.difference:.1e} at most, over {verified.num_samples} samples in a clean process"
    return {
        "format": _kind(fitted, loading),
        "difference": compared + (f" ({note})" if note else ""),
        **checked,
        "load it": _load(config["output"], loading),
    }


def _verified(
    config: build.Config, run: Run, fitted: Fit | None, folder: Path, loading: Loading, card: CardLines
) -> tuple[Verified, str, Mapping[str, np.ndarray]]:
    """The comparison, of each modality by itself; what else is to be said of it; and what the lines gave."""
    target = run.trained.task["_target_"]
    if target == CAPTIONING and loading.with_head:
        return verify_captions(folder, loading, run.saved, run.task, config["num_samples"], card)
    writes = target == LANGUAGE_MODELING and loading.with_head and not loading.graph
    differences, num_samples, notes, given = [], 0, "", dict[str, np.ndarray]()
    for field, tokenizer in _tokenizers(run).items():
        samples, note = examples(run.saved, field, tokenizer.preprocess, config["num_samples"])
        texts = [sample["text"] for sample in samples if sample.get("text")]
        if fitted and field == "text":
            cut = [text[:CHECKED_CHARACTERS] for text in texts]
            check_text(folder, run.trained.tokenizers["text"], writes_text(run.trained), cut)
        prompts = Prompts.of_texts(run.task, texts or ["a"]) if writes and field == "text" else None
        method = f"get_{field}_features" if target == CONTRASTIVE and loading.with_head else ""
        asked = replace(loading, field=field, method=method)
        scale = units(run.saved["task"])
        worst, answers = verify(folder, asked, run.task, samples, scale, prompts, card)
        differences.append(worst)
        given |= answers if card.blocks else {}
        num_samples, notes, card = num_samples + len(samples), note or notes, NO_LINES
    return Verified(max(differences), num_samples), notes, given


def _tokenizers(run: Run) -> dict[str, Any]:
    """Of the modalities that are exported."""
    return {field: run.task.model.tokenizers[field] for field in run.trained.tokenizers}


def _files(config: build.Config, run: Run, fitted: Fit | None, folder: Path, name: str) -> Loading:
    """Everything but the card."""
    if config["format"] == "onnx":
        return write_graph(folder, run.task, run.trained, run.field, config["head"])
    if fitted is None:
        write_portable(folder, run.trained)
        write_processors(folder, run.trained, portable=True)
    else:
        write_native(folder, run.trained, fitted)
    loading = loading_of(fitted, folder, run.field)
    if run.adapter is None:
        return loading
    put_adapter(folder, run.adapter, run.trained, fitted, config["push"] or name)
    return replace(loading, adapter=True)


def _kind(fitted: Fit | None, loading: Loading) -> str:
    if loading.graph:
        return "onnx"
    kind = f"{fitted.head.stock}, no code of ours" if fitted else f"portable, {loading.model_class}"
    return f"{kind}; its adapter in {ADAPTER}" if loading.adapter else kind


def _load(output: str, loading: Loading) -> str:
    if loading.graph:
        return f'onnxruntime.InferenceSession("{output}/{MODEL}")'
    trust = ", trust_remote_code=True" if loading.trust_remote_code else ""
    load = f'{loading.model_class}.from_pretrained("{output}"{trust})'
    return f'PeftModel.from_pretrained({load}, "{output}/{ADAPTER}")' if loading.adapter else load


def loading_of(fitted: Fit | None, folder: Path, field: str) -> Loading:
    """The class that loads the folder."""
    if fitted:
        stock = fitted.head
        return Loading(stock.stock, False, field, bool(stock.tasks), expected_missing=stock.missing)
    auto = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auto_map"]
    wanted = ("AutoModelForCausalLM", *OF_TASK.values(), OF_FIELD[field])
    head = next((name for name in wanted if name in auto), None)
    return Loading(head or "AutoModel", True, field, head is not None)
