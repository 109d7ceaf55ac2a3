"""model.onnx of every kind gives under onnxruntime what the run gives, for any batch and length."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer, AutoVideoProcessor

from unimodal.data.vocabulary import byte_vocabulary
from unimodal.hub import onnx
from unimodal.hub.onnx import inputs_of, write_onnx
from unimodal.hub.portable.inputs import make_batch
from unimodal.hub.trained import Trained
from unimodal.training.build import make_task

BLOCKS = Path(__file__).parents[2] / "conf" / "block"
PICTURE = {"image_size": [16, 8], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
SOUND = {"sample_rate": 800, "n_mels": 16, "window_length": 64, "hop_length": 16, "max_seconds": 0.5}
CLIP = {"num_frames": 4, "image_size": 16}
FBANK = {"sample_rate": 1600, "n_mels": 16, "num_frames": 40, "patch_size": 8}
TEXT = {"vocabulary": byte_vocabulary(None), "max_len": 24}
LANGUAGE = {"_target_": "unimodal.tasks.language_modeling.LanguageModeling", "sample_len": 4}

POOLING_SETTINGS = {
    "AttentionPooling": {"dim": 32, "num_heads": 2},
    "AdaptivePooling": {"output_size": [2, 2, 2]},
}


def node(name, **knobs):
    return {"_target_": f"unimodal.tokenizers.{name}", "dim": 32, **knobs}


def pooled(pooling="MeanPooling", **knobs):
    pool = {"_target_": f"unimodal.tasks.pooling.{pooling}"}
    pool |= POOLING_SETTINGS.get(pooling, {})
    target = "unimodal.tasks.classification.Classification"
    return {"_target_": target, "class_names": ["cat", "dog", "owl"], "pooling": pool, **knobs}


def backbone(dialect="modern", **knobs):
    block = yaml.safe_load((BLOCKS / f"{dialect}.yaml").read_text())
    sizes = {"dim": 32, "depth": 2, "num_heads": 4, "block": block}
    return {"_target_": "unimodal.backbone.transformer.Transformer", **sizes, **knobs}


NUMBERS = {
    "_target_": "unimodal.tasks.regression.Regression",
    "target_names": ["age", "height"],
    "target_mean": [31.0, 1.7],
    "target_std": [12.0, 0.1],
    "pooling": {"_target_": "unimodal.tasks.pooling.MeanPooling"},
    "loss": {"_target_": "torch.nn.HuberLoss", "reduction": "none"},
}
KINDS = {
    "image_patch": (
        "image",
        node("image.ImagePatchTokenizer", patch_size=8, **PICTURE),
        backbone(),
        pooled(),
    ),
    "image_classic": (
        "image",
        node(
            "image.ImagePatchTokenizer", patch_size=8, num_prefix_tokens=1, learned_positions=True, **PICTURE
        ),
        backbone("classic"),
        pooled("FirstPooling", head_norm=True),
    ),
    "image_conv": (
        "image",
        node("image.ImageConvTokenizer", **PICTURE),
        backbone(num_kv_heads=2, num_registers=3),
        pooled("AttentionPooling"),
    ),
    "image_numbers": (
        "image",
        node("image.ImagePatchTokenizer", patch_size=8, sincos_positions=True, **PICTURE),
        backbone(),
        NUMBERS,
    ),
    "audio_frame": (
        "audio",
        node("audio.AudioFrameTokenizer", **SOUND),
        backbone(),
        pooled("AdaptivePooling"),
    ),
    "audio_patch": (
        "audio",
        node("audio.AudioPatchTokenizer", patch_size=8, stride=5, learned_positions=True, **SOUND),
        backbone("classic"),
        pooled("AttentionPooling"),
    ),
    "audio_spectrogram": (
        "audio",
        node("audio_spectrogram.AudioSpectrogramTokenizer", **FBANK),
        backbone("classic"),
        pooled(),
    ),
    "audio_whisper": (
        "audio",
        node("audio_whisper.AudioWhisperTokenizer", num_positions=6),
        backbone("classic"),
        pooled(),
    ),
    "video_tubelet": (
        "video",
        node("video.VideoTubeletTokenizer", patch_size=8, sincos_positions=True, **CLIP),
        backbone("classic"),
        pooled(),
    ),
    "video_conv": (
        "video",
        node("video.VideoConvTokenizer", num_layers=2, **CLIP),
        backbone(),
        pooled("AdaptivePooling", head_norm=True),
    ),
    "text": ("text", node("text.TextTokenizer", **TEXT), backbone(), pooled("LastPooling", causal=True)),
    "text_classic": (
        "text",
        node("text.TextTokenizer", learned_positions=True, num_prefix_tokens=2, **TEXT),
        backbone("classic"),
        pooled(),
    ),
    "language": ("text", node("text.TextTokenizer", **TEXT), backbone(num_registers=2), LANGUAGE),
    "language_window": (
        "text",
        node("text.TextTokenizer", **TEXT),
        backbone(layer_types=["sliding", "full"], window=3),
        LANGUAGE | {"tied": True},
    ),
}
QUICK = "image_patch"
PROCESSORS = {
    "image": AutoImageProcessor,
    "audio": AutoFeatureExtractor,
    "video": AutoVideoProcessor,
    "text": AutoTokenizer,
}


@cache
def make_run(kind):
    field, tokenizer, transformer, task_node = KINDS[kind]
    torch.manual_seed(0)
    task = make_task({"tokenizer": tokenizer, "backbone": transformer, "task": task_node}).eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng))
    trained = Trained(transformer, {field: tokenizer}, task_node, task.state_dict())
    return field, task, trained, inputs_of(field, task.model.tokenizers[field].preprocess)


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder of a kind, written once."""

    @cache
    def _written(kind):
        folder = tmp_path_factory.mktemp("onnx") / kind
        folder.mkdir()
        _, task, trained, inputs = make_run(kind)
        write_onnx(folder, trained, inputs, task, task.outputs, "logits")
        return folder

    return _written


