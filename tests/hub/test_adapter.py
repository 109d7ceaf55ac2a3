"""An adapter's layers are found in the stock classes by what their weights say, whatever they are called."""

import json

import pytest
import torch
import transformers

from unimodal.data.vocabulary import byte_vocabulary
from unimodal.hub.adapter import Adapter, Places, native_places, write_adapter
from unimodal.hub.native import families
from unimodal.hub.native.family import Misfit
from unimodal.hub.native.fit import Fit
from unimodal.hub.native.spec import to_nodes
from unimodal.hub.native.writing import own_tensors, stock_config
from unimodal.hub.trained import Trained
from unimodal.training.build import make

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "vit": SIZES | {"image_size": 16, "patch_size": 8},
    "dinov2": SIZES | {"image_size": 16, "patch_size": 8},
    "ast": SIZES | {"max_length": 40, "num_mel_bins": 16, "patch_size": 8},
    "videomae": SIZES | {"image_size": 16, "patch_size": 8, "num_frames": 4},
    "vivit": SIZES | {"image_size": 16, "tubelet_size": [2, 8, 8], "num_frames": 4},
    "qwen3": SIZES | {"num_key_value_heads": 1, "vocab_size": 300, "head_dim": 16},
    "llama": SIZES | {"num_key_value_heads": 1, "vocab_size": 300},
    "modernbert": SIZES | {"vocab_size": 300},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 300},
}
ALL = ("attention.query", "attention.key", "attention.value", "attention.out", "mlp.up", "mlp.down")


def stock(name):
    """A bare model of the family with random weights, as a trained model of ours."""
    family = families()[name]
    head = next(head for head in family.heads if not head.tasks)
    spec = family.read_spec(CONFIGS[name])
    transformer, tokenizer = to_nodes(spec, family.tokenizer)
    text = {"vocabulary": byte_vocabulary(None)} if family.field == "text" else {}
    parts = {f"tokenizers.{family.field}": make(tokenizer | text), "backbone": make(transformer)}
    torch.manual_seed(0)
    weights = {
        f"model.{part}.{key}": torch.randn(value.shape)
        for part, module in parts.items()
        for key, value in module.state_dict().items()
    }
    task = {"_target_": "unimodal.tasks.masked.Masked"}
    trained = Trained(transformer, {family.field: tokenizer | text}, task, weights)
    return trained, Fit(family.field, family, head, spec)


def adapter(*layers, depth=2):
    names = [f"blocks.{i}.{layer}" for i in range(depth) for layer in layers]
    return Adapter(2, 4, 0.0, {name: (torch.ones(2, 32), torch.ones(32, 2)) for name in names})


@pytest.mark.parametrize("name", ["vit", "dinov2", "ast", "videomae", "vivit", "qwen3", "llama"])
def test_every_linear_layer_is_found(name):
    trained, fit = stock(name)
    places = native_places(adapter(*ALL), trained, fit)
    assert not places.transposed and len(set(places.names.values())) == 2 * len(ALL)
    theirs = fit.family.write_tensors(own_tensors(trained, fit.field, False), fit.spec, fit.head)
    config = stock_config(trained, fit)
    model = getattr(transformers, fit.head.stock).from_pretrained(None, config=config, state_dict=theirs)
    for ours, place in places.names.items():
        weight = trained.weights[f"model.backbone.{ours}.weight"]
        assert torch.equal(model.get_submodule(place).weight, weight)


@pytest.mark.parametrize(("name", "layer"), [("modernbert", "attn.Wqkv"), ("gpt2", "attn.c_attn")])
def test_a_part_of_a_larger_layer_is_refused(name, layer):
    trained, fit = stock(name)
    with pytest.raises(Misfit, match=rf"has blocks.0.attention.query only as a part of \S*{layer}, which"):
        native_places(adapter("attention.query"), trained, fit)


def test_gpt2s_layers_are_transposed():
    trained, fit = stock("gpt2")
    assert native_places(adapter("attention.out", "mlp.up"), trained, fit).transposed


def targets(folder, names, modules):
    layers = {name: (torch.ones(2, 4), torch.ones(4, 2)) for name in names}
    places = Places(dict(zip(names, names, strict=True)), modules)
    write_adapter(folder, Adapter(2, 4, 0.1, layers), places, "base", None)
    return json.loads((folder / "adapter_config.json").read_text())["target_modules"]


def test_endings_that_others_share_are_written_out(tmp_path):
    names = ["a.0.up", "a.1.up"]
    assert targets(tmp_path / "alone", names, (*names, "b.0.down")) == ["up"]
    assert targets(tmp_path / "shared", names, (*names, "b.0.up")) == names
