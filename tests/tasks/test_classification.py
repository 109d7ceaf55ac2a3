import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score, top_k_accuracy_score

from unimodal.data.loader import ResumableDataLoader
from unimodal.data.sampling import ResumableBatchSampler
from unimodal.data.sources.digits import Digits
from unimodal.tasks.classification import Classification
from unimodal.tasks.pooling import FirstPooling, LastPooling, MeanPooling
from unimodal.tasks.single_label import SingleLabel

NAMES = [str(i) for i in range(10)]


@pytest.fixture
def make(image_model, randomise):
    """A classifier of digits whose head is not zero."""

    def _make(names=NAMES, pooling=None, num_prefix_tokens=0, **options):
        torch.manual_seed(0)
        task = Classification(image_model(num_prefix_tokens), names, pooling or MeanPooling(), **options)
        randomise(task.head)
        return task

    return _make


def batch_of(num, labels=None, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (num, 3, 8, 8), dtype=torch.uint8, generator=rng)
    drawn = torch.randint(10, (num,), generator=rng)
    return {"pixel_values": pixels, "labels": drawn if labels is None else torch.tensor(labels)}


def digits_loader(task, batch_size, num=100):
    preprocess = {"image": task.model.tokenizers["image"].preprocess}
    dataset = task.examples(Digits().split("val"), preprocess, training=False)
    return ResumableDataLoader(dataset, ResumableBatchSampler(num, batch_size, shuffle=False))


def predictions(task, num=100):
    batch = next(iter(digits_loader(task, num, num)))
    with torch.no_grad():
        return task.eval()(batch).logits, batch["labels"]


def test_the_head_is_zero_at_first(image_model):
    task = Classification(image_model(), NAMES, MeanPooling())
    output = task(batch_of(4))
    assert not output.logits.any()
    assert torch.isclose(output.loss, torch.tensor(10.0).log())


@pytest.mark.parametrize("options", [{}, {"head_norm": True}, {"causal": True, "pooling": LastPooling()}])
def test_the_loss_is_the_cross_entropy(make, options):
    task, batch = make(**options), batch_of(6)
    output = task(batch)
    assert output.logits.shape == (6, 10)
    assert output.logits.std() > 0.05
    assert torch.allclose(output.loss, F.cross_entropy(output.logits, batch["labels"]))
    assert output.count == 6


def test_labels_are_smoothed_in_training_only(make):
    task, batch = make(label_smoothing=0.3), batch_of(6)
    logits = task(batch).logits
    smooth = F.cross_entropy(logits, batch["labels"], label_smoothing=0.3)
    assert torch.allclose(task.train()(batch).loss, smooth)
    assert torch.allclose(task.eval()(batch).loss, F.cross_entropy(logits, batch["labels"]))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_ignored_labels_do_not_count(make, label_smoothing):
    task, batch = make(label_smoothing=label_smoothing), batch_of(5, [3, -100, 7, -100, 0])
    kept = {key: value[[0, 2, 4]] for key, value in batch.items()}
    some, few = task(batch), task(kept)
    assert torch.allclose(some.loss, few.loss)
    assert some.count == few.count == 3


def test_a_batch_of_ignored_labels_has_no_loss(make):
    task = make()
    output = task(batch_of(3, [-100] * 3))
    assert output.loss == 0
    assert output.count == 0
    output.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_an_ignored_batch_leaves_the_figures_as_they_were(make, validate):
    task, batch = make(), batch_of(20)
    plain = validate(task, [batch])
    assert validate(task, [batch_of(3, [-100] * 3), batch, batch_of(3, [-100] * 3)]) == pytest.approx(plain)


def test_the_gradient_reaches_the_tokenizer(make):
    task = make()
    task(batch_of(4)).loss.backward()
    assert task.model.tokenizers["image"].project.weight.grad.any()


def test_figures_do_not_depend_on_the_batch_size(make, validate):
    task = make()
    figures = [validate(task, digits_loader(task, size)) for size in (1, 7, 64)]
    assert figures[0].keys() == {
        f"val/{name}" for name in ("loss", "accuracy", "f1", "top5_accuracy", "num_samples")
    }
    for other in figures[1:]:
        assert other == pytest.approx(figures[0], abs=1e-6)


def test_figures_are_those_of_scikit_learn(make, validate):
    task = make()
    logits, labels = predictions(task)
    guesses = logits.argmax(-1)
    assert validate(task, digits_loader(task, 32)) == pytest.approx(
        {
            "val/loss": F.cross_entropy(logits, labels).item(),
            "val/accuracy": accuracy_score(labels, guesses),
            "val/f1": f1_score(labels, guesses, average="macro", zero_division=0),
            "val/top5_accuracy": top_k_accuracy_score(labels, logits, k=5, labels=range(10)),
            "val/num_samples": len(labels),
        },
        abs=1e-6,
    )


def test_a_class_that_is_neither_there_nor_guessed_does_not_lower_f1(make, validate):
    task = make()
    with torch.no_grad():
        task.head.bias[5:] = -1e3
    batch = batch_of(30)
    batch["labels"] %= 5
    with torch.no_grad():
        guesses = task.eval()(batch).logits.argmax(-1)
    expected = f1_score(batch["labels"], guesses, average="macro")
    assert validate(task, [batch])["val/f1"] == pytest.approx(expected, abs=1e-6)


def test_a_second_validation_starts_anew(make, validate):
    task = make()
    validate(task, [batch_of(20, seed=1)])
    assert validate(task, [batch_of(20)]) == validate(make(), [batch_of(20)])


