"""Each kind of label from a source to a trained task, as `unimodal train` builds it."""

import lightning as L
import pytest
import torch

from unimodal.data.sources.base import GeneratedRows, Source
from unimodal.training import build

TINY = (
    "backbone.dim=32",
    "backbone.depth=1",
    "backbone.num_heads=2",
    "trainer=cpu",
    "trainer.precision=32-true",
    "loader.batch_size=8",
)


class Brightness(Source):
    """Pictures of one brightness, and what `label` says of it."""

    def __init__(self, **names):
        vars(self).update(names)

    def split(self, name):
        return GeneratedRows(self.row, {"train": 32, "val": 20}[name])

    def row(self, index):
        brightness = 37 * index % 256
        image = torch.full((3, 8, 8), brightness, dtype=torch.uint8)
        return {"image": image, "label": self.label(brightness)}


class Classes(Brightness):
    class_names = ("dark", "bright", "white")

    def label(self, brightness):
        return int(brightness > 127)


class Tags(Brightness):
    class_names, multilabel = ("some", "more", "most"), True

    def label(self, brightness):
        return torch.tensor([float(brightness > level) for level in (50, 127, 200)])


class Numbers(Brightness):
    target_names = ("brightness",)

    def label(self, brightness):
        return torch.tensor([1000.0 + brightness])


KINDS = [(Classes, "classification"), (Tags, "classification"), (Numbers, "regression")]


@pytest.fixture
def built(configure):
    def _built(source, *overrides):
        config = build.complete(configure(*TINY, *overrides), source)
        torch.manual_seed(0)
        task = build.make_task(config)
        return config, task, build.make_datamodule(config, source, task)

    return _built


def trained(task, data, steps=40):
    task.optimization = lambda task: torch.optim.AdamW(task.parameters(), 3e-3)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    trainer.fit(task, datamodule=data)
    return {name: float(figure) for name, figure in trainer.callback_metrics.items()}


@pytest.mark.parametrize(
    ("source", "task", "figure", "least"),
    [
        (Classes, "classification", "val/accuracy", 0.9),
        (Tags, "classification", "val/map", 0.95),
        (Numbers, "regression", "val/r2", 0.8),
    ],
)
def test_each_kind_of_label_is_learned(built, source, task, figure, least):
    _, model, data = built(source(), f"task={task}")
    assert trained(model, data)[figure] > least


@pytest.mark.parametrize(("source", "task"), KINDS)
def test_a_completed_config_builds_the_same_without_the_data(built, source, task):
    config, made, data = built(source(), f"task={task}")
    again = build.make_task(config)
    again.load_state_dict(made.state_dict())
    batch = next(iter(data.val_dataloader()))
    assert torch.equal(made.eval()(batch).loss, again.eval()(batch).loss)


def test_the_source_decides_how_many_classes_may_apply(built):
    assert built(Classes())[0]["task"]["multilabel"] is False
    assert built(Tags())[0]["task"]["multilabel"] is True


def test_class_weights_come_from_the_data_or_the_user(built):
    scheme = "task.class_weights.scheme"
    assert built(Classes())[0]["task"]["class_weights"] is None
    num_bright = sum(Classes().split_labels("train"))
    balanced = built(Classes(), f"{scheme}=balanced")[1].objective.weight
    assert torch.allclose(balanced, torch.tensor([32 / 3 / (32 - num_bright), 32 / 3 / num_bright, 1.0]))
    given = built(Tags(), f"{scheme}=[1,2,3]")[1].objective.weight
    assert given.tolist() == [1, 2, 3]


def test_balanced_draws_go_with_single_and_multiple_labels(built):
    for source in (Classes(), Tags()):
        _, task, data = built(source, "loader.balanced=true")
        assert torch.isfinite(task(next(iter(data.train_dataloader()))).loss)


def test_the_loss_of_a_regression_is_an_option(built):
    task = built(Numbers(), "task=regression", "task/loss=mse")[1]
    assert isinstance(task.objective.entry_loss, torch.nn.MSELoss)
    assert built(Numbers(), "task=regression", "task.loss.delta=0.5")[1].objective.entry_loss.delta == 0.5


def test_a_task_that_does_not_fit_the_labels_names_the_one_that_does(built):
    with pytest.raises(ValueError, match=r"classes \(dark, bright, white\); .* use task=classification"):
        built(Classes(), "task=regression")
    with pytest.raises(ValueError, match=r"numbers \(brightness\); use task=regression"):
        built(Numbers())


def test_numbers_can_not_be_balanced(built):
    _, _, data = built(Numbers(), "task=regression", "loader.balanced=true")
    with pytest.raises(ValueError, match=r"loader\.balanced=true draws each class equally often"):
        data.train_dataloader()
