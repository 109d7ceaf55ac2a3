import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score

from unimodal.tasks.classification import Classification
from unimodal.tasks.pooling import MeanPooling

NAMES = ["daisy", "rose", "red"]


@pytest.fixture
def make(image_model, randomise):
    """A classifier into three classes, of which several may apply, whose head is not zero."""

    def _make(names=NAMES, **options):
        torch.manual_seed(0)
        task = Classification(image_model(), names, MeanPooling(), multilabel=True, **options)
        randomise(task.head)
        return task.eval()

    return _make


def batch_of(num, labels=None, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (num, 3, 8, 8), dtype=torch.uint8, generator=rng)
    drawn = torch.randint(2, (num, 3), generator=rng).float()
    return {"pixel_values": pixels, "labels": drawn if labels is None else torch.tensor(labels)}


def with_uncounted(batch):
    """The rows of `batch`, each followed by one that does not count."""
    labels = torch.stack((batch["labels"], torch.full_like(batch["labels"], -100)), 1).flatten(0, 1)
    return {"pixel_values": batch["pixel_values"].repeat_interleave(2, 0), "labels": labels}


@pytest.mark.parametrize("class_weights", [None, [0.5, 3.0, 1.0]])
def test_the_loss_is_the_binary_cross_entropy(make, class_weights):
    task, batch = make(class_weights=class_weights), batch_of(6)
    output = task(batch)
    weight = None if class_weights is None else torch.tensor(class_weights)
    expected = F.binary_cross_entropy_with_logits(output.logits, batch["labels"], pos_weight=weight)
    assert torch.allclose(output.loss, expected)
    assert output.count == 6


def test_uncounted_rows_change_neither_loss_nor_figures(make, validate):
    task, batch = make(), batch_of(20)
    some, all_ = task(with_uncounted(batch)), task(batch)
    assert torch.allclose(some.loss, all_.loss)
    assert some.count == all_.count
    nothing = batch_of(3, [[-100.0] * 3] * 3)
    figures = validate(task, [nothing, with_uncounted(batch), nothing])
    assert figures == pytest.approx(validate(task, [batch]), abs=1e-6)


def test_a_batch_that_does_not_count_has_no_loss(make):
    output = make()(batch_of(2, [[-100.0] * 3] * 2))
    output.loss.backward()
    assert output.loss == output.count == 0


def test_figures_are_those_of_scikit_learn(make, validate):
    task, batches = make(), [batch_of(30), batch_of(7, seed=1)]
    labels = torch.cat([batch["labels"] for batch in batches])
    with torch.no_grad():
        logits = torch.cat([task(batch).logits for batch in batches])
    guesses = logits.sigmoid() > 0.5
    assert validate(task, batches) == pytest.approx(
        {
            "val/loss": F.binary_cross_entropy_with_logits(logits, labels).item(),
            "val/map": average_precision_score(labels, logits.sigmoid(), average="macro"),
            "val/micro_f1": f1_score(labels, guesses, average="micro"),
            "val/macro_f1": f1_score(labels, guesses, average="macro", zero_division=0),
            "val/num_samples": 37,
        },
        abs=1e-6,
    )


def test_classes_that_never_apply_are_left_out_of_map(make):
    objective = make().objective
    probabilities = torch.tensor([[0.9, 0.4, 0.3], [0.8, 0.3, 0.6], [0.1, 0.2, 0.5]])
    labels = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    objective.update(probabilities.logit(), labels)
    assert objective.compute()["map"] == pytest.approx((0.5 + 1) / 2)


def test_map_does_not_depend_on_how_logits_fall_into_batches(make):
    objective, labels = make().objective, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    for logit, label in ((0.9, labels[:1]), (-3.0, labels[1:]), (0.2, labels[:1]), (5.0, labels[1:])):
        objective.update(torch.full((1, 3), logit), label)
    assert objective.compute()["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_map_without_any_class_is_nan(make):
    objective = make().objective
    objective.update(torch.zeros(2, 3), torch.zeros(2, 3))
    assert objective.compute()["map"].isnan()


def test_the_best_checkpoint_is_that_of_map(make):
    task = make()
    assert (task.monitor, task.mode) == ("val/map", "max")


def test_probabilities_are_each_class_on_its_own(make):
    assert torch.equal(make().probabilities(torch.zeros(2, 3)), torch.full((2, 3), 0.5))


def test_samples_show_labels_and_guesses(make):
    logits = torch.tensor([[0.6, 0.8, 0.2], [0.1, 0.2, 0.3], [-1.0, 0.5, 0.6]]).logit(eps=1e-6)
    labels = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    lines = make().objective.describe(logits, labels)
    assert lines == ["rose, red -> rose (0.80), daisy (0.60)", "nothing -> nothing", "daisy -> red (0.60)"]


def test_samples_leave_out_what_does_not_count(make, validate):
    task = make()
    validate(task, [with_uncounted(batch_of(3))])
    assert len(task.samples()) == 3


def test_map_ranks_by_logits_where_probabilities_are_all_one(make):
    """In float32 the probability is 1 from a logit of 17 on."""
    objective, rng = make().objective, torch.Generator().manual_seed(0)
    logits, labels = 40 + 20 * torch.randn(30, 3, generator=rng), torch.randint(2, (30, 3), generator=rng)
    objective.update(logits, labels.float())
    assert objective.compute()["map"] == pytest.approx(average_precision_score(labels, logits))
