import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from unimodal.data.augment import ImageAugment
from unimodal.data.datamodule import DataModule
from unimodal.data.sources.base import GeneratedRows, Source
from unimodal.data.sources.digits import Digits
from unimodal.data.sources.keypad_tones import KeypadTones
from unimodal.tasks.classification import Classification
from unimodal.tokenizers.audio import AudioFrameTokenizer
from unimodal.tokenizers.image import ImagePatchTokenizer

STEPS = 8


class Rows(Source):
    """Ten examples to train on; the picture is black and the label is the row."""

    class_names = tuple(map(str, range(10)))

    def split(self, name):
        return GeneratedRows(self.row, 10)

    @staticmethod
    def row(index):
        return {"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "label": index}


class Notes(L.LightningModule):
    """Writes down what it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(1)), []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["labels"].tolist())
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def image_data(source=None, **options):
    preprocess = {"image": ImagePatchTokenizer(32, image_size=8, patch_size=4).preprocess}
    return DataModule(source or Digits(), Classification.examples, preprocess, **options)


def fit(resume=None, callbacks=(), balanced=False, **options):
    """The labels of each step: three batches an epoch."""
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    module, data = Notes(), image_data(Rows(), batch_size=3, balanced=balanced)
    trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return module.seen


def test_digits_come_as_bytes_with_labels():
    batch = next(iter(image_data(batch_size=5).train_dataloader()))
    assert batch.keys() == {"pixel_values", "labels", "seed"}
    assert (batch["pixel_values"].shape, batch["pixel_values"].dtype) == ((5, 3, 8, 8), torch.uint8)
    assert (batch["labels"].shape, batch["labels"].dtype) == ((5,), torch.int64)


def test_tones_come_as_waveforms_with_labels():
    preprocess = {"audio": AudioFrameTokenizer(32, sample_rate=16000).preprocess}
    data = DataModule(KeypadTones(), Classification.examples, preprocess, batch_size=3)
    batch = next(iter(data.train_dataloader()))
    assert batch.keys() == {"input_values", "labels", "seed"}
    assert (batch["input_values"].shape, batch["input_values"].dtype) == ((3, 6400), torch.float32)
    assert batch["input_values"].abs().max() <= 1.01  # resampling may overshoot a little


def test_training_leaves_out_a_last_batch_that_is_not_full():
    data = image_data(batch_size=100)
    sizes = [len(batch["labels"]) for batch in data.train_dataloader()]
    assert sizes == [100] * (len(Digits().split("train")) // 100)


def test_validation_reads_everything_once_in_order():
    labels = torch.cat([b["labels"] for b in image_data(eval_batch_size=50).val_dataloader()]).tolist()
    assert labels == [sample["label"] for sample in Digits().split("val")]


def test_the_evaluation_batch_size_is_that_of_training_unless_given():
    assert len(next(iter(image_data(batch_size=7).val_dataloader()))["labels"]) == 7
    assert len(next(iter(image_data(batch_size=7, eval_batch_size=9).val_dataloader()))["labels"]) == 9


def test_another_split_can_be_evaluated():
    data = image_data(eval_split="train", eval_batch_size=500)
    assert sum(len(b["labels"]) for b in data.val_dataloader()) == len(Digits().split("train"))


def test_a_split_is_made_once():
    data = image_data()
    assert data.dataset("train", True) is data.train_dataloader().dataset.dataset


@pytest.mark.parametrize("training_first", [True, False])
def test_evaluating_the_training_split_does_not_augment_it(training_first):
    data = image_data(augment=ImageAugment(brightness=0.9), eval_split="train", batch_size=4)
    loaders = [data.train_dataloader, data.val_dataloader]
    made = [loader() for loader in (loaders if training_first else reversed(loaders))]
    training, evaluation = made if training_first else reversed(made)
    assert training.dataset.dataset.dataset.augment is not None
    assert evaluation.dataset.dataset.augment is None


def test_seed_decides_order_and_augmentation():
    augment = ImageAugment(translate=0.3)

    def first(seed):
        return next(iter(image_data(augment=augment, seed=seed, batch_size=4).train_dataloader()))[
            "pixel_values"
        ]

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))


def test_the_task_decides_what_an_example_is():
    class Text(Source):
        def split(self, name):
            return [{"text": name}]

    made = []

    def examples(samples, preprocess, training, augment, seed):
        made.append((list(samples), training, augment, seed))
        return range(10)

    data = DataModule(Text(), examples, {}, augment="augment", seed=3)
    assert data.dataset("train", True) == range(10)
    data.dataset("val", False)
    assert made == [([{"text": "train"}], True, "augment", 3), ([{"text": "val"}], False, None, 3)]


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="no split 'test'"):
        image_data(eval_split="test").val_dataloader()


@pytest.mark.parametrize("options", [{}, {"limit_train_batches": 2}, {"limit_train_batches": 0.7}])
def test_a_run_resumes_exactly_from_every_step(tmp_path, options):
    save = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole = fit(callbacks=[save], **options)
    assert len(whole) == STEPS
    for step in range(1, STEPS):
        assert fit(resume=tmp_path / f"step={step}.ckpt", **options) == whole[step:], step


@pytest.mark.parametrize("options", [{}, {"limit_train_batches": 2}, {"num_sanity_val_steps": 0}])
@pytest.mark.parametrize("at_epoch_end", [True, False])
def test_a_run_resumes_exactly_from_the_end_of_an_epoch(tmp_path, options, at_epoch_end):
    save = ModelCheckpoint(
        tmp_path, filename="{epoch}-{step}", save_top_k=-1, save_on_train_epoch_end=at_epoch_end
    )
    whole = fit(callbacks=[save], **options)
    saved = sorted(tmp_path.glob("*.ckpt"))
    assert len(saved) >= 2
    for path in saved:
        step = int(path.stem.rpartition("=")[2])
        if step < STEPS:
            assert fit(resume=path, **options) == whole[step:], path.name


def test_a_twice_resumed_run_reads_what_an_uninterrupted_one_does(tmp_path):
    def save(name):
        return ModelCheckpoint(tmp_path / name, filename="{step}", every_n_train_steps=1, save_top_k=-1)

    whole = fit(callbacks=[save("first")])
    fit(resume=tmp_path / "first/step=2.ckpt", callbacks=[save("second")])
    for step in (3, 4, 6):
        assert fit(resume=tmp_path / f"second/step={step}.ckpt") == whole[step:]


def test_overfitting_trains_on_one_batch_again_and_again():
    seen = fit(overfit_batches=1)
    assert seen == seen[:1] * STEPS


class Uneven(Source):
    """Ninety samples of one class, ten of the other."""

    class_names = ("many", "few")

    def split(self, name):
        return [Rows.row(int(index >= 90)) for index in range(100)]


def test_balanced_training_sees_the_classes_equally_often():
    labels = torch.cat([b["labels"] for b in image_data(Uneven(), balanced=True).train_dataloader()])
    assert len(labels) == 64
    assert 20 <= labels.sum() <= 44


def test_balancing_leaves_validation_as_it_is():
    labels = torch.cat([b["labels"] for b in image_data(Uneven(), balanced=True).val_dataloader()])
    assert labels.tolist() == [0] * 90 + [1] * 10


def test_a_balanced_run_resumes_exactly(tmp_path):
    save = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole = fit(callbacks=[save], balanced=True)
    assert len({tuple(labels) for labels in whole}) > 3
    for step in range(1, STEPS):
        assert fit(resume=tmp_path / f"step={step}.ckpt", balanced=True) == whole[step:], step


def test_examples_that_are_no_samples_can_not_be_balanced():
    def windows(samples, preprocess, training, augment, seed):
        return range(7)

    data = DataModule(Uneven(), windows, {}, batch_size=2, balanced=True)
    with pytest.raises(ValueError, match="this one makes 7 examples of 100 samples"):
        data.train_dataloader()
