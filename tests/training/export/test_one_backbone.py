"""One backbone, frozen, reads four modalities and becomes four stock models of the same bytes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from unimodal.training.export.export import export
from unimodal.training.train import train

VIT_NAMES = {  # of GPT-2's tensors in a block; all but the norms are transposed there
    "ln_1": "layernorm_before",
    "attn.c_proj": "attention.output.dense",
    "ln_2": "layernorm_after",
    "mlp.c_fc": "intermediate.dense",
    "mlp.c_proj": "output.dense",
}
STOCK = {
    "image": ("ViTForImageClassification", "vit.encoder.layer."),
    "turn_audio": ("ASTForAudioClassification", "audio_spectrogram_transformer.encoder.layer."),
    "turn_video": ("VivitForVideoClassification", "vivit.encoder.layer."),
    "turn_text": ("GPT2LMHeadModel", "transformer.h."),
}


def blocks(folder, prefix):
    """The tensors of all blocks, by their names within `prefix`."""
    tensors = load_file(folder / "model.safetensors")
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def as_vit(gpt2):
    """GPT-2's blocks under ViT's names: the fused, transposed layout is undone."""
    found = {}
    for name, tensor in gpt2.items():
        layer, _, rest = name.partition(".")
        module, _, kind = rest.rpartition(".")
        tensor = tensor.T if tensor.ndim == 2 else tensor
        if module == "attn.c_attn":
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                found[f"{layer}.attention.attention.{part}.{kind}"] = piece
        else:
            found[f"{layer}.{VIT_NAMES[module]}.{kind}"] = tensor
    return found


@pytest.fixture
def four(trained, exported):
    """The image run's backbone under four modalities, exported."""
    start = (f"pretrained={trained('image').path}", "finetune=head")
    for name in ("audio", "video", "text"):
        trained(f"turn_{name}", *start, like=name)
    return {name: exported(name) for name in STOCK}


def check_blocks(four):
    """All folders hold the same bytes in their blocks."""
    expected = blocks(four["image"], STOCK["image"][1])
    key_biases = {name for name in expected if name.endswith("key.bias")}
    assert len(expected) == 2 * 16 and len(key_biases) == 2
    for name, (_, prefix) in STOCK.items():
        found = as_vit(blocks(four[name], prefix)) if name == "turn_text" else blocks(four[name], prefix)
        assert not any(found.pop(key).any() for key in key_biases)  # zeros change nothing under softmax
        assert found.keys() == expected.keys() - key_biases
        for key, tensor in found.items():
            assert tensor.dtype == torch.float32
            assert tensor.contiguous().numpy().tobytes() == expected[key].numpy().tobytes(), f"{name}: {key}"


@pytest.mark.slow
def test_the_blocks_of_four_stock_models_are_the_same_bytes(four):
    for name, (stock, _) in STOCK.items():
        assert json.loads((four[name] / "config.json").read_text())["architectures"] == [stock]
    check_blocks(four)


JOINT = (
    "backbone.dim=32",
    "backbone.depth=2",
    "backbone.num_heads=2",
    "block.residual_init=normal",
    "modality=all",
    "block=classic",
    "tokenizer@mix.audio.tokenizer=audio_spectrogram",
    "mix.text.tokenizer.max_len=64",
    "mix.text.task.sample_len=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "debug=fast",
    "logger=csv",
)


@pytest.mark.slow
def test_a_jointly_trained_backbone_is_four_stock_models(configure, tmp_path):
    run = tmp_path / "run"
    train(configure(*JOINT, f"output={run}"), run)
    for name, (stock, _) in STOCK.items():
        source = name.removeprefix("turn_")
        ask = (f"checkpoint={run}", f"output={tmp_path / name}", f"only={source}", "num_samples=2")
        export(configure(*ask, verb="export"))  # compares outputs in a clean process
        assert json.loads((tmp_path / name / "config.json").read_text())["architectures"] == [stock]
    check_blocks({name: tmp_path / name for name in STOCK})


@pytest.mark.slow
def test_what_is_new_has_learned(four, trained, job, ask, held_out, difference):
    there = ask({name: job(name, four[name]) for name in STOCK if name != "image"})
    for name in ("turn_audio", "turn_video"):
        outputs = held_out(trained(name)).outputs
        assert difference(there[name]["logits"], outputs) < 1e-4
        assert torch.equal(there[name]["logits"].argmax(1), outputs.argmax(1))
    chance = {"turn_audio": 1 / 16, "turn_video": 1 / 8}
    assert all(trained(name).figures["val/accuracy"] > 1.5 * share for name, share in chance.items())
    assert trained("turn_text").figures["val/perplexity"] < 160  # of 320 tokens
