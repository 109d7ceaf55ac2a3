import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from unimodal.tasks.base import Output, Task


class Recall(Task):
    """The loss of a row is its `value`; a row whose label is -100 does not count."""

    def forward(self, batch):
        counted = batch["labels"] != -100
        tokens = self.model(batch)
        values = batch["value"] * (1 + 0 * tokens.embeds.mean())
        return Output(values[counted].sum() / counted.sum().clamp_min(1), counted.sum(), values, tokens)


class Learn(Recall):
    """A loss with a gradient, as large as one likes."""

    def forward(self, batch):
        output = super().forward(batch)
        return Output(1e3 * output.tokens.embeds.square().mean(), output.count, output.logits, output.tokens)


def batch_of(values, counted=None):
    labels = [0 if c else -100 for c in (counted or [True] * len(values))]
    pixels = torch.ones(len(values), 3, 8, 8, dtype=torch.uint8)
    return {"pixel_values": pixels, "value": torch.tensor(values), "labels": torch.tensor(labels)}


def fit(task, batches, **options):
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
        **options,
    )
    trainer.fit(task, DataLoader(batches, batch_size=None))


def test_the_validation_loss_is_the_plain_mean_of_all_rows(image_model, validate):
    uneven = [batch_of([1.0, 2.0, 3.0]), batch_of([10.0])]
    assert validate(Recall(image_model()), uneven)["val/loss"] == pytest.approx(4)


def test_uncounted_rows_do_not_move_the_validation_loss(image_model, validate):
    filled = [
        batch_of([1.0, 2.0, 99.0], [True, True, False]),
        batch_of([99.0, 99.0], [False] * 2),
        batch_of([6.0]),
    ]
    assert validate(Recall(image_model()), filled)["val/loss"] == pytest.approx(3)


def test_a_second_validation_forgets_the_first(image_model, validate):
    task = Recall(image_model())
    validate(task, [batch_of([100.0])])
    assert validate(task, [batch_of([1.0])])["val/loss"] == 1


def test_a_step_tells_how_much_it_read(image_model):
    task, steps = Learn(image_model()), []

    class Watch(L.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            steps.append((outputs["num_samples"], outputs["num_tokens"]))

    task.optimization = lambda task: torch.optim.SGD(task.parameters(), 1e-3)
    fit(task, [batch_of([1.0] * 3), batch_of([1.0])], callbacks=[Watch()])
    assert steps == [(3, 12), (1, 4)]


def test_gradients_are_clipped_by_the_norm_over_all_parameters(image_model):
    task, norms = Learn(image_model()), []

    class Watch(L.Callback):
        def on_before_zero_grad(self, trainer, module, optimizer):
            grads = [p.grad for p in module.parameters() if p.grad is not None]
            if grads:
                norms.append(
                    (float(nn.utils.get_total_norm(grads)), trainer.callback_metrics["train/grad_norm"])
                )

    task.optimization = lambda task: torch.optim.SGD(task.parameters(), 0.0)
    fit(task, [batch_of([1.0])] * 2, gradient_clip_val=0.5, callbacks=[Watch()])
    after, before = norms[-1]
    assert after == pytest.approx(0.5, abs=1e-4)
    assert before > 1


def test_without_optimization_a_task_says_who_sets_it(image_model):
    with pytest.raises(AssertionError, match=r"training sets task\.optimization"):
        Recall(image_model()).configure_optimizers()
