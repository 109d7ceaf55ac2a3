"""The task that a run starts with: freshly initialised, or from trained weights; ready to learn."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unimodal.data.sources.base import Source
from unimodal.tasks.base import Task
from unimodal.tasks.learner import Learner
from unimodal.training import build, checkpoints
from unimodal.training.console import say
from unimodal.training.finetune.base import BACKBONE, TOKENIZERS, FineTuning, trained_share
from unimodal.training.mix import ALONE, check_one_kind, views, with_views, within_task
from unimodal.training.pretrained.fields import field_of
from unimodal.training.pretrained.fit import fit
from unimodal.training.pretrained.origin import Origin
from unimodal.training.pretrained.report import Report
from unimodal.training.pretrained.vocabulary import take_vocabulary


def make_start(
    config: build.Config, source: Source, last: Path | None = None, config_dirs: Iterable[Path] = ()
) -> tuple[build.Config, Learner, FineTuning]:
    """The complete config, its task with what does not learn frozen, and the way of fine-tuning.

    Args:
        config: of the run; `pretrained` names the checkpoint to start from, or is null.
        source: the data.
        last: the checkpoint from which an interrupted run goes on. `pretrained` is then not read again: what
            it decided stands in there.
        config_dirs: as in `checkpoints.load`.

    Raises:
        ValueError: if the checkpoint does not fit, or the way of fine-tuning needs one and there is none.
    """
    check_one_kind(config)
    finetuning = build.make_finetuning(config)
    task: Learner
    if config["pretrained"]:
        complete, task = _from_checkpoint(config, source, last, config_dirs)
        finetuning = build.make_finetuning(complete)
    else:
        _check_untrained(finetuning)
        complete = build.complete(config, source)
        task = build.make_learner(complete)
    finetuning.apply(task)
    trained, everything = trained_share(task)
    if trained < everything:
        share = f"{trained:,} of {everything:,} parameters ({trained / everything:.1%})"
        new = any(within_task(name).startswith(TOKENIZERS) for name in finetuning.fresh)
        say(f"finetune: {finetuning.name} trains {share}" + (", what is new of the tokenizer too" * new))
    return complete, task, finetuning


def _from_checkpoint(
    config: build.Config, source: Source, last: Path | None, config_dirs: Iterable[Path]
) -> tuple[build.Config, Learner]:
    sources = views(config) or {ALONE: config}
    if last:
        saved, _ = checkpoints.load(last, config_dirs)
        before = views(saved) or {ALONE: saved}
        if before.keys() != sources.keys():
            was = ", ".join(before).strip() or "one source"
            raise ValueError(
                f"the run in {last.parent.parent} has {was}; take another output=, pretrained=THAT."
            )
        kept = {name: take_vocabulary(view, before[name])[0] for name, view in sources.items()}
        complete = build.complete(with_views(config, kept), source)
        return _with_fresh(complete, (saved["finetune"] or {}).get("fresh", [])), build.make_learner(complete)
    origins = {
        name: Origin.read(config["pretrained"], field_of(view["tokenizer"]), config_dirs, name)
        for name, view in sources.items()
    }
    taken = {name: take_vocabulary(view, origins[name].config) for name, view in sources.items()}
    complete = build.complete(with_views(config, {name: view for name, (view, _) in taken.items()}), source)
    learner = build.make_learner(complete)
    if len(learner.backbones) == 1:
        _check_same_backbone(origins)
    fresh = []
    for name, view in (views(complete) or {ALONE: complete}).items():
        task = learner.by_source[name]
        new = _load(task, view, origins[name], taken[name][1])
        fresh += [f"tasks.{name}.{one}" if name else one for one in new]
    return _with_fresh(complete, fresh), learner


def _check_same_backbone(origins: Mapping[str, Origin]) -> None:
    first = next(iter(origins.values()))
    for origin in origins.values():
        for name, value in origin.weights.items():
            if name.startswith(BACKBONE) and not value.equal(first.weights[name]):
                raise ValueError(
                    f"{first.name} and {origin.name} have backbones of their own; set share=none, or start "
                    "from one of them."
                )


def _load(task: Task, config: build.Config, origin: Origin, note: str) -> list[str]:
    """Give a task what fits of a checkpoint, and say so; returns the names of what is new."""
    report = fit(task, config, origin)
    if config.get("keep_head"):
        _check_kept(report)
    task.load_state_dict(report.tensors, strict=False)
    for line in (report.summary(task), note, *report.notes, f"  {origin.note}" * bool(origin.note)):
        if line:
            say(line)
    return report.fresh(task)


def _check_kept(report: Report) -> None:
    new = {
        name: reason for reason, names in report.reasons.items() for name in names if name.startswith("head")
    }
    if new:
        name, reason = next(iter(new.items()))
        raise ValueError(f"keep_head=true, but {name} of {report.origin.name} does not fit: {reason}.")


def _with_fresh(complete: build.Config, fresh: list[str]) -> build.Config:
    """The config says which parameters were new, so that a resumed run freezes the same."""
    node: dict[str, Any] = complete["finetune"] | {"fresh": fresh}
    return complete | {"finetune": node}


def _check_untrained(finetuning: FineTuning) -> None:
    if finetuning.needs_pretrained:
        raise ValueError(f"finetune={finetuning.name} adapts trained weights; set pretrained=RUN.")
    if finetuning.frozen_epochs:
        raise ValueError(
            f"finetune.frozen_epochs={finetuning.frozen_epochs} holds an untrained backbone; "
            "set pretrained=RUN."
        )
