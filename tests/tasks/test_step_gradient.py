"""The gradient of a step is that of one big batch, whatever the micro-batches, processes and packed rows are.

Run as a script by torchrun, this file saves the gradients of two processes.
"""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.utils.data import DataLoader

from unimodal.backbone.transformer import Transformer
from unimodal.data.collate import collate
from unimodal.data.packing import PackingCollate
from unimodal.data.sampling import Draw
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.captioning import Captioning
from unimodal.tasks.classification import Classification
from unimodal.tasks.contrastive import Contrastive
from unimodal.tasks.contrastive_loss import InfoNCE
from unimodal.tasks.ctc import CTC
from unimodal.tasks.joint import Joint
from unimodal.tasks.language_modeling import LanguageModeling
from unimodal.tasks.masked_modeling import MaskedModeling
from unimodal.tasks.masked_text import MaskedText
from unimodal.tasks.masking import Masking
from unimodal.tasks.pooling import MeanPooling
from unimodal.tasks.regression import Regression
from unimodal.tasks.segmentation import Segmentation
from unimodal.tasks.sequence_labeling import SequenceLabeling
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer
from unimodal.types import IGNORED, Waveform

LENGTHS = (9, 1, 5, 12, 2, 7, 1, 3)  # of the samples, all different in how much there is to learn of them
SPLITS = [[[0, 1], [2, 3], [4, 5], [6, 7]], [[0, 1, 2], [3], [4, 5, 6, 7]], [[i] for i in range(8)]]
QUIET = {
    "accelerator": "cpu",
    "precision": "32-true",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
    "max_epochs": 1,
}
RANKS = ([0, 2, 3, 5], [1, 4, 6, 7])  # long samples here, short ones there


def image():
    return ImagePatchTokenizer(32, image_size=8, patch_size=4)


def sound():
    return AudioFrameTokenizer(32, sample_rate=800, n_mels=8, window_length=64, hop_length=32, stack=2)


def text():
    return TextTokenizer(32, byte_vocabulary(None), max_len=32)


def model(**tokenizers):
    return Unimodal(tokenizers, Transformer(32, 2, 4))


TASKS = {
    "class weights": lambda: Classification(
        model(image=image()),
        ["a", "b", "c"],
        MeanPooling(),
        class_weights=[0.1, 3.0, 1.0],
        label_smoothing=0.1,
    ),
    "dropped tokens": lambda: Classification(
        model(audio=sound()),
        ["a", "b", "c"],
        MeanPooling(),
        class_weights=[0.1, 3.0, 1.0],
        token_dropout=0.4,
        head_dropout=0.3,
    ),
    "several classes": lambda: Classification(
        model(image=image()), ["a", "b", "c"], MeanPooling(), multilabel=True, class_weights=[0.1, 3.0, 1.0]
    ),
    "regression": lambda: Regression(
        model(audio=sound()), ["a"], [1.0], [2.0], MeanPooling(), torch.nn.HuberLoss(reduction="none")
    ),
    "language modeling": lambda: LanguageModeling(model(text=text()), sample_len=4),
    "masked text": lambda: MaskedText(model(text=text()), Masking([[0]], 0.4)),
    "masked modeling": lambda: MaskedModeling(model(audio=sound()), Masking([[0]], 0.5)),
    "sequence labeling": lambda: SequenceLabeling(model(text=text()), ["O", "B-X"]),
    "segmentation": lambda: Segmentation(model(image=image()), ["a", "b"], cells=2),
    "ctc": lambda: CTC(model(audio=sound()), byte_vocabulary(None), frames_per_token=4),
    "captioning": lambda: Captioning(model(audio=sound(), text=text())),
}


def make(name):
    torch.manual_seed(0)
    task = TASKS[name]()
    generator = torch.Generator().manual_seed(1)
    for parameter in task.parameters():  # no head and no branch stays zero
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return task


def sample(index):
    """Everything that any task reads."""
    rng, length = torch.Generator().manual_seed(index), LENGTHS[index]
    words = ["bad", "good"] * 6
    starts = [sum(len(word) + 1 for word in words[:k]) for k in range(length)]
    mask = torch.randint(2, (8, 8), generator=rng, dtype=torch.uint8)
    mask[: 8 - index] = 255
    return {
        "image": torch.randint(256, (3, 8, 8), generator=rng, dtype=torch.uint8),
        "audio": Waveform(torch.rand(160 * length + 200, generator=rng) - 0.5, 800),
        "text": " ".join(words[:length]),
        "mask": mask,
        "spans": [(s, s + len(w), "B-X" if w == "bad" else "O") for s, w in zip(starts, words, strict=False)],
    }


