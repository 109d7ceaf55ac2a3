"""Other heads, natively and portably: numbers, several labels a sample, texts, none at all."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

pytestmark = pytest.mark.slow

TABLE = ("data=table", "data.val_fraction=0.3", "trainer.max_epochs=25", "trainer.check_val_every_n_epoch=25")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of grey pictures with two tables: two numbers of each, and up to three labels of each."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    numbers, labels = ["image,level,noise"], ["image,label"]
    for i in range(96):
        level, noise = rng.uniform(60, 200), rng.uniform(1, 50)
        pixels = rng.normal(level, noise, (24, 20, 3)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
        numbers.append(f"{i}.png,{level / 1000 + 7:.5f},{noise * 30:.2f}")
        names = ["light"] * (level > 130) + ["rough"] * (noise > 25) + ["even"] * (i % 2 == 0)
        labels.append(f"{i}.png,{';'.join(names) or 'light'}")
    (folder / "numbers.csv").write_text("\n".join(numbers))
    (folder / "labels.csv").write_text("\n".join(labels))
    return folder


@pytest.fixture
def pictured(trained, pictures):
    """The runs on these pictures, classic and modern."""
    numbers = (f"data.path={pictures / 'numbers.csv'}", "data.columns.label=[level,noise]", "task=regression")
    labels = (f"data.path={pictures / 'labels.csv'}", "data.labels.separator=';'")
    return {
        "numbers": trained("numbers", *TABLE, *numbers, "block=classic"),
        "modern_numbers": trained("modern_numbers", *TABLE, *numbers),
        "labels": trained("labels", *TABLE, *labels, "block=classic"),
        "modern_labels": trained("modern_labels", *TABLE, *labels),
    }


@pytest.fixture
def answers(pictured, exported, job, ask, shelf):
    _, made = shelf
    if "pictured" not in made:
        made["pictured"] = ask({name: job(name, exported(name)) for name in pictured})
    return made["pictured"]


@pytest.mark.parametrize("name", ["numbers", "modern_numbers"])
def test_numbers_come_in_the_units_of_the_data(pictured, answers, held_out, difference, name):
    outputs, labels = held_out(pictured[name]).outputs, held_out(pictured[name]).labels
    scale = labels.std(0)
    assert difference(answers[name]["logits"] / scale, outputs / scale) < 1e-4
    assert difference(answers[name]["scores"] / scale, outputs / scale) < 1e-4
    error = (outputs - labels).abs().mean(0)
    assert error[0] < 0.1 and 10 < error[1] < 400  # levels around 7, noise in hundreds
    assert answers[name]["class"] == ("ViT" if name == "numbers" else "Unimodal") + "ForImageClassification"


@pytest.mark.parametrize("name", ["labels", "modern_labels"])
def test_several_labels_have_a_probability_each(pictured, answers, held_out, difference, name):
    outputs, labels = held_out(pictured[name]).outputs, held_out(pictured[name]).labels
    assert labels.sum(1).max() > 1
    assert difference(answers[name]["logits"], outputs) < 1e-4
    assert difference(answers[name]["scores"], outputs.sigmoid()) < 1e-5
    assert torch.equal(answers[name]["logits"] > 0, outputs > 0)


def test_texts_are_classified_by_stock_language_models(trained, exported, held_out, job, ask, difference):
    stock = {
        "causal_passages": "Qwen3ForSequenceClassification",
        "classic_causal_passages": "GPT2ForSequenceClassification",
    }
    answers = ask({name: job(name, exported(name)) for name in stock})  # 32 texts of many lengths at a time
    for name, class_name in stock.items():
        run, there = trained(name), answers[name]
        _, outputs, labels = held_out(run)
        assert there["class"] == class_name
        assert difference(there["logits"], outputs) < 1e-4
        assert difference(there["scores"], outputs.softmax(1)) < 1e-5
        accuracy = (there["logits"].argmax(1) == labels).float().mean()
        assert float(accuracy) == pytest.approx(run.figures["val/accuracy"], abs=1e-6)


def test_without_its_head_the_backbone_is_the_bare_class(trained, exported, held_out, difference):
    folder, run = exported("image", "head=false"), trained("image")
    model, info = transformers.ViTModel.from_pretrained(
        folder, add_pooling_layer=False, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pictures = [Image.fromarray(one.numpy()) for one in held_out(run).samples[:8]]
    pixels = processor(pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = run.task.encode({"pixel_values": pixels}).embeds
        assert difference(model(pixels).last_hidden_state, expected) < 1e-5
