import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from torch import nn

from unimodal.data.sampling import Draw
from unimodal.tasks.pooling import MeanPooling
from unimodal.tasks.regression import Regression

NAMES, MEAN, STD = ["age", "height"], [40.0, 1.7], [12.0, 0.1]


@pytest.fixture
def make(image_model, randomise):
    """Two numbers of a picture, by a head that is not zero."""

    def _make(loss=None, mean=MEAN, std=STD):
        torch.manual_seed(0)
        loss = loss or nn.HuberLoss(reduction="none")
        task = Regression(image_model(), NAMES, mean, std, MeanPooling(), loss)
        randomise(task.head)
        return task

    return _make


def batch_of(num, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (num, 3, 8, 8), dtype=torch.uint8, generator=rng)
    labels = torch.tensor(MEAN) + torch.tensor(STD) * torch.randn(num, 2, generator=rng)
    return {"pixel_values": pixels, "labels": labels}


def uncounted(batch):
    return {**batch, "labels": torch.full_like(batch["labels"], -100)}


def both(first, second):
    return {key: torch.cat((first[key], second[key])) for key in first}


def predicted(task, batches):
    with torch.no_grad():
        numbers = torch.cat([task.predict(task.eval()(batch).logits) for batch in batches])
    return torch.cat([batch["labels"] for batch in batches]), numbers


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.HuberLoss(reduction="none"), F.huber_loss),
        (nn.HuberLoss(reduction="none", delta=0.2), lambda a, b: F.huber_loss(a, b, delta=0.2)),
        (nn.MSELoss(reduction="none"), F.mse_loss),
    ],
)
def test_the_loss_is_that_of_standardised_numbers(make, module, function):
    task, batch = make(module), batch_of(6)
    output = task(batch)
    standard = (batch["labels"] - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(output.loss, function(output.logits, standard))
    assert output.count == 6


def test_at_first_the_mean_is_predicted(image_model):
    task = Regression(image_model(), NAMES, MEAN, STD, MeanPooling(), nn.MSELoss(reduction="none"))
    assert torch.allclose(task.predict(task(batch_of(3)).logits), torch.tensor(MEAN).expand(3, 2))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_gradients_do_not_depend_on_the_unit(make, scale):
    task = make(mean=[m * scale for m in MEAN], std=[s * scale for s in STD])
    batch = batch_of(6)
    task(batch | {"labels": batch["labels"] * scale}).loss.backward()
    plain = make()
    plain(batch).loss.backward()
    assert torch.allclose(task.head.weight.grad, plain.head.weight.grad, rtol=1e-2, atol=1e-4)


def test_uncounted_rows_change_neither_loss_nor_figures(make, validate):
    task, batch, rest = make(), batch_of(20), uncounted(batch_of(5, seed=1))
    some, all_ = task(both(rest, batch)), task(batch)
    assert torch.allclose(some.loss, all_.loss)
    assert some.count == all_.count
    figures = validate(task, [rest, both(batch, rest), rest])
    assert figures == pytest.approx(validate(task, [batch]), rel=1e-5)


def test_a_batch_that_does_not_count_has_no_loss(make):
    task = make()
    output = task(uncounted(batch_of(3)))
    output.loss.backward()
    assert output.loss == output.count == 0
    assert not task.head.weight.grad.any()


def test_figures_are_those_of_scikit_learn_in_the_data_s_units(make, validate):
    task, batches = make(), [batch_of(30), batch_of(1, seed=1), batch_of(9, seed=2)]
    labels, numbers = predicted(task, batches)
    rmse = mean_squared_error(labels, numbers, multioutput="raw_values") ** 0.5
    figures = validate(task, batches)
    assert figures.keys() == {"val/loss", "val/mae", "val/rmse", "val/r2", "val/num_samples"}
    assert figures["val/mae"] == pytest.approx(mean_absolute_error(labels, numbers), rel=1e-5)
    assert figures["val/rmse"] == pytest.approx(rmse.mean(), rel=1e-5)
    assert figures["val/r2"] == pytest.approx(r2_score(labels, numbers), rel=1e-4)


def test_r2_of_large_numbers_keeps_its_digits(make):
    objective = make(mean=[1e6, 1e6], std=[10.0, 10.0]).objective
    logits = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    labels = 1e6 + (10 * logits).round() + 5
    objective.update(logits, labels)
    expected = r2_score(labels.double(), 1e6 + 10 * logits.double())
    assert objective.compute()["r2"].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-3])