def label(name, index):
    if name == "several classes":
        return torch.tensor([float(index % 2), float(index % 3 == 0), 1.0])
    return torch.tensor([float(index)]) if name == "regression" else torch.tensor(index * 2 % 3)


def examples(name, task):
    """Tensors of the eight samples."""
    if name in ("language modeling", "masked text"):  # windows would be of one length
        made = []
        for index in range(len(LENGTHS)):
            ids = task.preprocess["text"](sample(index))["input_ids"]
            made.append({"input_ids": ids, "labels": ids, "byte_counts": torch.ones_like(ids)})
    else:
        rows = [sample(index) | {"label": label(name, index)} for index in range(len(LENGTHS))]
        dataset = task.examples(rows, task.preprocess, training=True)
        made = [dataset[Draw(0, index)] for index in range(len(rows))]
    if name == "masked text":
        made = [one | {"seed": torch.tensor(index)} for index, one in enumerate(made)]
    return made


class Recorder(torch.optim.SGD):
    """Keeps the gradients that each step gets, and leaves the weights alone."""

    def __init__(self, parameters, steps):
        super().__init__(parameters, lr=0.0)
        self.steps = steps

    def step(self, closure=None):
        loss = super().step(closure)
        parameters = self.param_groups[0]["params"]
        self.steps.append([None if p.grad is None else p.grad.clone() for p in parameters])
        return loss


def fit(task, batches, **options):
    """The gradients of the steps that Lightning takes over these micro-batches, and what was logged last."""
    steps = []
    task.optimization = lambda task: Recorder(task.parameters(), steps)
    trainer = L.Trainer(**QUIET, **options)
    trainer.fit(task, DataLoader(batches, batch_size=None))
    return steps, trainer.callback_metrics


