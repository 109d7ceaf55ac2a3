"""Each task's metrics are scikit-learn's on the predictions of each sample alone.

Batches are uneven, rows packed, processes two. Word errors and BLEU are compared with plain implementations.
"""

import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from unimodal.data.collate import collate
from unimodal.data.packing import PackingCollate
from unimodal.data.sampling import Draw, ResumableBatchSampler
from unimodal.tasks.span_scores import spans_of
from unimodal.types import IGNORED

NUM = 25
UNEVEN = (7, 1, 4, 2, 10, 1)
Expected = dict[str, float]


@dataclass
class Case:
    """A task, validation samples, and how the outputs of each sample alone become the expected metrics."""

    task: Any
    samples: list[dict[str, Any]]
    reference: Callable[["Case", list[Any], list[Any]], Expected]

    def batch(self, draws: Sequence[Draw], packed: bool = False) -> Any:
        dataset = self.task.examples(self.samples, self.task.preprocess, training=False)
        join = PackingCollate(self.task.preprocess, 64) if packed else collate
        return join([dataset[draw] for draw in draws])

    def size(self) -> int:
        return len(self.task.examples(self.samples, self.task.preprocess, training=False))

    @torch.no_grad()
    def expected(self) -> Expected:
        batches = [self.batch([Draw(0, index)]) for index in range(self.size())]
        outputs = [self.task(batch) for batch in batches]
        figures = {"loss": loss_of(outputs), "num_samples": self.size()}
        return figures | self.reference(self, outputs, batches)


def joined(values: list[torch.Tensor]) -> np.ndarray:
    return torch.cat(values).double().numpy()


