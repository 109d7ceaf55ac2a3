"""Knobs from the processor files of folders that transformers, of this version or older, has written."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models
from transformers import (
    ASTFeatureExtractor,
    BitImageProcessor,
    CLIPImageProcessor,
    DeiTImageProcessor,
    DINOv3ViTImageProcessor,
    OneFormerImageProcessor,
    SiglipImageProcessor,
    VideoMAEImageProcessor,
    VideoMAEVideoProcessor,
    ViTImageProcessor,
    VivitImageProcessor,
    VivitVideoProcessor,
    WhisperFeatureExtractor,
)

from unimodal.hub.folder import Folder
from unimodal.hub.processors import read_processors

WORDS = FastTokenizer(models.WordLevel({"a": 0, "b": 1, "</s>": 2, "[SEP]": 3}, unk_token="a")).to_str()
KINDS = {
    "vit": ViTImageProcessor,
    "deit": DeiTImageProcessor,
    "dinov2": BitImageProcessor,
    "dinov3_vit": DINOv3ViTImageProcessor,
    "clip_vision_model": CLIPImageProcessor,
    "siglip_vision_model": SiglipImageProcessor,
    "aimv2_vision_model": CLIPImageProcessor,
    "videomae": VideoMAEImageProcessor,
    "vivit": VivitImageProcessor,
}


def said(tmp_path, config, **files):
    """What is read from a folder of these files."""
    for name, content in {"config": config, **files}.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / f"{name}.json").write_text(text)
    return read_processors(Folder(tmp_path, "a folder"))


def normalised(knobs, pixels):
    """uint8 [C, H, W] by the knobs that were read."""
    mean, std = (torch.tensor(knobs[name])[:, None, None] for name in ("mean", "std"))
    return (torch.from_numpy(pixels) / 255 - mean) / std


def by_stock(processor, pixels):
    """The same by the stock class, which finds nothing to resize or crop."""
    size = {"height": pixels.shape[1], "width": pixels.shape[2]}
    kwargs = {
        "size": size,
        "do_center_crop": False,
        "return_tensors": "pt",
        "input_data_format": "channels_first",
    }
    values = processor([pixels], **kwargs)
    return next(iter(values.values())).reshape(pixels.shape)


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)


@pytest.mark.parametrize("model_type", KINDS)
@pytest.mark.parametrize("has_file", [True, False])
def test_pictures_are_normalised_as_the_stock_class_does(tmp_path, model_type, has_file):
    changed = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]} if has_file else {}
    processor = KINDS[model_type](**changed)
    files = {"preprocessor_config": json.loads(processor.to_json_string())} if has_file else {}
    found = said(tmp_path, {"model_type": model_type}, **files)
    knobs = found["video" if model_type in ("videomae", "vivit") else "image"]
    assert len(found) == 1
    assert torch.allclose(normalised(knobs, PIXELS), by_stock(processor, PIXELS), atol=1e-5)


@pytest.mark.parametrize("kind", [VideoMAEVideoProcessor, VivitVideoProcessor])
def test_clips_are_normalised_as_the_stock_class_does(tmp_path, kind):
    processor = kind(image_mean=[0.1, 0.2, 0.3], num_frames=8)
    file = json.loads(processor.to_json_string())
    knobs = said(tmp_path, {"model_type": "x"}, video_preprocessor_config=file)["video"]
    assert knobs["num_frames"] == 8
    clip = np.stack([PIXELS] * 2)
    size = {"height": 16, "width": 16}
    theirs = processor(clip, size=size, do_center_crop=False, return_tensors="pt")["pixel_values"][0]
    assert torch.allclose(normalised(knobs, PIXELS), theirs[0], atol=1e-5)


def test_the_models_own_number_of_frames_counts(tmp_path):
    assert said(tmp_path, {"model_type": "vivit", "num_frames": 32})["video"]["num_frames"] == 32


@pytest.mark.parametrize(
    ("changed", "std"),
    [
        ({"do_rescale": False}, 0.5 / 255),
        ({"do_normalize": False}, 1.0),
        ({"rescale_factor": 1 / 127.5}, 0.25),
        ({"image_std": 0.3}, 0.3),
    ],
)
def test_whatever_pictures_are_scaled_to_is_told_for_0_to_1(tmp_path, changed, std):
    file = {"image_processor_type": "ViTImageProcessor", **changed}
    assert said(tmp_path, {"model_type": "vit"}, preprocessor_config=file)["image"]["std"] == pytest.approx(
        [std] * 3
    )


@pytest.mark.parametrize(
    ("file", "size", "note"),
    [
        ({"feature_extractor_type": "ViTFeatureExtractor", "size": 96, "resample": 2}, [96, 96], ""),
        ({"image_processor_type": "ViTImageProcessorFast", "size": {"height": 8, "width": 9}}, [8, 9], ""),
        (
            {"feature_extractor_type": "CLIPFeatureExtractor", "size": 96, "crop_size": 80},
            [80, 80],
            "edge to 96",
        ),
        ({"image_processor_type": "BitImageProcessor", "do_center_crop": False}, [224, 224], "by bicubic"),
        ({"image_processor_type": "ViTImageProcessor", "do_resize": False}, None, ""),
        ({"size": {"height": 8, "width": 8}, "crop_size": None, "image_mean": None}, [8, 8], ""),
    ],
)
def test_sizes_are_read_in_the_spellings_of_all_versions(tmp_path, file, size, note):
    knobs = said(tmp_path, {"model_type": "vit"}, preprocessor_config=file)["image"]
    assert knobs.get("image_size") == size
    assert note in knobs.get("note", "") and bool(note) == ("note" in knobs)


def test_parts_of_a_processor_config_count_before_the_plain_file(tmp_path):
    nested = {
        "image_processor": {"image_processor_type": "ViTImageProcessor", "size": 8},
        "feature_extractor": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000},
        "video_processor": {"video_processor_type": "InternVLVideoProcessor", "size": 16},
    }
    plain = {"image_processor_type": "ViTImageProcessor", "size": 4}
    found = said(tmp_path, {"model_type": "x"}, processor_config=nested, preprocessor_config=plain)
    assert found["image"]["image_size"] == [8, 8] and found["video"]["image_size"] == [16, 16]
    assert found["audio"] == {"sample_rate": 8000}


def test_the_fbank_of_ast_is_read(tmp_path):
    wanted = {
        "sample_rate": 16_000,
        "n_mels": 128,
        "num_frames": 1024,
        "mean": -4.2677393,
        "std": 2 * 4.5689974,
    }
    assert said(tmp_path, {"model_type": "audio-spectrogram-transformer"}) == {"audio": wanted}
    file = json.loads(
        ASTFeatureExtractor(max_length=64, num_mel_bins=32, do_normalize=False).to_json_string()
    )
    knobs = said(tmp_path, {"model_type": "audio-spectrogram-transformer"}, preprocessor_config=file)["audio"]
    assert knobs == {"sample_rate": 16_000, "n_mels": 32, "num_frames": 64, "mean": 0.0, "std": 1.0}


def test_the_mel_of_whisper_is_read(tmp_path):
    file = json.loads(WhisperFeatureExtractor(feature_size=128).to_json_string())
    knobs = said(tmp_path, {"model_type": "whisper"}, preprocessor_config=file)["audio"]
    assert knobs == {"sample_rate": 16_000, "n_mels": 128, "num_positions": 1500}


@pytest.mark.parametrize(
    ("config", "files", "eos"),
    [
        ({}, {"tokenizer_config": {"eos_token": "b"}}, "b"),
        ({}, {"tokenizer_config": {"eos_token": {"content": "b", "lstrip": False}}}, "b"),
        ({}, {"special_tokens_map": {"eos_token": "b"}, "tokenizer_config": {}}, "b"),
        ({"eos_token_id": [2, 1]}, {}, "</s>"),
        ({"eos_token_id": 99}, {"tokenizer_config": {"eos_token": None, "sep_token": "[SEP]"}}, "[SEP]"),
    ],
)
def test_the_end_of_text_is_found(tmp_path, config, files, eos):
    vocabulary = said(tmp_path, {"model_type": "gpt2", **config}, tokenizer=WORDS, **files)["text"][
        "vocabulary"
    ]
    assert (vocabulary["tokenizer"], vocabulary["eos_token"]) == (WORDS, eos)


def test_the_context_is_read_where_there_is_one(tmp_path):
    settings = {"eos_token": "b", "model_max_length": 512}
    assert said(tmp_path, {}, tokenizer=WORDS, tokenizer_config=settings)["text"]["max_len"] == 512
    settings["model_max_length"] = int(1e30)  # transformers' way of saying that there is none
    assert "max_len" not in said(tmp_path, {}, tokenizer=WORDS, tokenizer_config=settings)["text"]


def test_no_end_of_text_is_one_sentence(tmp_path):
    with pytest.raises(
        ValueError, match=r"a folder/tokenizer_config\.json names no eos_token .* write one there"
    ):
        said(tmp_path, {}, tokenizer=WORDS, tokenizer_config={"eos_token": "<eos>"})
    with pytest.raises(ValueError, match=r"a folder/tokenizer\.json cannot be read"):
        said(tmp_path, {}, tokenizer="{}")


@pytest.mark.parametrize("kind", ["AutoModel", "pipeline", "os", "", "x.y", "a", "MyImageProcessor"])
@pytest.mark.parametrize("key", ["image_processor_type", "feature_extractor_type", "video_processor_type"])
def test_a_class_that_transformers_does_not_have_is_refused(tmp_path, kind, key):
    plain = {key: kind, "auto_map": {"AutoImageProcessor": "evil.Evil"}, "_target_": "os.system"}
    with pytest.raises(ValueError, match=r"a folder/preprocessor_config\.json names no processor"):
        said(tmp_path, {"model_type": "vit"}, preprocessor_config=plain)


def test_a_class_that_a_file_names_is_never_built(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("built")

    monkeypatch.setattr(OneFormerImageProcessor, "__init__", fail)  # reads files and asks the hub
    plain = {"image_processor_type": "OneFormerImageProcessor", "size": 8, "repo_path": "/"}
    assert said(tmp_path, {"model_type": "vit"}, preprocessor_config=plain)["image"]["image_size"] == [8, 8]


@pytest.mark.parametrize(
    "file",
    [
        {"image_mean": [1, 2]},
        {"image_mean": "white"},
        {"image_std": [0, 1, 1]},
        {"image_std": [1, float("nan"), 1]},
        {"rescale_factor": 0},
        {"size": {"depth": 3}},
        {"size": [[1]]},
        {"resample": 17, "size": {"height": float("inf"), "width": 1}},
    ],
)
def test_values_of_no_use_are_one_sentence(tmp_path, file):
    with pytest.raises(ValueError, match=r"a folder/preprocessor_config\.json cannot be used: "):
        said(tmp_path, {"model_type": "vit"}, preprocessor_config=file)


def test_a_folder_without_processors_of_a_model_that_is_not_known_gives_nothing(tmp_path):
    assert said(tmp_path, {"model_type": "nonsense"}) == {}