def test_r2_of_numbers_that_hardly_vary_is_that_of_scikit_learn(make, spread):
    """torchmetrics takes small sums of squares for 0, and R2 is then 1 or 0."""
    objective, rng = make(mean=[0.0, 0.0], std=[1.0, 1.0]).objective, torch.Generator().manual_seed(0)
    labels = 0.5 + spread * torch.randn(20, 2, generator=rng)
    guesses = 0.5 + 2e-3 * torch.randn(20, 2, generator=rng)
    for rows in torch.arange(20).split(7):
        objective.update(guesses[rows], labels[rows])
    assert objective.compute()["r2"] == pytest.approx(r2_score(labels.double(), guesses.double()), rel=1e-3)


def test_a_label_that_would_be_left_out_is_refused(make):
    """-100 stands for a row that does not count; a temperature of -100 degrees would be skipped silently."""
    task = make()
    samples = [{"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "label": torch.tensor([-100.0, -100.0])}]
    dataset = task.examples(samples, task.preprocess, training=False)
    with pytest.raises(ValueError, match=r"-100, which stands for a label that does not count"):
        dataset[Draw(0, 0)]
    with pytest.raises(ValueError, match="not finite"):
        samples[0]["label"] = torch.tensor([1.0, float("nan")])
        dataset[Draw(0, 0)]


def test_numbers_that_float64_cannot_tell_apart_are_refused(make):
    with pytest.raises(
        ValueError, match=r"age has a mean of 1\.7e\+18 .* torch.float64 cannot tell apart; sub"
    ):
        make(mean=[1.7e18, 1.7], std=[600.0, 0.1])
    make(mean=[1.7e9, 1.7], std=[600.0, 0.1])


def time_stamps(num=100):
    return 1.7e9 + 10 * torch.arange(num, dtype=torch.float64)[:, None].expand(-1, 2)


def test_time_stamps_keep_their_seconds(make):
    """In float32 these hundred labels are nine values."""
    labels = time_stamps()
    mean, std = labels.mean(0).tolist(), labels.std(0).tolist()
    objective = make(nn.MSELoss(reduction="none"), mean, std).objective.to(torch.bfloat16)
    logits = (
        (labels - torch.tensor(mean, dtype=torch.float64)) / torch.tensor(std, dtype=torch.float64)
    ).float()
    total, _ = objective.loss(logits, labels)
    assert total < 1e-10
    assert objective.loss(logits.roll(1, 0), labels)[0] > 0.05
    objective.update(logits, labels)
    metrics = objective.compute()
    assert metrics["mae"] < 1e-3 and metrics["r2"] == pytest.approx(1)
    answers = [answer["age"] for answer in objective.answer(logits, 1)]
    assert answers == pytest.approx(labels[:, 0].tolist(), abs=1e-3)


def test_labels_reach_the_task_in_float64(make):
    task = make(mean=[1.7e9, 1.7e9], std=[300.0, 300.0])
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    for label in (time_stamps(1)[0], [1.7e9 + 10, 1.7e9 + 20], time_stamps(1)[0].numpy()):
        dataset = task.examples([{"image": pixels, "label": label}], task.preprocess, training=False)
        assert dataset[Draw(0, 0)]["labels"].tolist() == list(map(float, label))


def test_one_sample_has_no_r2(make, validate):
    figures = validate(make(), [batch_of(1)])
    assert figures["val/mae"] > 0
    assert figures["val/r2"] != figures["val/r2"]  # nan


def test_the_best_checkpoint_is_that_of_the_least_loss(make):
    task = make()
    assert (task.monitor, task.mode) == ("val/loss", "min")


def test_samples_show_as_many_places_as_the_spread_has(make):
    lines = make().objective.describe(torch.tensor([[-1.0, 0.5]]), torch.tensor([[31.0, 1.82]]))
    assert lines == ["age 31.0 -> 28.0, height 1.820 -> 1.750"]


def test_samples_leave_out_what_does_not_count(make, validate):
    task = make()
    validate(task, [both(uncounted(batch_of(2)), batch_of(3))])
    assert len(task.samples()) == 3


def test_a_loss_that_is_already_a_mean_is_refused(make):
    with pytest.raises(ValueError, match=r"set task\.loss\.reduction=none"):
        make(nn.MSELoss())


def test_means_and_deviations_must_fit_the_names(make):
    with pytest.raises(ValueError, match="1 means and 2 stds for age, height"):
        make(mean=[1.0])
    with pytest.raises(ValueError, match="must be more than 0"):
        make(std=[1.0, 0.0])
