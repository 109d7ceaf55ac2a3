"""Folders that are not as they should be, or not what they seem."""

import json

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from unimodal.hub.folder import open_folder
from unimodal.hub.native.reading import read_stock

H = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TEXT = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def saved(model, folder, **changes):
    """A stock folder, with entries of its config.json changed."""
    model.save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return open_folder(str(folder))


def vit(folder, **changes):
    return saved(
        hf.ViTForImageClassification(hf.ViTConfig(**H, image_size=16, patch_size=8)), folder, **changes
    )


@pytest.mark.parametrize(
    "changes", [{"hidden_size": "abc"}, {"num_attention_heads": 0}, {"layer_norm_eps": None}]
)
def test_a_broken_config_is_one_sentence_with_the_folders_name(changes, tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path}/config.json cannot be used: "):
        read_stock(vit(tmp_path, **changes))


def test_an_unknown_family_names_those_that_are_known(tmp_path):
    with pytest.raises(ValueError, match=r"its model_type is bert; known are .*vit"):
        read_stock(saved(hf.BertModel(hf.BertConfig(**H, **TEXT)), tmp_path))


def test_quantised_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="is quantised"):
        read_stock(vit(tmp_path, quantization_config={"quant_method": "bitsandbytes"}))


def test_weights_that_are_no_floats_are_refused(tmp_path):
    folder = vit(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["vit.layernorm.weight"] = torch.ones(32, dtype=torch.int8)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"vit.layernorm.weight is torch.int8; only float weights can be read"
    ):
        read_stock(folder).weights()


def test_a_head_of_another_kind_is_none(tmp_path):
    config = hf.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2, image_size=28, patch_size=14
    )
    found = read_stock(saved(hf.Dinov2ForImageClassification(config), tmp_path))
    assert found.task["class_names"] is None
    assert not any(name.startswith("head") for name in found.weights())


def test_a_head_whose_projection_learned_something_is_not_taken(tmp_path):
    sizes = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in
             {"layers": 1, "attention_heads": 4, "ffn_dim": 64}.items()}  # fmt: skip
    config = hf.WhisperConfig(**TEXT, **sizes, d_model=32, max_source_positions=50, classifier_proj_size=32)
    found = read_stock(saved(hf.WhisperForAudioClassification(config), tmp_path))
    assert not any(name.startswith("head") for name in found.weights())


def test_what_is_left_over_beside_the_last_patch_is_left_out(tmp_path):
    config = hf.SiglipVisionConfig(**H, image_size=30, patch_size=8)
    found = read_stock(saved(hf.SiglipVisionModel(config), tmp_path))
    assert found.tokenizers["image"]["image_size"] == [24, 24]


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_scaled_rotary_positions_are_refused(kind, tmp_path):
    config = hf.ModernBertConfig(**H, **TEXT, cls_token_id=1, sep_token_id=2, local_attention=8)
    rope = config.to_dict()["rope_parameters"]
    rope["full_attention"] |= {"rope_type": kind, "factor": 2.0}
    with pytest.raises(ValueError, match=f"rope_type={kind} is none of what the block can do"):
        read_stock(saved(hf.ModernBertModel(config), tmp_path, rope_parameters=rope))


def test_a_language_model_that_will_classify_stays_causal(tmp_path):
    found = read_stock(saved(hf.Qwen3ForCausalLM(hf.Qwen3Config(**H, **TEXT, head_dim=8)), tmp_path), "text")
    assert (found.task["causal"], found.task["head_bias"]) == (True, False)
    assert found.task["pooling"]["_target_"].endswith("LastPooling")


def test_the_head_of_a_tied_model_is_its_embedding(tmp_path):
    config = hf.Qwen3Config(**H, **TEXT, head_dim=8, tie_word_embeddings=True)
    weights = read_stock(saved(hf.Qwen3ForCausalLM(config), tmp_path), "text").weights()
    assert torch.equal(weights["head.weight"], weights["model.tokenizers.text.embedding.weight"])


@pytest.mark.parametrize(("field", "dim"), [("image", 32), ("text", 16)])
def test_a_model_of_two_towers_gives_the_one_that_is_asked_for(field, dim, tmp_path):
    text = hf.CLIPTextConfig(**(H | {"hidden_size": 16}), **TEXT, max_position_embeddings=20)
    vision = hf.CLIPVisionConfig(**H, image_size=16, patch_size=8)
    config = hf.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict())
    found = read_stock(saved(hf.CLIPModel(config), tmp_path), field)
    assert (found.field, found.backbone["dim"]) == (field, dim)
    assert found.weights()["model.backbone.blocks.0.attention.query.weight"].shape == (dim, dim)
