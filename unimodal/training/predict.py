"""`unimodal predict`: what a trained model says of new files, and its vectors."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from torch.utils.data import DataLoader, Dataset

from unimodal.data.collate import collate
from unimodal.data.cuts import NOUNS, cut_fields, limit_of
from unimodal.data.decoding.encoded import BadSample
from unimodal.data.media import FIT
from unimodal.data.parts import as_parts, fit_parts, part_tensors
from unimodal.data.sources.inputs import Inputs, read_inputs
from unimodal.tasks.base import Task
from unimodal.training import answers, build, checkpoints
from unimodal.training.callbacks.cut_inputs import cut_line
from unimodal.training.console import progress, say
from unimodal.training.decoding import with_decoding
from unimodal.training.train import quiet_known_warnings
from unimodal.types import Sample

SHOWN = 20  # bad inputs on the console; the output names all
NEW_TOKENS = 64  # of a text that a language model continues


def predict(config: build.Config, config_dirs: Iterable[Path] = ()) -> Path:
    """Ask the checkpoint about every input; returns the file that was written.

    Inputs that cannot be used have an error instead of an answer; they stop nothing.

    Raises:
        ValueError: if there is nothing to ask about, or the output cannot be written.
    """
    quiet_known_warnings()
    saved, weights = checkpoints.load(config["checkpoint"], config_dirs)
    saved, weights = checkpoints.of_source(saved, weights, config["only"])
    L.seed_everything(config["seed"], workers=True, verbose=False)
    known = {key: config[key] for key in ("max_new_tokens", "seed") if "decoding" in saved["task"]}
    saved = with_decoding(saved, config["decoding"] | known)
    task = build.restore_task(saved, weights, merged=True)
    if config["class_names"]:
        task = task.zero_shot(config["class_names"], config["templates"])
    inputs, asked = _inputs(config, task)
    output = answers.output_path(config["output"], config["inputs"], config["embeddings"])
    rows, errors, cuts = _ask(config, task, inputs, asked)
    answers.write(output, inputs, rows, errors, config["embeddings"], set(cuts))
    for line in [*inputs.notes, *_cut_lines(cuts, len(inputs), asked)]:
        say(f"  {line}")
    for error in [*inputs.problems, *errors.values()][:SHOWN]:
        say(f"  left out: {error}")
    num_bad = len(errors) + len(inputs.problems)
    say(
        f"{len(inputs) - len(errors):,} of {len(inputs) + len(inputs.problems):,} inputs answered in {output}"
    )
    if num_bad > SHOWN:
        say(f"  ({num_bad:,} could not be used; the column error says why)")
    return output


def _inputs(config: build.Config, task: Task) -> tuple[Inputs, dict[str, Any]]:
    """What is asked about, and by field what is done to it: all that the task asks, or one that is there."""
    if not config["inputs"]:
        raise ValueError("nothing is asked; set inputs=FILE, a folder, a table or a glob.")
    if not task.separate:
        return _read(config, task.asks, task.asked.keys() - set(task.asks)), task.asked
    fields = sorted(task.asks, key=lambda field: field == "text")  # any file may be text
    errors = []
    for field in fields:
        try:
            return _read(config, [field]), {field: task.asked[field]}
        except ValueError as error:
            errors.append(error)
    raise ValueError(" ".join(str(error) for error in errors))


def _read(config: build.Config, fields: Sequence[str], optional: Collection[str] = ()) -> Inputs:
    return read_inputs(
        config["inputs"],
        fields,
        config["columns"],
        config["allow_outside_root"],
        optional,
        config["allow_missing"],
    )


def _cut_lines(cuts: Mapping[int, frozenset[str]], num_inputs: int, asked: Mapping[str, Any]) -> list[str]:
    counts = Counter(field for fields in cuts.values() for field in fields)
    limits = {field: limit_of(field, asked[field]) for field in counts}
    return [cut_line(num, num_inputs, NOUNS[field], limits[field]) for field, num in counts.items()]


def _ask(
    config: build.Config, task: Task, inputs: Inputs, asked: Mapping[str, Any]
) -> tuple[dict[int, Any], dict[int, str], dict[int, frozenset[str]]]:
    """Answers, errors, and the fields that are cut, by the input's index."""
    node = dict(config["trainer"])
    trainer = build.make_trainer(
        {"trainer": node}, Path.cwd(), logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    asker = _Asker(task, config["top_k"], config["embeddings"], config["max_new_tokens"] or NEW_TOKENS)
    dataset = _Asked(inputs, asked, asker.generates, config["allow_missing"])
    loader = DataLoader(
        dataset,
        config["loader"]["batch_size"],
        num_workers=config["loader"]["num_workers"],
        collate_fn=_batch,
    )
    if trainer.world_size > 1:
        raise ValueError("predict runs in one process; choose trainer=cpu or trainer=gpu with one device.")
    trainer.predict(asker, _Counted(loader, len(inputs)), return_predictions=False)
    return asker.rows, asker.errors, asker.cuts


Asked = tuple[int, Any, str, frozenset[str]]


class _Asked(Dataset):
    """Each input as (index, tensors or prompt, error, fields that are cut)."""

    def __init__(self, inputs: Inputs, preprocess: Mapping[str, Any], generate: bool, allow_missing: bool):
        self.inputs, self.preprocess, self.generate = inputs, dict(preprocess), generate
        self.allow_missing = allow_missing

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Asked:
        try:
            raw = self.inputs[index]
            if self.allow_missing and "parts" not in raw:
                raw = as_parts(raw, self.preprocess)
            sample = fit_parts(raw, self.preprocess) if "parts" in raw else self._fitted(raw)
            if self.generate and "parts" not in sample:
                return index, sample["text"], "", frozenset()  # a prompt is never cut
            tensors = self._tensors(sample)
            return index, tensors, "", cut_fields(raw, sample, self.preprocess)
        except BadSample as error:
            return index, None, str(error), frozenset()

    def _fitted(self, sample: Sample) -> Sample:
        for field, preprocess in self.preprocess.items():
            sample = FIT[field](sample, preprocess) if field in FIT else sample
        return sample

    def _tensors(self, sample: Sample) -> dict[str, Any]:
        if "parts" in sample:
            return {"parts": part_tensors(sample["parts"], self.preprocess)}
        made = [preprocess(sample) for preprocess in self.preprocess.values()]
        return {key: tensor for tensors in made for key, tensor in tensors.items()}


def _batch(asked: Sequence[Asked]) -> dict[str, Any]:
    good = [(index, value) for index, value, error, _ in asked if not error]
    batch: dict[str, Any] = {"indices": [index for index, _ in good]}
    batch["errors"] = {index: error for index, _, error, _ in asked if error}
    batch["cuts"] = {index: cut for index, _, _, cut in asked if cut}
    prompts = bool(good) and isinstance(good[0][1], str)
    batch["prompts" if prompts else "inputs"] = (
        [value for _, value in good] if prompts else collate([value for _, value in good]) if good else {}
    )
    return batch


class _Counted:
    """A loader whose batches move a progress bar."""

    def __init__(self, loader: DataLoader, total: int):
        self.loader, self.total = loader, total

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        with progress(self.total, "inputs") as advance:
            for batch in self.loader:
                yield batch
                advance(len(batch["indices"]) + len(batch["errors"]))


class _Asker(L.LightningModule):
    """Lightning moves batches and sets the precision; this collects what the task answers."""

    def __init__(self, task: Task, top_k: int, embeddings: bool, max_new_tokens: int):
        super().__init__()
        self.task, self.top_k, self.embeddings, self.max_new_tokens = task, top_k, embeddings, max_new_tokens
        self.generates = task.generates and not embeddings
        self.rows: dict[int, Any] = {}
        self.errors: dict[int, str] = {}
        self.cuts: dict[int, frozenset[str]] = {}

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Collects by index."""
        self.errors |= batch["errors"]
        self.cuts |= batch["cuts"]
        if not batch["indices"]:
            return
        self.rows |= dict(zip(batch["indices"], self._answers(batch), strict=True))

    def _answers(self, batch: Mapping[str, Any]) -> list[Any]:
        if self.generates:
            texts = self.task.complete(batch["prompts"], self.max_new_tokens)
            return [{"completion": text} for text in texts]
        if self.embeddings:
            return list(self.task.vectors(batch["inputs"]).float().cpu().numpy())
        return self.task.answer(batch["inputs"], self.top_k)
