"""`unimodal check-data`: what a data set holds and what is wrong with it, before training."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from unimodal.data.collate import collate
from unimodal.data.contact_sheet import Cell, contact_sheet
from unimodal.data.inspection import Inspected, Inspection, repeated
from unimodal.data.sources.base import Source
from unimodal.data.sources.row_source import RowSource
from unimodal.training import build
from unimodal.training.advice import advise
from unimodal.training.console import progress, say
from unimodal.training.mix import views
from unimodal.training.survey import Survey, class_remarks, count_lines, histogram
from unimodal.types import Sample

SHEET, REPORT = "contact-sheet.png", "report.json"
NUM_CELLS, BATCH, LISTED = 48, 32, 50


def check_data(config: build.Config, output: Path) -> bool:
    """Look at every sample; prints and writes what was found. Returns whether the data can be trained on.

    The sources of joint training are looked at one by one, each into a folder of its own.

    Raises:
        ValueError: if the data cannot even be read.
    """
    if not config.get("mix"):
        return _check(config, output)
    good = True
    for name, view in views(config).items():
        say(f"mix.{name}:")
        good = _check(view, output / name) and good
    return good


def _check(config: build.Config, output: Path) -> bool:
    strict: dict[str, Any] = {"on_bad_sample": "error"} if "on_bad_sample" in config["data"] else {}
    if config["data"].get("folds") and not config["data"].get("fold"):
        strict["fold"] = 1  # the same samples, whichever fold is validated
    source = build.make_source(config | {"data": config["data"] | strict})
    survey = Survey()
    if isinstance(source, RowSource):
        survey.notes = source.notes
        survey.errors, source.problems = source.problems, []  # listed here, so in nobody's way any more
        source.on_bad_sample, source.max_skipped = "skip", 1.0
    for line in source.describe():
        say(line)
    tokenizer, masks = _tokenizer(config, source, survey)
    preprocess = {tokenizer.preprocess.field: tokenizer.preprocess}
    found, labels, cells = _inspect(config, source, tokenizer, preprocess | masks, survey)
    leaks, contradictions, repetitions = repeated(found, labels)
    survey.warnings += [*contradictions, *leaks, *class_remarks(survey.counts), *repetitions]
    survey.advice += source.hints()
    survey.advice += advise(survey.sizes, survey.tokens, preprocess, config["tokenizer"])
    _check_size(config, survey)
    output.mkdir(parents=True, exist_ok=True)
    if cells:
        heading = f"{survey.samples.total():,} samples, as the model will see them"
        contact_sheet(cells, heading).save(output / SHEET)
    (output / REPORT).write_text(json.dumps(survey.as_dict(), indent=2) + "\n", encoding="utf-8")
    _report(survey, output, bool(cells))
    return not survey.errors


def _tokenizer(config: build.Config, source: Source, survey: Survey) -> tuple[Any, dict[str, Any]]:
    """The tokenizer, and how masks are read; a task that does not fit the data is an error like any other."""
    try:
        complete = build.complete(config, source)
        task, field = build.make_task(complete), build.make(complete["tokenizer"]).preprocess.field
        return task.model.tokenizers[field], {k: p for k, p in task.preprocess.items() if k == "mask"}
    except ValueError as error:
        tokenizer = build.make(build.complete(config | {"task": {}}, source)["tokenizer"])
        survey.errors.append(str(error))
        return tokenizer, {}


def _inspect(
    config: build.Config, source: Source, tokenizer: Any, preprocess: Mapping[str, Any], survey: Survey
) -> tuple[list[Inspected], list[Any], list[Cell]]:
    """Every sample once; returns those that can be used, their labels, and some to draw."""
    inspection = Inspection(source, preprocess)
    a_class = NUM_CELLS // max(min(len(source.class_names), NUM_CELLS), 1)
    found, labels, batch = list[Inspected](), list[Any](), list[Any]()
    shown: dict[str, list[Cell]] = defaultdict(list)
    for one in _watched(inspection, config["loader"]["num_workers"]):
        label = None if one.fitted is None else one.fitted.get("label")
        classes = _classes(label, source)
        survey.add(one, classes)
        if one.fitted is None:
            continue
        found.append(replace(one, fitted=None))
        labels.append(classes or (None if label is None else torch.as_tensor(label).tolist()))
        if len(shown[str(classes)]) < a_class:
            shown[str(classes)].append(Cell(one.fitted, _title(classes, label, source), Path(one.where).name))
        batch.append(one.fitted)
        if len(batch) == BATCH:
            survey.tokens += _count_tokens(tokenizer, batch)
            batch = []
    survey.tokens += _count_tokens(tokenizer, batch) if batch else []
    return found, labels, list(_in_turn(shown))[:NUM_CELLS]


def _watched(inspection: Inspection, num_workers: int) -> Iterator[Inspected]:
    with progress(len(inspection), "samples") as advance:
        for one in inspection.all(num_workers):
            yield one
            advance(1)


@torch.no_grad()
def _count_tokens(tokenizer: Any, samples: Sequence[Sample]) -> list[int]:
    """Of each sample; of a text all, also those that `max_len` cuts."""
    preprocess = tokenizer.preprocess
    if preprocess.field == "text":
        return [len(preprocess.encode(sample["text"]).ids) for sample in samples]
    return tokenizer(collate([preprocess(sample) for sample in samples])).mask.sum(1).tolist()


def _classes(label: Any, source: Source) -> list[str]:
    if label is None or not source.class_names:
        return []
    if source.multilabel:
        return [source.class_names[i] for i in torch.as_tensor(label).nonzero()[:, 0].tolist()]
    return [source.class_names[int(label)]]


def _title(classes: Sequence[str], label: Any, source: Source) -> str:
    if classes:
        return ", ".join(classes)
    if label is None or source.class_names:
        return ""
    numbers = torch.as_tensor(label).tolist()
    return ", ".join(f"{name} {value:.4g}" for name, value in zip(source.target_names, numbers, strict=True))


def _in_turn(shown: Mapping[Any, list[Cell]]) -> Iterator[Cell]:
    """Class by class, so that a row of the sheet compares samples of one."""
    for key in sorted(shown):
        yield from shown[key]


def _check_size(config: build.Config, survey: Survey) -> None:
    total, batch_size = survey.samples["train"], config["loader"]["batch_size"]
    windows = config["task"]["_target_"].endswith("LanguageModeling")  # not one example a sample
    if total < batch_size and not windows:
        survey.errors.append(
            f"train has {total} samples, fewer than one batch of {batch_size}; set "
            f"loader.batch_size={max(1, min(16, total // 4))} or less."
        )


def _report(survey: Survey, output: Path, drawn: bool) -> None:
    say("\nsamples that can be used")
    say("\n".join(count_lines(survey.counts, survey.samples)) if survey.counts else "  none")
    say("\nsizes")
    for name, values in survey.sizes.items():
        say("\n".join(histogram(name, values)))
    if survey.tokens:
        say("\n".join(histogram("tokens a sample", survey.tokens)))
    for heading, lines in (
        ("advice", survey.advice),
        ("warnings", survey.warnings),
        ("errors", survey.errors),
    ):
        if lines:
            say(f"\n{len(lines)} {heading if len(lines) > 1 else heading.removesuffix('s')}")
            say("\n".join(f"  {line}" for line in lines[:LISTED]))
            if len(lines) > LISTED:
                say(f"  and {len(lines) - LISTED} more, in {output / REPORT}")
    say(f"\nlook at {output / SHEET}; all of this is in {output / REPORT}" if drawn else "")
    say("the data can be trained on." if not survey.errors else "the data cannot be trained on as it is.")
