"""Every family, on random tiny models of every shape that its class can have."""

import json
from functools import cache

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file

from unimodal.hub.native import families
from unimodal.hub.native.spec import to_nodes, to_spec
from unimodal.model import Unimodal
from unimodal.training.build import make

H = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DEEP = H | {"num_hidden_layers": 4}
IMAGE = {"image_size": 32, "patch_size": 8}
VOCAB = {"vocab_size": 99}
SPECIAL = VOCAB | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DINO = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2, "image_size": 28}
WHISPER = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_mel_bins": 16,
    "max_source_positions": 50, "max_target_positions": 10, "decoder_start_token_id": 1,
}  # fmt: skip

ZOO = {
    "vit": lambda: hf.ViTModel(hf.ViTConfig(**H, **IMAGE)),
    "vit-oblong": lambda: hf.ViTModel(hf.ViTConfig(**H, image_size=[32, 16], patch_size=8, qkv_bias=False)),
    "deit": lambda: hf.DeiTModel(hf.DeiTConfig(**H, **IMAGE)),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO, patch_size=7)),
    "dinov2_swiglu": lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO, patch_size=7, use_swiglu_ffn=True)),
    "dinov3": lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**H, **IMAGE, num_register_tokens=2)),
    "dinov3-gated": lambda: hf.DINOv3ViTModel(
        hf.DINOv3ViTConfig(**H, **IMAGE, use_gated_mlp=True, hidden_act="silu", key_bias=True)
    ),
    "clip_vision": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**H, **IMAGE)),
    "clip_text": lambda: hf.CLIPTextModel(hf.CLIPTextConfig(**H, **SPECIAL, max_position_embeddings=20)),
    "siglip_vision": lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**H, **IMAGE)),
    "siglip_text": lambda: hf.SiglipTextModel(
        hf.SiglipTextConfig(**H, **SPECIAL, max_position_embeddings=20, projection_size=32)
    ),
    "ast": lambda: hf.ASTModel(
        hf.ASTConfig(
            **H, patch_size=8, max_length=64, num_mel_bins=32, frequency_stride=6, time_stride=5
        )
    ),
    "videomae": lambda: hf.VideoMAEModel(hf.VideoMAEConfig(**H, **IMAGE, num_frames=4)),
    "videomae-cls": lambda: hf.VideoMAEModel(
        hf.VideoMAEConfig(**H, **IMAGE, num_frames=4, use_mean_pooling=False, qv_bias=False)
    ),
    "vivit": lambda: hf.VivitModel(hf.VivitConfig(**H, image_size=32, num_frames=4, tubelet_size=[2, 8, 8])),
    "whisper": lambda: hf.WhisperModel(hf.WhisperConfig(**WHISPER, **SPECIAL)),
    "gpt2": lambda: hf.GPT2Model(
        hf.GPT2Config(**VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=20, bos_token_id=1, eos_token_id=2)
    ),
    "gpt2-inner": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(**SPECIAL, n_embd=32, n_layer=2, n_head=4, n_inner=64, tie_word_embeddings=False)
    ),
    "llama": lambda: hf.LlamaModel(hf.LlamaConfig(**H, **SPECIAL, num_key_value_heads=2, head_dim=16)),
    "llama-biased": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(**H, **SPECIAL, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
    ),
    "qwen2": lambda: hf.Qwen2Model(hf.Qwen2Config(**H, **VOCAB, num_key_value_heads=2)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(
        hf.Qwen3Config(**H, **VOCAB, num_key_value_heads=2, head_dim=16, rope_theta=1e6)
    ),
    "smollm3": lambda: hf.SmolLM3Model(hf.SmolLM3Config(**DEEP, **SPECIAL, num_key_value_heads=2)),
    "aimv2": lambda: hf.Aimv2VisionModel(hf.Aimv2VisionConfig(**H, **IMAGE)),
    "aimv2-native": lambda: hf.Aimv2VisionModel(hf.Aimv2VisionConfig(**H, **IMAGE, is_native=True)),
    "modernbert": lambda: hf.ModernBertModel(
        hf.ModernBertConfig(**DEEP, **SPECIAL, cls_token_id=1, sep_token_id=2, local_attention=8)
    ),
    "eurobert": lambda: hf.EuroBertModel(
        hf.EuroBertConfig(**H, **SPECIAL, num_key_value_heads=2, mask_token_id=3)
    ),
}  # fmt: skip

