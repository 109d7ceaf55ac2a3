"""A model that has broken down is not reported as a good one."""

import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from unimodal.data.collate import collate
from unimodal.data.sampling import Draw
from unimodal.data.sources.base import Source
from unimodal.data.vocabulary import letter_vocabulary
from unimodal.tasks.ctc import CTC
from unimodal.tasks.multi_label import MultiLabel
from unimodal.tasks.retrieval import retrieval
from unimodal.tasks.single_label import SingleLabel

NAN = float("nan")
HIGHER_IS_BETTER = {
    "single label": ["accuracy", "f1", "top5_accuracy"],
    "multi-label": ["micro_f1", "macro_f1"],
    "regression": ["r2"],
    "retrieval": ["mean_recall", "image_to_text_r1", "text_to_image_r10"],
    "words in classes": ["accuracy", "f1"],
    "words in spans": ["accuracy", "f1", "precision", "recall"],
    "segmentation": ["accuracy", "miou"],
    "masked text": ["accuracy"],
    "masked modeling": [],
    "language modeling": [],
    "transcription": ["exact_match"],
    "captioning": [],
}


@pytest.fixture
def broken(scored):
    """A task whose head gives NaN in the first `num` batches, and its samples in batches of five."""

    def _broken(name, num):
        task, samples = scored(name)
        head, calls = task.projections["text"] if name == "retrieval" else task.head, []

        def break_down(module, inputs, output):
            calls.append(1)
            return output * NAN if len(calls) <= num else output

        head.register_forward_hook(break_down)
        if name == "captioning":
            task.num_generated = 0  # what is written calls the head as well
        dataset = task.examples(samples, task.preprocess, training=False)
        numbers = range(len(dataset))
        return task, [collate([dataset[Draw(0, i)] for i in numbers[k : k + 5]]) for k in numbers[::5]]

    return _broken


@pytest.mark.parametrize("name", HIGHER_IS_BETTER)
def test_the_loss_of_all_is_nan_if_that_of_one_batch_is(broken, validate, name):
    figures = validate(*broken(name, num=1))
    for metric in {"loss", "perplexity", "bits_per_byte", "mae", "rmse"} & {k[4:] for k in figures}:
        assert torch.tensor(figures[f"val/{metric}"]).isnan(), metric


@pytest.mark.parametrize("name", HIGHER_IS_BETTER)
def test_nothing_is_right_where_all_is_nan(broken, validate, name):
    figures = validate(*broken(name, num=1000))
    for metric in HIGHER_IS_BETTER[name]:
        assert not figures[f"val/{metric}"] > 0, metric


def test_a_row_that_is_not_finite_counts_as_wrong():
    objective, rng = SingleLabel([*"abcdefg"]), torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 7, generator=rng), torch.randint(7, (40,), generator=rng)
    said = logits.argmax(1)
    labels[:2] = 0
    logits[0], logits[1, 0], said[:2] = NAN, torch.inf, 7
    objective.update(logits, labels)
    figures = objective.compute()
    assert figures["accuracy"] == pytest.approx(accuracy_score(labels, said))
    assert figures["f1"] == pytest.approx(f1_score(labels, said, labels=range(7), average="macro"))
    assert figures["top5_accuracy"] < 1 - 1 / 40


def test_a_row_that_is_not_finite_leaves_the_others_of_several_labels_alone():
    objective, rng = MultiLabel([*"abc"]), torch.Generator().manual_seed(0)
    logits, labels = torch.randn(20, 3, generator=rng), torch.randint(2, (20, 3), generator=rng).float()
    logits[3] = NAN
    objective.update(logits, labels)
    figures, logits = objective.compute(), logits.nan_to_num(-1e9)
    assert figures["micro_f1"] == pytest.approx(f1_score(labels, logits > 0, average="micro"))
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, logits > 0, average="macro"))
    assert figures["map"] == pytest.approx(average_precision_score(labels, logits))


@pytest.mark.parametrize("which", [slice(None), 0])
def test_a_vector_that_is_not_finite_finds_nothing(which):
    vectors = torch.eye(20)[:, None].repeat(1, 2, 1)
    vectors[which] = NAN
    found = retrieval(vectors, torch.arange(40).view(20, 2), ["image", "text"])
    num_broken = 20 if which == slice(None) else 1
    assert found["image_to_text_r1"] == found["text_to_image_r1"] == pytest.approx(1 - num_broken / 20)


def test_a_transcript_that_is_not_finite_is_wrong(scored, validate):
    """The first label, which NaN would be taken for, is the whole text here."""

    class OneLetter(Source):
        def split(self, name):
            return [{"text": "a"}]

    task, samples = scored("transcription")
    task = CTC(task.model, letter_vocabulary(OneLetter())).eval()
    dataset = task.examples([sample | {"text": "a"} for sample in samples], task.preprocess, training=False)
    batch = collate([dataset[Draw(0, index)] for index in range(3)])
    assert validate(task, [batch])["val/exact_match"] == 1
    task.head.weight.data.fill_(NAN)
    assert validate(task, [batch])["val/exact_match"] == 0