def batch_of(kind, rows, length):
    """Random inputs; of several rows all but the first are padded at the end."""
    field, _, _, inputs = make_run(kind)
    rng = torch.Generator().manual_seed(rows)
    shape = (rows, length)
    real = (torch.arange(length) < torch.tensor([length, *[length // 2 + 1] * (rows - 1)])[:, None]).int()
    if field == "text":
        return {
            "input_ids": torch.randint(256, shape, generator=rng),
            "attention_mask": real.long(),
        }
    if field == "audio":
        return {"input_values": (torch.rand(shape, generator=rng) - 0.5) * real, "attention_mask": real}
    ((name, example),) = inputs.examples.items()
    pixels = torch.randint(256, (rows, *example.shape[1:]), generator=rng, dtype=torch.uint8)
    return {name: pixels}


def lengths_of(kind):
    """The shortest, one in between, the longest, and of sound one that is cut."""
    field, _, _, inputs = make_run(kind)
    if field == "audio":
        return 1, inputs.max_samples // 3, inputs.max_samples, 2 * inputs.max_samples
    return (1, 7, 24) if field == "text" else (0,)


def largest_difference(folder, kind, batch):
    _, task, _, inputs = make_run(kind)
    with torch.no_grad():
        expected = task.outputs(make_batch(**batch, max_samples=inputs.max_samples)).numpy()
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (there,) = session.run(["logits"], {name: tensor.numpy() for name, tensor in batch.items()})
    assert there.shape == expected.shape
    return np.abs(there - expected).max()


def check(folder, kind):
    for rows in (1, 3):
        for length in lengths_of(kind):
            assert largest_difference(folder, kind, batch_of(kind, rows, length)) < 2e-5


def test_the_graph_gives_what_the_run_gives(written):
    check(written(QUICK), QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {QUICK}))
def test_the_graph_gives_what_the_run_gives_whatever_the_kind(kind, written):
    check(written(kind), kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image_patch", "audio_frame", "video_conv", "language"])
def test_the_processor_beside_it_gives_what_it_reads(kind, written):
    field, _, _, inputs = make_run(kind)
    processor = PROCESSORS[field].from_pretrained(written(kind))
    rng = np.random.default_rng(0)
    if field == "text":
        given = processor(["a text", "another one"], return_tensors="np", padding=True)
    elif field == "audio":
        sounds = [rng.normal(0, 0.1, size).astype(np.float32) for size in (300, 200)]
        given = processor(sounds, sampling_rate=800, return_tensors="np", padding=True)
    else:
        frames = (9,) if field == "video" else ()
        pixels = rng.integers(0, 256, (2, *frames, 33, 21, 3), np.uint8)
        given = processor(list(pixels), return_tensors="np")
    session = onnxruntime.InferenceSession(written(kind) / "model.onnx")
    assert {one.name for one in session.get_inputs()} == set(inputs.examples)
    (logits,) = session.run(None, dict(given))
    assert len(logits) == 2 and np.isfinite(logits).all()


@pytest.mark.slow
def test_batch_and_length_have_names_and_the_rest_is_fixed(written):
    def shapes(kind):
        session = onnxruntime.InferenceSession(written(kind) / "model.onnx")
        return {one.name: one.shape for one in session.get_inputs()}

    assert shapes("image_patch") == {"pixel_values": ["batch", 3, 16, 8]}
    varying = ["batch", "length"]
    assert shapes("audio_frame") == {"input_values": varying, "attention_mask": varying}
    _, _, _, inputs = make_run("image_patch")
    assert inputs.lines() == ["pixel_values: uint8 [batch, 3, 16, 8]"]
    _, _, _, inputs = make_run("language")
    assert inputs.lines()[0] == "input_ids: int64 [batch, length]"


@pytest.mark.slow
def test_left_padding_does_not_change_the_next_token(written):
    kind = "language"
    batch = batch_of(kind, 1, 7)
    padded = {
        "input_ids": torch.nn.functional.pad(batch["input_ids"], (4, 0), value=256),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (4, 0)),
    }
    session = onnxruntime.InferenceSession(written(kind) / "model.onnx")
    alone, beside = (
        session.run(None, {key: value.numpy() for key, value in one.items()})[0] for one in (batch, padded)
    )
    np.testing.assert_allclose(beside[:, 4:], alone, atol=1e-5)


def test_config_names_the_outputs(written):
    config = json.loads((written(QUICK) / "config.json").read_text())
    assert config["id2label"] == {"0": "cat", "1": "dog", "2": "owl"}


def test_no_folder_of_the_machine_is_in_the_graph(written):
    content = (written("image_patch") / "model.onnx").read_bytes()
    root = str(Path(__file__).parents[2]).encode()
    assert root not in content and b"site-packages" not in content


def test_a_missing_extra_is_one_sentence(monkeypatch):
    found = onnx.find_spec
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    with pytest.raises(ValueError, match=r"needs onnxruntime: pip install 'unimodal\[onnx\]'"):
        onnx.check_installed()


class Odd(torch.nn.Module):
    def forward(self, batch):
        return batch["pixel_values"].float().mean((1, 2, 3)).tolist()[0] * torch.ones(2)


def test_what_onnx_can_not_express_is_refused_in_one_sentence(tmp_path):
    _, _, trained, inputs = make_run("image_patch")
    odd = Odd()
    with pytest.raises(ValueError, match="cannot be put into ONNX: ") as refused:
        write_onnx(tmp_path, trained, inputs, odd, odd.forward, "logits")
    assert "\n" not in str(refused.value)
