import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import Dataset

from unimodal.data.loader import ResumableDataLoader
from unimodal.data.sampling import ResumableBatchSampler

NUM, BATCH, STEPS = 22, 4, 12  # five batches an epoch, two examples are left out


class Numbers(Dataset):
    """Gives back what was asked for."""

    def __len__(self):
        return NUM

    def __getitem__(self, draw):
        return {"drawn": torch.tensor([draw.epoch, draw.index])}


class Notes(L.LightningModule):
    """Writes down what it was trained on."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(1)), []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["drawn"].tolist())
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def loader(training=True, **options):
    return ResumableDataLoader(Numbers(), ResumableBatchSampler(NUM, BATCH, 7, training, training), **options)


def fit(folder=None, resume=None, val=False, loading=None, **options):
    """What each batch held, up to so many steps; saves at every step into `folder`."""
    save = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        callbacks=[save] if folder else [],
        logger=False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )
    module = Notes()
    loaders = (loader(**loading or {}), loader(training=False) if val else None)
    trainer.fit(module, *loaders, ckpt_path=resume, weights_only=True)
    return module.seen


def resumes_exactly(folder, every=1, **options):
    """Whether a run resumed from each of the saved steps sees what the uninterrupted one saw."""
    whole = fit(folder, **options)
    for step in range(1, STEPS, every):
        rest = fit(resume=folder / f"step={step}.ckpt", **options)
        if not rest or rest != whole[-len(rest) :]:
            return False
    return True


def test_a_run_reads_each_epoch_in_another_order():
    seen = fit()
    epochs = [[tuple(drawn) for batch in seen[i : i + 5] for drawn in batch] for i in (0, 5)]
    for epoch, drawn in enumerate(epochs):
        assert len(set(drawn)) == 20
        assert {e for e, _ in drawn} == {epoch}
    assert [i for _, i in epochs[0]] != [i for _, i in epochs[1]]


def test_a_run_resumes_exactly_from_every_step(tmp_path):
    assert resumes_exactly(tmp_path)


def test_validation_in_between_changes_nothing(tmp_path):
    plain = fit()
    assert fit(val=True, val_check_interval=2) == plain
    assert resumes_exactly(tmp_path, every=2, val=True, val_check_interval=2)


def test_accumulated_steps_resume_exactly(tmp_path):
    assert resumes_exactly(tmp_path, accumulate_grad_batches=2)


def test_a_limited_epoch_resumes_exactly(tmp_path):
    assert resumes_exactly(tmp_path, limit_train_batches=3, loading={"limit": 3})


def test_a_limit_may_be_a_share():
    shared, counted = loader(limit=0.7), loader(limit=3)
    for some in (shared, counted):
        iterator = iter(some)
        for _ in range(3):
            next(iterator)
        assert some.state_dict() == {"epoch": 1, "batches": 0, "size": BATCH, "length": 3}


def test_overfitting_repeats_the_same_batch():
    seen = fit(overfit_batches=1, loading={"limit": 1, "repeat": True})
    assert len(seen) == STEPS
    assert all(batch == seen[0] for batch in seen)


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_run_with_workers_resumes_exactly(tmp_path, step):
    whole = fit(tmp_path)
    rest = fit(resume=tmp_path / f"step={step}.ckpt", loading={"num_workers": 2})
    assert rest == whole[step:]


def test_iter_without_use_is_no_pass():
    some = loader()
    for _ in range(3):
        iter(some)
    assert next(iter(some))["drawn"][0, 0] == 0
    assert next(iter(some))["drawn"][0, 0] == 1


def test_a_pass_to_the_end_is_followed_by_the_next_epoch():
    some = loader()
    epochs = [{int(batch["drawn"][0, 0]) for batch in some} for _ in range(3)]
    assert epochs == [{0}, {1}, {2}]
    assert some.state_dict() == {"epoch": 3, "batches": 0, "size": BATCH, "length": 5}


def test_a_restored_loader_hands_out_the_rest_then_the_next_epoch():
    whole = loader()
    epochs = [[batch["drawn"].tolist() for batch in whole] for _ in range(2)]
    for start in range(5):
        restored = loader()
        restored.load_state_dict({"epoch": 0, "batches": start})
        assert [batch["drawn"].tolist() for batch in restored] == epochs[0][start:]
        assert [batch["drawn"].tolist() for batch in restored] == epochs[1]


def test_the_state_of_an_untouched_loader_is_the_state_it_was_given():
    restored = loader()
    restored.load_state_dict({"epoch": 4, "batches": 2})
    iter(restored)
    assert restored.state_dict() == {"epoch": 4, "batches": 2, "size": BATCH, "length": 5}


@pytest.mark.parametrize("size", [2, 3, 4, 7, 8, 11])
@pytest.mark.parametrize("done", range(5))
def test_a_run_with_another_batch_size_leaves_no_sample_out_and_repeats_one_batch_at_most(size, done):
    whole = loader()
    batches = iter(whole)
    for _ in range(done):
        next(batches)
    other = ResumableDataLoader(Numbers(), ResumableBatchSampler(NUM, size, 7, True, True))
    other.load_state_dict(whole.state_dict())
    order = [draw.index for draw in ResumableBatchSampler(NUM, 1, 7)._order()]
    first = next(iter(other))["drawn"][:, 1].tolist()
    start, handed_out = order.index(first[0]), done * BATCH
    assert handed_out - size <= start <= handed_out and start % size == 0
    assert start + size <= NUM