def assert_same(one, other):
    assert len(one) == len(other) and any(gradient is not None and gradient.any() for gradient in one)
    for mine, theirs in zip(one, other, strict=True):
        if mine is not None or theirs is not None:
            torch.testing.assert_close(theirs, mine, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_micro_batches_have_the_gradient_of_one_batch(name):
    task = make(name)
    every = examples(name, task)
    [whole], logged = fit(task, [collate(every)])
    for split in SPLITS:
        parts = [collate([every[i] for i in part]) for part in split]
        [gradient], again = fit(make(name), parts, accumulate_grad_batches=len(parts))
        assert_same(whole, gradient)
        assert again["train/loss"] == pytest.approx(float(logged["train/loss"]), rel=1e-5)


@pytest.mark.parametrize(
    "name", ["language modeling", "sequence labeling", "ctc", "captioning", "dropped tokens"]
)
def test_packed_micro_batches_have_the_gradient_of_one_padded_batch(name):
    task = make(name)
    every = examples(name, task)
    [whole], _ = fit(task, [collate(every)])
    inputs = {field: one for field, one in task.preprocess.items() if field in task.model.tokenizers}
    pack = PackingCollate(inputs)
    parts = [pack([every[i] for i in part]) for part in ([0, 1, 2], [3, 4, 5, 6, 7])]
    assert any("rows" in part for part in parts)
    [packed], _ = fit(make(name), parts, accumulate_grad_batches=2)
    assert_same(whole, packed)


def test_the_last_incomplete_window_has_the_gradient_of_its_own_batches():
    name = "sequence labeling"
    task = make(name)
    every = examples(name, task)
    parts = [collate([one]) for one in every]
    steps, _ = fit(task, parts, accumulate_grad_batches=6)
    assert len(steps) == 2
    for gradient, rows in zip(steps, (every[:6], every[6:]), strict=True):
        [whole], _ = fit(make(name), [collate(rows)])
        assert_same(whole, gradient)


def test_clipping_takes_the_norm_of_the_whole_step():
    name = "language modeling"
    every = examples(name, make(name))
    parts = [collate(every[:1]), collate(every[1:])]
    [whole], _ = fit(make(name), [collate(every)])
    norm = float(torch.nn.utils.get_total_norm([g for g in whole if g is not None]))
    [clipped], logged = fit(make(name), parts, accumulate_grad_batches=2, gradient_clip_val=norm / 2)
    assert logged["train/grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert_same([None if g is None else g / 2 for g in whole], clipped)


def test_a_step_without_targets_changes_nothing():
    name = "language modeling"
    batch = collate(examples(name, make(name)))
    batch["labels"] = torch.full_like(batch["labels"], IGNORED)
    [gradient], logged = fit(make(name), [batch])
    assert logged["train/loss"] == 0
    assert all(g is None or not g.any() for g in gradient)


class Scaled(MixedPrecision):
    """Float32 with the loss scaling of float16."""

    def __init__(self):
        super().__init__("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))

    def forward_context(self):
        return nullcontext()


@pytest.mark.parametrize("fused", [False, True])
def test_clipping_does_not_depend_on_the_scale_of_the_loss(fused):
    name, norms = "language modeling", []
    batch = collate(examples(name, make(name)))
    for plugins in ([], [Scaled()]):
        task = make(name)
        task.optimization = lambda task: torch.optim.AdamW(task.parameters(), lr=0.0, fused=fused)
        trainer = L.Trainer(
            **{**QUIET, "precision": None} if plugins else QUIET, plugins=plugins, gradient_clip_val=0.01
        )
        trainer.fit(task, DataLoader([batch], batch_size=None))
        moments = [state["exp_avg"] for state in trainer.optimizers[0].state.values()]
        norm = float(trainer.callback_metrics["train/grad_norm"])
        norms.append((norm, torch.cat([moment.flatten() for moment in moments])))
    (norm, moment), (scaled_norm, scaled_moment) = norms
    assert scaled_norm == pytest.approx(norm, rel=1e-4)
    torch.testing.assert_close(scaled_moment, moment, atol=1e-7, rtol=1e-4)


def joint():
    torch.manual_seed(0)
    backbone = Transformer(32, 2, 4)
    tasks = {
        "photos": Classification(Unimodal({"image": image()}, backbone), ["a", "b", "c"], MeanPooling()),
        "words": LanguageModeling(Unimodal({"text": text()}, backbone), sample_len=4),
    }
    learner = Joint(tasks, {"photos": 1.0, "words": 0.25})
    generator = torch.Generator().manual_seed(1)
    for parameter in learner.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return learner


def joint_examples():
    names = {"photos": "class weights", "words": "language modeling"}
    tasks = joint().by_source
    return {source: examples(name, tasks[source]) for source, name in names.items()}


def test_joint_training_weighs_the_mean_loss_of_each_source():
    every = joint_examples()
    batch = {source: collate(rows) for source, rows in every.items()}
    [gradient], logged = fit(joint(), [batch])
    learner = joint()
    outputs = learner(batch)
    loss = outputs["photos"].loss + 0.25 * outputs["words"].loss
    loss.backward()
    assert_same([p.grad for p in learner.parameters()], gradient)
    assert logged["train/loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_the_loss_of_a_source_is_that_of_all_its_micro_batches():
    every = joint_examples()["photos"]
    parts = [{"photos": collate(every[:2])}, {"photos": collate(every[2:])}]
    _, logged = fit(joint(), parts, accumulate_grad_batches=2)
    whole = joint()({"photos": collate(every)})["photos"].loss
    assert logged["train/photos/loss"] == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    saved = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for name in TASKS:
        task = make(name)
        [whole], logged = fit(task, [collate(examples(name, task))])
        assert_same(whole, saved[name]["gradient"])
        assert saved[name]["loss"] == pytest.approx(float(logged["train/loss"]), rel=1e-5), name
    [whole], _ = fit(pairs(), [collate(pair_examples())])
    assert_same(whole, saved["contrastive"]["gradient"])
    [whole], _ = fit(joint(), [{source: collate(rows) for source, rows in joint_examples().items()}])
    assert_same(whole, saved["joint"]["gradient"])


def pairs():
    torch.manual_seed(0)
    task = Contrastive(model(image=image(), text=text()), MeanPooling(), InfoNCE(), projection_dim=16)
    generator = torch.Generator().manual_seed(1)
    for parameter in task.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return task


def pair_examples():
    task = pairs()
    rows = [{key: sample(index)[key] for key in ("image", "text")} for index in range(len(LENGTHS))]
    dataset = task.examples(rows, task.preprocess, training=True)
    return [dataset[Draw(0, index)] for index in range(len(rows))]


def main(output: Path) -> None:
    """Save the gradients of one step of each task, of two micro-batches a process."""
    torch.set_num_threads(1)
    rows = RANKS[int(os.environ["RANK"])]
    options = {"strategy": "ddp", "devices": 2}
    saved = {}

    def keep(name, found):
        [gradient], logged = found
        saved[name] = {"gradient": gradient, "loss": float(logged["train/loss"])}

    for name in TASKS:
        every = examples(name, make(name))
        parts = [collate([every[i] for i in part]) for part in (rows[:1], rows[1:])]
        keep(name, fit(make(name), parts, accumulate_grad_batches=2, **options))
    every = pair_examples()
    keep("contrastive", fit(pairs(), [collate([every[i] for i in rows])], **options))
    both = {source: collate([made[i] for i in rows]) for source, made in joint_examples().items()}
    keep("joint", fit(joint(), [both], **options))
    if os.environ["RANK"] == "0":
        torch.save(saved, output / "gradients.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
