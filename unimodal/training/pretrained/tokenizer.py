"""Tokenizers: taken where kind and shape agree; learned positions are resized to the grid here."""

from typing import Any

import torch

from unimodal.tasks.base import Task
from unimodal.training.build import Config, make, tokenizer_nodes
from unimodal.training.finetune.base import TOKENIZERS
from unimodal.training.pretrained.backbone import show
from unimodal.training.pretrained.fields import field_of
from unimodal.training.pretrained.positions import resize_positions
from unimodal.training.pretrained.report import Report, short
from unimodal.training.pretrained.vocabulary import Rows

NOT_SETTINGS = ("_target_", "dim", "vocabulary", "num_prefix_tokens", "learned_positions")


def fit_tokenizers(task: Task, config: Config, report: Report, rows: Rows | None) -> None:
    """Take what fits, and say which settings differ."""
    theirs = {field_of(node): node for node in tokenizer_nodes(report.origin.config)}
    tokenizers: dict[str, Any] = dict(task.model.tokenizers.items())
    for (field, tokenizer), here in zip(tokenizers.items(), tokenizer_nodes(config), strict=True):
        prefix = f"{TOKENIZERS}{field}."
        there: Config = theirs.get(field_of(here)) or report.origin.config["tokenizer"]
        known = [name for name in report.origin.weights if name.startswith(prefix)]
        if not known or here["_target_"] != there["_target_"]:
            kinds = " here, ".join(node["_target_"].rpartition(".")[2] for node in (here, there))
            report.new(f"{prefix}*", f"{kinds} there")
            continue
        differ = [k for k in here if k in there and k not in NOT_SETTINGS and here[k] != there[k]]
        if differ:
            said = ", ".join(f"{k}={show(here[k])} ({show(there[k])})" for k in differ)
            report.notes.append(f"  {field} here (there): {said}")
        else:  # constants that the settings say, and what a layer such as BatchNorm counted
            buffers = {f"{prefix}{name}" for name, _ in tokenizer.named_buffers()}
            report.tensors |= {n: t for n, t in report.origin.weights.items() if n in buffers}
        _fit_parameters(tokenizer, there, prefix, report, rows)


def _fit_parameters(tokenizer: Any, there: Config, prefix: str, report: Report, rows: Rows | None) -> None:
    weights = report.origin.weights
    parameters = {f"{prefix}{name}": parameter for name, parameter in tokenizer.named_parameters()}
    buffers = {f"{prefix}{name}" for name, _ in tokenizer.named_buffers()}
    for name, parameter in parameters.items():
        known = weights.get(name)
        if known is None:
            report.new(name, "not in the checkpoint")
        elif name == f"{prefix}position_table":
            _fit_positions(tokenizer, there, name, report)
        elif rows and rows.fits(known):
            report.tensors[name] = rows.move(known, parameter)
            report.partly |= {name} if rows.any_new else set()
            report.notes.append(f"  {short(name)}: {len(rows.here):,} of {len(parameter):,} rows by token")
        elif known.shape == parameter.shape:
            report.tensors[name] = known
        else:
            report.new(name, f"{tuple(parameter.shape)} here, {tuple(known.shape)} there")
    unused = [n for n in weights if n.startswith(prefix) and n not in parameters and n not in buffers]
    if unused:
        report.notes.append(f"  not used: {', '.join(map(short, unused))}")


def _fit_positions(tokenizer: Any, there: Config, name: str, report: Report) -> None:
    with torch.random.fork_rng(devices=[]):  # only its grid is asked for
        before = make(there)
    old, new = before.position_grid, tokenizer.position_grid
    table, fresh = report.origin.weights[name], tokenizer.position_table.detach()
    num, here = before.num_prefix_tokens, tokenizer.num_prefix_tokens
    prefix = table[:num] if num == here else fresh[:here]
    report.tensors[name] = torch.cat((prefix, resize_positions(table[num:], old, new)))
    if old != new:
        sizes = (" x ".join(map(str, grid)) for grid in (old, new))
        report.notes.append("  {}: resized from {} to {}".format(short(name), *sizes))