NOT_OURS = {  # what the block has no use for, and so does not carry
    "vit": ("pooler.",),
    "deit": ("pooler.",),
    "dinov2": ("embeddings.mask_token",),
    "dinov2_swiglu": ("embeddings.mask_token",),
    "dinov3": ("embeddings.mask_token",),
    "clip_vision": ("post_layernorm.",),
    "siglip_vision": ("head.",),
    "siglip_text": ("head.",),
    "vivit": ("pooler.",),
    "whisper": ("decoder.",),
    "aimv2": ("head.",),
}


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A stock model with random weights, and what it wrote: (model, config.json, tensors)."""

    @cache
    def make_stock(name):
        torch.manual_seed(0)
        model = ZOO[name]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text())
        return model, config, load_file(folder / "model.safetensors")

    return make_stock


def family_of(name):
    return families()[name.partition("-")[0]]


def head_of(name, model):
    stock_class = type(model).__name__
    heads = family_of(name).heads
    return next((head for head in heads if head.stock == stock_class), heads[-1])


def ours_of(name, stock):
    """Our model with the stock model's weights."""
    model, config, disk = stock(name)
    family = family_of(name)
    spec = family.read_spec(config)
    backbone, tokenizer = to_nodes(spec, family.tokenizer)
    if family.field == "text":
        tokenizer["vocabulary"] = None
    ours = Unimodal({family.field: make(tokenizer)}, make(backbone)).eval()
    tensors = family.read_tensors(disk, spec, head_of(name, model))
    known = {
        f"tokenizers.{family.field}.{key[10:]}" if key.startswith("tokenizer.") else f"backbone.{key}": tensor
        for key, tensor in tensors.items()
        if not key.startswith(("head.", "head_norm."))
    }
    missing, unexpected = ours.load_state_dict(known, strict=False)
    assert not unexpected
    parameters = {key for key, _ in ours.named_parameters()}
    assert not parameters & set(missing)
    return ours


def inputs_of(name, model):
    """What the stock model reads, and the batch that says the same to ours."""
    family, config, generator = family_of(name), model.config, torch.Generator().manual_seed(1)
    if family.field == "text":
        ids = torch.randint(3, 97, (2, 12), generator=generator)
        return {"input_ids": ids}, {"input_ids": ids}
    if family.field == "video":
        clip = torch.randn(2, 4, 3, 32, 32, generator=generator)
        return {"pixel_values": clip}, {"pixel_values_videos": clip}
    size = config.image_size if isinstance(config.image_size, list) else [config.image_size] * 2
    pixels = torch.randn(2, 3, *size, generator=generator)
    return {"pixel_values": pixels}, {"pixel_values": pixels}


def sounds_of(name, model):
    """As `inputs_of`, by way of the stock feature extractor."""
    waves = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(1))
    if name == "ast":
        bands, frames = model.config.num_mel_bins, model.config.max_length
        extract = hf.ASTFeatureExtractor(num_mel_bins=bands, max_length=frames)
        features = extract(list(waves.numpy()), sampling_rate=16_000, return_tensors="pt").input_values
        return {"input_values": features}, {"input_values": waves}
    extract = hf.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
    features = extract(list(waves.numpy()), sampling_rate=16_000, return_tensors="pt").input_features
    return {"input_features": features}, {"input_values": waves}


@pytest.mark.parametrize("name", ZOO)
def test_an_imported_model_equals_the_stock_model(name, stock):
    model = stock(name)[0]
    bare = model if head_of(name, model) is family_of(name).heads[-1] else model.base_model
    base = model.encoder if name == "whisper" else bare
    make_inputs = sounds_of if family_of(name).field == "audio" else inputs_of
    theirs, batch = make_inputs(name, model)
    ours = ours_of(name, stock)
    with torch.no_grad():
        expected = base(**theirs).last_hidden_state
        tokens = ours(batch, causal=family_of(name).causal).embeds
    assert tokens.shape == expected.shape
    assert float((tokens - expected).abs().max()) < 1e-5


@pytest.mark.parametrize("name", ZOO)
def test_export_gives_the_same_tensors_under_the_same_names(name, stock):
    model, config, disk = stock(name)
    family, head = family_of(name), head_of(name, model)
    spec = family.read_spec(config)
    bare = name == "whisper"  # has no class without a head; its head is not what the stock model has
    written = family.write_tensors(family.read_tensors(disk, spec, head), spec, head)
    dropped = NOT_OURS.get(name.partition("-")[0], ())
    kept = {key for key in disk if not key.startswith(dropped)} if dropped else set(disk)
    extra = {"projector.weight", "projector.bias"} if bare else set()
    neutral = {key for key in written if dropped and key.startswith(dropped)}
    assert set(written) - extra - neutral == kept
    assert all(torch.equal(written[key], disk[key]) for key in kept)
    assert all(written[key].shape == disk[key].shape for key in neutral)


@pytest.mark.parametrize("name", ZOO)
def test_the_config_survives_the_round_trip(name, stock):
    _, config, _ = stock(name)
    family = family_of(name)
    spec = family.read_spec(config)
    backbone, tokenizer = to_nodes(spec, family.tokenizer)
    again = to_spec(backbone, tokenizer) | {"tied": spec["tied"]}
    written, full = family.full(family.write_config(again)), family.full(config)
    ignored = {
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "cls_token_id",
        "sep_token_id",
        "mask_token_id",
    }
    ignored |= {"architectures", "transformers_version", "dtype", "_name_or_path", "decoder_start_token_id"}
    ignored |= {key for key in WHISPER if key.startswith("decoder")} | {"max_target_positions", "vocab_size"}
    assert {key: written[key] for key in written if key not in ignored} == {
        key: full[key] for key in full if key not in ignored
    }
