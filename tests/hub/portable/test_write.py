"""What lies in an exported folder."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file

from unimodal.data.vocabulary import byte_vocabulary
from unimodal.hub import weights
from unimodal.hub.native.spec import to_spec
from unimodal.hub.portable.describe import describe
from unimodal.hub.portable.write import write_portable
from unimodal.hub.trained import Trained
from unimodal.training.build import make_task

LONE_TASK = {"_target_": "somebody.tasks.Reconstruction", "mask_ratio": 0.75}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def test_config_names_sizes_as_the_ecosystem_does(exported):
    config = config_of(exported("image_conv"))
    wanted = {
        "model_type": "unimodal",
        "architectures": ["UnimodalForImageClassification"],
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "image_size": 16,
        "num_channels": 3,
        "id2label": {"0": "cat", "1": "dog", "2": "owl"},
        "label2id": {"cat": 0, "dog": 1, "owl": 2},
        "problem_type": "single_label_classification",
        "dtype": "float32",
    }
    assert {key: config[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("audio_patch", {"sampling_rate": 800, "num_mel_bins": 16, "max_samples": 400}),
        ("video_tubelet", {"num_frames": 4, "tubelet_size": 2, "image_size": 16, "patch_size": 8}),
        ("language", {"vocab_size": 257, "eos_token_id": 256, "max_position_embeddings": 24}),
        ("language_tied", {"tie_word_embeddings": True, "architectures": ["UnimodalForCausalLM"]}),
        ("image_regression", {"problem_type": "regression", "id2label": {"0": "age", "1": "height"}}),
        ("image_multi_label", {"problem_type": "multi_label_classification"}),
        ("joint", {"modalities": ["image", "text", "audio"]}),
    ],
)
def test_config_says_what_its_modality_and_task_need(exported, name, wanted):
    config = config_of(exported(name))
    assert {key: config[key] for key in wanted} == wanted


def test_defaults_are_written_out_so_that_another_version_reads_the_same(exported):
    node = config_of(exported("image_conv"))["tokenizers"]["image"]
    assert node["num_layers"] == 2 and node["std"] == [0.5, 0.5, 0.5]


def test_the_vocabulary_stays_out_of_the_config(exported):
    node = config_of(exported("language"))["tokenizers"]["text"]
    assert "vocabulary" not in node and "vocab_size" not in node


def test_a_joint_model_is_loaded_by_the_class_of_any_modality(exported):
    classes = set(config_of(exported("joint"))["auto_map"])
    heads = {f"AutoModelFor{one}Classification" for one in ("Image", "Sequence", "Audio")}
    assert classes == {"AutoConfig", "AutoModel", *heads}


def test_weights_have_the_names_of_the_run_and_are_the_same_bytes(run, exported, kind):
    written, learned = load_file(exported(kind) / "model.safetensors"), run(kind).trained.weights
    assert all(torch.equal(value, learned[key]) for key, value in written.items())
    left = {key for key in set(learned) - set(written) if not key.startswith(("objective", "val_loss"))}
    assert left == ({"head.weight"} if kind == "language_tied" else set())


def test_metrics_and_their_state_stay_behind(run, tmp_path):
    trained = run("image_patch").trained
    old = {**trained.weights, "objective.metrics.map.preds": torch.ones(3), "val_loss.weight": torch.ones(())}
    write_portable(tmp_path, replace(trained, weights=old))
    written = load_file(tmp_path / "model.safetensors")
    assert not {key for key in written if key.startswith(("objective", "val_loss"))}


@pytest.mark.parametrize("fault", ["missing", "shape"])
def test_weights_that_do_not_fit_are_named(run, tmp_path, fault):
    trained = run("image_patch").trained
    weights = dict(trained.weights)
    weights["head.bias"] = torch.ones(5)
    if fault == "missing":
        del weights["head.bias"]
    with pytest.raises(ValueError, match=r"weights do not fit its config: head\.bias"):
        write_portable(tmp_path, replace(trained, weights=weights))


def test_large_weights_are_sharded_and_load(run, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "MAX_SHARD_SIZE", 20_000)
    write_portable(tmp_path, run("image_patch").trained)
    assert (tmp_path / "model.safetensors.index.json").exists()
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.allclose(
            model(**run("image_patch").inputs).logits, run("image_patch").expected, atol=1e-6
        )


def test_bf16_weights_stay_bf16(run, tmp_path):
    trained = run("image_patch").trained
    weights = {k: v if "normalise" in k else v.bfloat16() for k, v in trained.weights.items()}
    write_portable(tmp_path, replace(trained, weights=weights))
    assert transformers.AutoModel.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_a_task_of_ones_own_is_exported_without_its_head(run, tmp_path):
    write_portable(tmp_path, replace(run("image_patch").trained, task=LONE_TASK))
    config = config_of(tmp_path)
    assert config["architectures"] == ["UnimodalModel"] and config["task"] == {
        "_target_": LONE_TASK["_target_"]
    }
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel"}
    assert (
        transformers.AutoModel.from_pretrained(tmp_path)(**run("image_patch").inputs).pooler_output
        is not None
    )


@pytest.mark.parametrize("modality", ["image", "audio", "video", "text"])
@pytest.mark.parametrize("dialect", ["modern", "classic"])
def test_what_the_yaml_files_build_exports(configure, tmp_path, modality, dialect):
    config = configure(
        f"modality={modality}",
        f"block={dialect}",
        "backbone.dim=32",
        "backbone.depth=2",
        "backbone.num_heads=2",
        *(["tokenizer=text_byte"] if modality == "text" else []),
    )
    if modality == "text":
        config["tokenizer"]["vocabulary"] = byte_vocabulary(None)
    else:
        config["task"] |= {"class_names": ["left", "right"], "multilabel": False, "class_weights": None}
    task = make_task(config)
    trained = Trained(config["backbone"], {modality: config["tokenizer"]}, config["task"], task.state_dict())
    write_portable(tmp_path, trained)
    _, loading = transformers.AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]


@pytest.mark.parametrize("where", ["backbone", "tokenizer", "pooling", "loss"])
@pytest.mark.parametrize("target", ["os.system", "builtins.exec", "torch.load", None])
def test_a_config_can_not_name_what_is_no_part(exported, where, target):
    config = transformers.AutoConfig.from_pretrained(exported("image_regression"))
    evil = {"_target_": target, "command": "touch pwned"}
    if where == "backbone":
        config.backbone = {**config.backbone, "block": evil}
    elif where == "tokenizer":
        config.tokenizers = {"image": evil}
    else:
        config.task = {**config.task, where: evil}
    with pytest.raises(ValueError, match=f"config.json names {target}, which is no part"):
        model = transformers.AutoModelForImageClassification.from_config(config)
        model(pixel_values=torch.zeros(1, 3, 16, 16), labels=torch.zeros(1, 2))


@pytest.mark.parametrize("knob", ["_args_", "_partial_", "patch"])
def test_a_config_can_not_say_more_than_a_class_takes(exported, knob):
    config = transformers.AutoConfig.from_pretrained(exported("image_patch"))
    config.tokenizers = {"image": {**config.tokenizers["image"], knob: True}}
    with pytest.raises(ValueError, match=f"cannot be made: .*{knob}"):
        transformers.AutoModel.from_config(config)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"modalities": ["image", "smell"]}, "modalities=.*smell.*, but tokenizers has image"),
        ({"backbone": {"dim": 32, "depth": "two"}}, "the backbone's depth, num_heads must be a number"),
    ],
)
def test_a_config_that_contradicts_itself_is_named(run, tmp_path, changed, message):
    write_portable(tmp_path, run("image_patch").trained)
    (tmp_path / "config.json").write_text(json.dumps({**config_of(tmp_path), **changed}))
    with pytest.raises(ValueError, match=message):
        transformers.AutoModel.from_pretrained(tmp_path)


def test_the_config_of_a_folder_runs_no_code_by_itself(run, tmp_path):
    """Without `trust_remote_code` what lies in the folder is not even read."""
    write_portable(tmp_path, run("image_patch").trained)
    for path in tmp_path.glob("*.py"):
        path.write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\n")
    transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_registering_is_asked_for():
    code = "import unimodal.hub, sys; print('transformers' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_an_exported_backbone_skips_nothing_when_it_learns_on(run):
    trained = run("image_patch").trained
    skipping = replace(trained, backbone={**trained.backbone, "drop_path": 0.3})
    assert describe(skipping).backbone == describe(trained).backbone
    assert describe(trained).backbone["drop_path"] == 0


def test_stochastic_depth_is_no_part_of_a_shape(run):
    trained = run("image_patch").trained
    (tokenizer,) = trained.tokenizers.values()
    assert to_spec({**trained.backbone, "drop_path": 0.3}, tokenizer) == to_spec(trained.backbone, tokenizer)