def test_fill_ups_of_two_processes_leave_the_figures_as_they_were(make, validate):
    task = make()
    dataset = digits_loader(task, 8).dataset.dataset
    batches = [
        batch
        for rank in (0, 1)
        for batch in ResumableDataLoader(
            dataset, ResumableBatchSampler(21, 4, shuffle=False, rank=rank, world_size=2)
        )
    ]
    assert sum(len(batch["labels"]) for batch in batches) == 22
    logits, labels = predictions(task, 21)
    figures = validate(task, batches)
    assert figures["val/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)
    assert figures["val/accuracy"] == pytest.approx(accuracy_score(labels, logits.argmax(-1)), abs=1e-6)


def test_two_classes_have_no_top5(make, validate):
    batch = batch_of(8, [0, 1] * 4)
    assert "val/top5_accuracy" not in validate(make(names=["no", "yes"]), [batch])


@pytest.mark.parametrize("names", [[], ["only"]])
def test_fewer_than_two_classes_are_refused(make, names):
    with pytest.raises(ValueError, match="needs two classes or more"):
        make(names=names)


def test_causal_attention_reads_the_patches_in_order(make):
    first = batch_of(4)
    second = {**first, "pixel_values": first["pixel_values"].clone()}
    second["pixel_values"][:, :, 4:] = 0  # the lower two patches
    causal, both = make(causal=True, pooling=FirstPooling()), make(pooling=FirstPooling())
    assert torch.allclose(causal(first).logits, causal(second).logits, atol=1e-6)
    assert not torch.allclose(both(first).logits, both(second).logits, atol=1e-3)


def test_two_prefix_tokens_can_be_pooled(make):
    task = make(pooling=FirstPooling(2), num_prefix_tokens=2)
    assert task(batch_of(3)).tokens.embeds.shape == (3, 6, 32)
    task(batch_of(3)).loss.backward()
    assert task.model.tokenizers["image"].prefix.grad.all(1).all()


def test_samples_show_label_guess_and_probability(make, validate):
    task, batch = make(), batch_of(3, [4, -100, 9])
    validate(task, [batch, batch_of(5)])
    best = task(batch).logits.softmax(-1).max(-1)
    lines = [f"{label} -> {best.indices[row]} ({best.values[row]:.2f})" for row, label in ((0, 4), (2, 9))]
    assert task.samples() == lines
    assert task.samples() == []


def test_class_weights_are_those_of_torch_and_smoothing_is_not_weighted(make):
    weights = [0.5, 2.0, *[1.0] * 8]
    task, batch = make(class_weights=weights, label_smoothing=0.2), batch_of(20)
    batch["labels"][:4] = torch.tensor([0, 1, -100, 1])
    logits, weight = task(batch).logits, torch.tensor(weights)
    assert torch.allclose(task.eval()(batch).loss, F.cross_entropy(logits, batch["labels"], weight))
    rows = batch["labels"] != -100
    logits, labels = logits[rows], batch["labels"][rows]
    smooth = F.cross_entropy(logits, labels, label_smoothing=0.2, reduction="none")
    expected = (weight[labels] * smooth).sum() / weight[labels].sum()
    assert torch.allclose(task.train()(batch).loss, expected)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("ratio", [10, 20, 1000, 10_000])
@pytest.mark.parametrize("scheme", ["balanced", "sqrt", "weights"])
def test_the_loss_of_separable_data_is_least_at_the_true_class(num_classes, ratio, scheme):
    counts = torch.linspace(ratio, 1, num_classes)  # samples of each class
    weights = counts.sum() / (num_classes * counts)
    weights = {"balanced": weights, "sqrt": weights.sqrt(), "weights": 1 / counts}[scheme]
    smoothing = 0.1
    target = torch.eye(num_classes) * (1 - smoothing) + smoothing / num_classes
    logits = target.log().requires_grad_()  # predicts each class as smoothing wants it
    objective = SingleLabel([str(i) for i in range(num_classes)], weights.tolist(), smoothing).train()
    total, count = objective.loss(logits, torch.arange(num_classes))
    [gradient] = torch.autograd.grad(total / count, logits)
    assert logits.argmax(1).equal(torch.arange(num_classes))
    assert gradient.abs().max() < 1e-6  # convex: no other prediction has a lower loss


def test_the_weighted_validation_loss_does_not_depend_on_the_batch_size(make, validate):
    weights = [0.001] * 5 + [3.0] * 5
    task = make(class_weights=weights)
    logits, labels = predictions(task)
    expected = F.cross_entropy(logits, labels, torch.tensor(weights)).item()
    for size in (1, 7, 64):
        assert validate(task, digits_loader(task, size))["val/loss"] == pytest.approx(expected, rel=1e-5)


def test_class_weights_do_not_change_the_other_figures(make, validate):
    plain, weighted = (validate(make(class_weights=w), [batch_of(40)]) for w in (None, [2.0, *[1.0] * 9]))
    assert plain.pop("val/loss") != weighted.pop("val/loss")
    assert plain == weighted


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0, 1.0], "3 class_weights for 2 classes: no, yes"),
        ([1.0, -1.0], "must be 0 or more"),
        ([0.0, 0.0], "one of them more"),
        ([1.0, float("nan")], "must be 0 or more"),
    ],
)
def test_class_weights_that_do_not_fit_are_refused(make, weights, message):
    with pytest.raises(ValueError, match=message):
        make(names=["no", "yes"], class_weights=weights)


def test_probabilities_of_one_label_sum_to_one(make):
    assert torch.allclose(make().probabilities(torch.randn(4, 10)).sum(1), torch.ones(4))


def test_weights_are_not_in_the_checkpoint(make):
    weighted, plain = make(class_weights=[2.0] * 10), make()
    assert weighted.state_dict().keys() == plain.state_dict().keys()
    assert not any("objective" in name for name in plain.state_dict())
