import pytest
import torch
import torch.nn.functional as F

from unimodal.tasks.contrastive import Contrastive
from unimodal.tasks.contrastive_loss import InfoNCE
from unimodal.tasks.pooling import MeanPooling
from unimodal.tasks.zero_shot import class_vectors

NAMES = ["cat", "dog", "horse"]


@pytest.fixture
def paired(pair_model):
    torch.manual_seed(0)
    return Contrastive(pair_model(), MeanPooling(), InfoNCE(), projection_dim=16).eval()


def text_vector(task, text):
    ids = task.model.tokenizers["text"].preprocess({"text": text})["input_ids"]
    return task.project("text", {"input_ids": ids[None]})[0]


def test_a_class_is_the_direction_of_its_names_in_all_templates(paired):
    templates = ["a {}.", "{} and {}"]
    wanted = [text_vector(paired, f"a {name}.") + text_vector(paired, f"{name} and {name}") for name in NAMES]
    found = class_vectors(paired, NAMES, templates)
    assert torch.allclose(found, F.normalize(torch.stack(wanted), dim=-1), atol=1e-5)


def test_logits_are_scaled_similarities_of_the_other_modality_alone(paired):
    batch = {"pixel_values": torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)}
    task = paired.zero_shot(NAMES).eval()
    similarity = paired.project("image", batch) @ class_vectors(paired, NAMES, ["{}"]).T
    assert torch.allclose(task.outputs(batch), similarity / 0.07, atol=1e-4)
    assert list(task.asks) == list(task.preprocess) == ["image"]
    rows = task.answer(batch, top_k=2)
    assert rows[0]["prediction"] == NAMES[similarity[0].argmax()] and "top_2" in rows[0]


@pytest.mark.parametrize("names", [["cat"], ["cat", "cat"]])
def test_classes_must_be_told_apart(paired, names):
    with pytest.raises(ValueError, match="two or more, all different"):
        paired.zero_shot(names)


def test_without_text_there_are_no_names(paired):
    paired.fields = ["image", "audio"]
    with pytest.raises(ValueError, match="class names are text"):
        paired.zero_shot(NAMES)
