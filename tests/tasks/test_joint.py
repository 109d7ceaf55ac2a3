import copy

import pytest
import torch

from unimodal.backbone.transformer import Transformer
from unimodal.data.vocabulary import byte_vocabulary
from unimodal.model import Unimodal
from unimodal.tasks.classification import Classification
from unimodal.tasks.joint import Joint
from unimodal.tasks.language_modeling import LanguageModeling
from unimodal.tasks.pooling import MeanPooling
from unimodal.tokenizers.image import ImagePatchTokenizer
from unimodal.tokenizers.text import TextTokenizer


@pytest.fixture
def joint(randomise):
    def _joint(shared=True, **loss_weights):
        torch.manual_seed(0)
        backbone = Transformer(32, 2, 4)
        image = Unimodal({"image": ImagePatchTokenizer(32, image_size=8, patch_size=4)}, backbone)
        text = TextTokenizer(32, byte_vocabulary(None), max_len=16)
        words = Unimodal({"text": text}, backbone if shared else copy.deepcopy(backbone))
        tasks = {
            "photos": Classification(image, ["a", "b", "c"], MeanPooling()),
            "words": LanguageModeling(words, sample_len=4, num_samples=1),
        }
        return randomise(Joint(tasks, {"photos": 1.0, "words": 1.0} | loss_weights))

    return _joint


def photos(seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (5, 3, 8, 8), generator=generator).byte()
    return {"pixel_values": pixels, "labels": torch.tensor([0, 1, 2, 0, 1])}


def words(seed=0):
    ids = torch.randint(0, 256, (3, 9), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "labels": ids, "byte_counts": torch.ones_like(ids)}


STEP = {"photos": photos(), "words": words()}


def test_the_shared_backbone_is_saved_and_counted_once(joint):
    state = joint().state_dict()
    assert not [name for name in state if ".backbone." in name]
    assert {name.partition(".")[0] for name in state} == {"backbone", "tasks"}
    assert sum(p.numel() for p in joint().parameters()) < sum(p.numel() for p in joint(False).parameters())


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_saved_is_what_is_loaded(joint, randomise, shared):
    one, two = joint(shared), randomise(joint(shared), seed=1)
    two.load_state_dict(one.state_dict())
    for name, output in one(STEP).items():
        assert torch.equal(output.logits, two(STEP)[name].logits)


def test_a_missing_backbone_is_an_error(joint):
    state = joint().state_dict()
    del state["backbone.blocks.0.mlp.up.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        joint().load_state_dict(state)


def test_the_loss_is_the_weighted_sum_and_its_gradient_that_of_the_parts(joint, validate):
    model = joint(words=0.5)
    parts = {name: model({name: batch})[name].loss for name, batch in STEP.items()}
    whole = sum(model.loss_weights[name] * output.loss for name, output in model(STEP).items())
    torch.testing.assert_close(whole, parts["photos"] + 0.5 * parts["words"])
    names = [name for name, _ in model.named_parameters()]
    apart = torch.autograd.grad(parts["photos"] + 0.5 * parts["words"], list(model.parameters()))
    together = torch.autograd.grad(whole, list(model.parameters()))
    for name, one, other in zip(names, apart, together, strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_a_step_of_one_source_leaves_the_others_alone(joint):
    model = joint()
    model({"photos": photos()})["photos"].loss.backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    assert any(name.startswith("backbone.") for name in touched)
    assert any(name.startswith("tasks.photos.") for name in touched)
    assert not any(name.startswith("tasks.words.") for name in touched)


def test_figures_have_the_name_of_their_source_and_are_those_of_the_task_alone(joint, validate):
    model = joint(words=3.0)
    batches = {"photos": [photos(0), photos(1)], "words": [words(0), words(1)]}
    alone = {name: validate(task, batches[name]) for name, task in model.by_source.items()}
    together = validate(model, [{name: one} for name, own in batches.items() for one in own])
    for name, figures in alone.items():
        for key, value in figures.items():
            assert together[f"val/{name}/{key.removeprefix('val/')}"] == pytest.approx(value)
    mean = (alone["photos"]["val/loss"] + 3 * alone["words"]["val/loss"]) / 4
    assert together["val/loss"] == pytest.approx(mean, rel=1e-6)


def test_samples_say_whose_they_are(joint, validate):
    model = joint()
    validate(model, [{"photos": photos()}, {"words": words()}])
    assert {line.partition(":")[0] for line in model.samples()} == {"photos", "words"}


def test_there_are_as_many_backbones_as_are_not_shared(joint):
    assert [len(joint(shared).backbones) for shared in (True, False)] == [1, 2]