def single_label(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    logits, labels = joined([o.logits for o in outputs]), joined([b["labels"] for b in batches])
    guesses = logits.argmax(1)
    assert set(guesses) - set(labels) and set(labels) - set(guesses)  # either lacks a class of the other
    assert set(range(8)) - set(labels) - set(guesses)  # and one is in neither
    return {
        "loss": sk.log_loss(labels, softmax(logits), labels=range(8)),
        "accuracy": sk.accuracy_score(labels, guesses),
        "f1": sk.f1_score(labels, guesses, average="macro"),
        "top5_accuracy": sk.top_k_accuracy_score(labels, logits, k=5, labels=range(8)),
    }


def multi_label(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    logits, labels = joined([o.logits for o in outputs]), joined([b["labels"] for b in batches])
    there, guesses = labels.any(0), logits > 0
    assert not there.all() and guesses[:, ~there].any() and (~guesses.any(0) & there).any()
    probabilities = 1 / (1 + np.exp(-logits))
    return {
        "loss": np.mean([sk.log_loss(labels[:, c], probabilities[:, c], labels=[0, 1]) for c in range(8)]),
        "map": sk.average_precision_score(labels[:, there], logits[:, there], average="macro"),
        "micro_f1": sk.f1_score(labels, guesses, average="micro"),
        "macro_f1": sk.f1_score(labels, guesses, average="macro", zero_division=0),
    }


def regression(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    numbers = joined([case.task.predict(one.logits) for one in outputs])
    labels = joined([one["labels"] for one in batches])
    return {
        "mae": sk.mean_absolute_error(labels, numbers),
        "rmse": sk.root_mean_squared_error(labels, numbers),
        "r2": sk.r2_score(labels, numbers),
    }


def retrieval(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    """All things are different here; duplicates are in test_retrieval.py."""
    pairs, wanted, everything = joined([one.logits for one in outputs]), np.arange(NUM), range(NUM)
    scores = {"image_to_text": pairs[:, 0] @ pairs[:, 1].T, "text_to_image": pairs[:, 1] @ pairs[:, 0].T}
    found: Expected = {}
    for name, one in scores.items():
        recalls = {k: sk.top_k_accuracy_score(wanted, one, k=k, labels=everything) for k in (1, 5, 10)}
        ranks = (one >= one.diagonal()[:, None]).sum(1)
        found |= {f"{name}_r{k}": recall for k, recall in recalls.items()}
        found |= {f"{name}_median_rank": np.median(ranks), f"{name}_r10_chance": 10 / NUM}
    recalls = [value for name, value in found.items() if name.endswith(("_r1", "_r5", "_r10"))]
    scale = float(case.task.contrast.scale)
    losses = [sk.log_loss(wanted, softmax(scale * one), labels=everything) for one in scores.values()]
    return found | {"mean_recall": np.mean(recalls), "loss": np.mean(losses)}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def tags(outputs: list[Any], batches: list[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each sample, the labels that count and the guesses for them."""
    labels = [one["labels"][0] for one in batches]
    guesses = [one.logits[0].argmax(-1) for one in outputs]
    rows = [(a[a != IGNORED].numpy(), b[a != IGNORED].numpy()) for a, b in zip(labels, guesses, strict=True)]
    return [a for a, _ in rows], [b for _, b in rows]


def words_in_classes(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    labels, guesses = (np.concatenate(rows) for rows in tags(outputs, batches))
    inside = sorted((set(labels) | set(guesses)) - {0})
    assert set(guesses) - set(labels) and len(inside) < 7
    return {
        "accuracy": sk.accuracy_score(labels, guesses),
        "f1": sk.f1_score(labels, guesses, labels=inside, average="macro", zero_division=0),
    }


def words_in_spans(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    labels, guesses = tags(outputs, batches)
    found = [
        {
            (i, *span)
            for i, row in enumerate(rows)
            for span in spans_of([case.task.class_names[k] for k in row])
        }
        for rows in (labels, guesses)
    ]
    every = sorted(found[0] | found[1])
    there, said = ([span in one for span in every] for one in found)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(there, said, average="binary")
    accuracy = sk.accuracy_score(np.concatenate(labels), np.concatenate(guesses))
    return {"precision": precision, "recall": recall, "f1": f1, "accuracy": accuracy}


def segmentation(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    labels, guesses = joined([b["labels"] for b in batches]), joined([o.logits.argmax(1) for o in outputs])
    counted = labels != IGNORED
    labels, guesses = labels[counted], guesses[counted]
    assert set(guesses) != set(labels) and len(set(labels) | set(guesses)) < 8
    return {
        "miou": sk.jaccard_score(labels, guesses, average="macro"),
        "accuracy": sk.accuracy_score(labels, guesses),
    }


def masked_text(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    hidden = [case.task._hidden(batch)[0] for batch in batches]
    labels = joined([batch["labels"][0][here] for batch, here in zip(batches, hidden, strict=True)])
    guesses = joined([one.logits[0].argmax(-1) for one in outputs])
    return {"accuracy": sk.accuracy_score(labels, guesses)}


def loss_of(outputs: list[Any]) -> float:
    return float(
        np.average([float(one.loss) for one in outputs], weights=[int(one.count) for one in outputs])
    )


def language(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    bits = loss_of(outputs) / math.log(2) * sum(int(one.count) for one in outputs)
    num_bytes = sum(len(sample["text"].encode()) for sample in case.samples)
    return {"perplexity": math.exp(loss_of(outputs)), "bits_per_byte": bits / num_bytes}


def transcripts(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    found = [case.task.answer(batch)[0]["text"] for batch in batches]
    return text_metrics(found, [sample["text"] for sample in case.samples])


def captions(case: Case, outputs: list[Any], batches: list[Any]) -> Expected:
    found = [case.task.write(batch)[0] for batch in batches]
    numbers = {"perplexity": math.exp(loss_of(outputs)), "num_compared": NUM, "num_cut": 0}
    return text_metrics(found, [sample["text"] for sample in case.samples]) | numbers


def text_metrics(written: list[str], references: list[str]) -> Expected:
    pairs = list(zip(written, references, strict=True))
    assert 0 < sk.accuracy_score(references, written) < 1
    return {
        "exact_match": sk.accuracy_score(references, written),
        "wer": sum(edits(a.split(), b.split()) for a, b in pairs) / sum(len(b.split()) for b in references),
        "cer": sum(edits(a, b) for a, b in pairs) / sum(map(len, references)),
        "bleu": bleu([(a.split(), b.split()) for a, b in pairs]),
    }


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's distance, by its definition."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def bleu(pairs: list[tuple[list[str], list[str]]]) -> float:
    """Papineni et al. 2002, formulas 1 to 3, for the orders that some written text has."""
    logs = []
    for n in range(1, 5):
        grams = [[Counter(zip(*(one[k:] for k in range(n)), strict=False)) for one in pair] for pair in pairs]
        matched, num = sum((a & b).total() for a, b in grams), sum(a.total() for a, _ in grams)
        if num:
            logs.append(math.log(matched / num) if matched else -math.inf)
    ratio = sum(len(b) for _, b in pairs) / sum(len(a) for a, _ in pairs)
    return math.exp(sum(logs) / len(logs) + min(0.0, 1 - ratio))


REFERENCES = {
    "single label": single_label,
    "multi-label": multi_label,
    "regression": regression,
    "retrieval": retrieval,
    "words in classes": words_in_classes,
    "words in spans": words_in_spans,
    "segmentation": segmentation,
    "masked text": masked_text,
    "masked modeling": lambda *_: {},
    "language modeling": language,
    "transcription": transcripts,
    "captioning": captions,
}


@pytest.fixture
def make(scored):
    return lambda name: Case(*scored(name), REFERENCES[name])


def cut(case, sizes, packed):
    """Everything once in batches of these sizes, among rows and whole batches that do not count."""
    draws, batches = [Draw(0, index) for index in range(case.size())], []
    uncounted = [Draw(0, index, counted=False) for index in (3, 1)]
    for size in (*sizes, case.size()):
        batches.append(draws[:size] + uncounted[: len(batches) % 3])
        draws = draws[size:]
    return [case.batch(batch, packed) for batch in batches if batch] + [case.batch(uncounted, packed)]


def of_rank(case, rank, packed):
    """What the loader gives one of two processes; the last batches are filled up with what does not count."""
    sampler = ResumableBatchSampler(case.size(), 4, shuffle=False, rank=rank, world_size=2)
    return [case.batch(draws, packed) for draws in sampler]


@pytest.mark.parametrize(
    ("sizes", "packed"), [(UNEVEN, False), (UNEVEN, True), ((3,) * 8, False), ((1,) * NUM, False)]
)
@pytest.mark.parametrize("name", REFERENCES)
def test_metrics_are_those_of_scikit_learn_whatever_the_batches(make, validate, name, sizes, packed):
    case = make(name)
    batches = cut(case, sizes, packed)
    assert any("rows" in batch for batch in batches) == packed
    figures = {key.removeprefix("val/"): value for key, value in validate(case.task, batches).items()}
    assert figures == pytest.approx(case.expected(), abs=2e-5, rel=2e-5)


PROCESS = """
import sys, torch, torch.distributed as dist

folder, rank = sys.argv[1], int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
found = []
with torch.no_grad():
    for task, ranks in torch.load(f"{folder}/given.pt", weights_only=False):
        for batch in ranks[rank]:
            task.count(batch)
        found.append(task.figures())
torch.save(found, f"{folder}/{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_give_the_metrics_of_scikit_learn(make, tmp_path):
    given = [(make(name), packed) for name in REFERENCES for packed in (False, True)]
    parts = [(case.task, [of_rank(case, rank, packed) for rank in (0, 1)]) for case, packed in given]
    torch.save(parts, tmp_path / "given.pt")
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([*command, str(rank)], env=environment) for rank in range(2)]
    assert [process.wait(500) for process in processes] == [0, 0]
    for rank in range(2):
        for (case, _), figures in zip(given, torch.load(tmp_path / f"{rank}.pt"), strict=True):
            found = {name: float(value) for name, value in figures.items()}
            assert found == pytest.approx(case.expected(), abs=2e-5, rel=2e-5)
