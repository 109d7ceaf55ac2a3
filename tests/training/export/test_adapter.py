"""A LoRA run as its base model and an adapter that peft puts on it."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

from unimodal.training import build, checkpoints
from unimodal.training.export.export import export

ALL = "finetune.target_modules=[query,key,value,out,gate,up,down]"
IMAGE, TEXT = "modality=image", "modality=text"


@pytest.fixture
def lora_run(small_run, tmp_path):
    """A checkpoint of a LoRA run with random weights, as training writes it."""

    def _lora_run(*overrides, finetune="lora"):
        config = small_run(*overrides, f"finetune={finetune}")
        config = build.complete(config, build.make_source(config))
        torch.manual_seed(0)
        task = build.make_task(config)
        build.make_finetuning(config).inject(task)
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        file = tmp_path / "run.ckpt"
        saved = {"format": checkpoints.FORMAT, "config": config}
        torch.save({"state_dict": task.state_dict(), "unimodal": saved}, file)
        return file

    return _lora_run


@pytest.fixture
def exported(configure, lora_run, tmp_path, capsys):
    """Export a LoRA run; returns the folder and what the user is told."""

    def _exported(*overrides, wanted="auto", **knobs):
        settings = {"checkpoint": lora_run(*overrides), "output": tmp_path / "my-model", **knobs}
        settings |= {"format": wanted, "adapter": "true", "num_samples": 3}
        capsys.readouterr()
        folder = export(configure(*(f"{key}={value}" for key, value in settings.items()), verb="export"))
        return folder, capsys.readouterr().out

    return _exported


def adapted(checkpoint):
    return build.restore_task(*checkpoints.load(checkpoint), merged=False).eval()


def stated(folder):
    return json.loads((folder / "adapter" / "adapter_config.json").read_text())


@pytest.mark.slow
def test_an_adapter_of_a_vit_has_the_stock_modules_names(exported, tmp_path, monkeypatch):
    folder, told = exported(IMAGE, "block=classic")
    assert "ViTForImageClassification, no code of ours; its adapter in adapter" in told
    assert float(told.partition("difference")[2].split()[0]) <= 1e-4
    assert stated(folder)["target_modules"] == ["attention.q_proj", "attention.v_proj"]
    assert stated(folder)["base_model_name_or_path"] == "my-model"
    assert str(tmp_path) not in (folder / "adapter" / "adapter_config.json").read_text()
    names = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert "base_model.model.vit.layers.0.attention.q_proj.lora_A.weight" in names
    assert len(names) == 8

    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = adapted(tmp_path / "run.ckpt").outputs({"pixel_values": pixels})
        base = AutoModelForImageClassification.from_pretrained(folder).eval()
        alone = base(pixels).logits
        with_it = PeftModel.from_pretrained(base, folder / "adapter").eval()(pixels).logits
        monkeypatch.chdir(tmp_path)  # where the base is found by its name
        by_name = AutoModelForImageClassification.from_pretrained("my-model/adapter").eval()(pixels).logits
    torch.testing.assert_close(with_it, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(by_name, expected, atol=1e-4, rtol=0)
    assert (alone - expected).abs().max() > 1e-2


@pytest.mark.slow
def test_an_adapter_of_a_qwen3_reaches_every_linear_layer(exported, tmp_path):
    folder, told = exported(TEXT, ALL)
    assert "Qwen3ForCausalLM" in told
    assert len(stated(folder)["target_modules"]) == 7
    assert "self_attn.q_proj" in stated(folder)["target_modules"]
    assert stated(folder)["task_type"] == "CAUSAL_LM"
    ids = torch.randint(256, (1, 9))
    with torch.no_grad():
        expected = adapted(tmp_path / "run.ckpt").outputs({"input_ids": ids})
        base = AutoModelForCausalLM.from_pretrained(folder).eval()
        model = PeftModel.from_pretrained(base, folder / "adapter").eval()
        torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=0)
    written = model.generate(input_ids=ids, max_new_tokens=2, do_sample=False)
    assert written[0, 9] == expected[0, -1].argmax()


@pytest.mark.slow
def test_an_adapter_of_a_portable_model_has_our_names(exported, tmp_path):
    folder, told = exported(IMAGE)
    assert "portable" in told and "trust_remote_code=True" in told
    assert stated(folder)["target_modules"] == ["attention.query", "attention.value"]
    pixels = torch.randn(2, 3, 32, 32)
    base = AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)
    model = PeftModel.from_pretrained(base, folder / "adapter").eval()
    with torch.no_grad():
        expected = adapted(tmp_path / "run.ckpt").outputs({"pixel_values": pixels})
        torch.testing.assert_close(model(pixel_values=pixels).logits, expected, atol=1e-4, rtol=0)


def test_gpt2_has_no_query_of_its_own(exported, tmp_path):
    reason = r"GPT2LMHeadModel has blocks.0.attention.query only as a part of transformer.h.0.attn.c_attn"
    with pytest.raises(ValueError, match=reason) as refused:
        exported(TEXT, "block=classic", wanted="gpt2")
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["run.ckpt"]


@pytest.mark.slow
def test_gpt2s_other_layers_are_transposed(exported):
    folder, _ = exported(TEXT, "block=classic", "finetune.target_modules=[out,up,down]", wanted="gpt2")
    assert stated(folder)["fan_in_fan_out"] is True
    assert stated(folder)["target_modules"] == ["attn.c_proj", "mlp.c_fc", "mlp.c_proj"]


@pytest.mark.slow
def test_auto_takes_a_portable_folder_where_the_stock_class_has_no_place_for_it(exported):
    folder, told = exported(TEXT, "block=classic")
    assert "no stock class fits: GPT2LMHeadModel has blocks.0.attention.query only as a part" in told
    assert stated(folder)["target_modules"] == ["attention.query", "attention.value"]
    assert "PeftModel.from_pretrained" in (folder / "README.md").read_text()


def test_a_run_without_adapters_is_refused(configure, lora_run, tmp_path):
    checkpoint = lora_run(IMAGE, finetune="full")
    config = configure(f"checkpoint={checkpoint}", f"output={tmp_path / 'x'}", "adapter=true", verb="export")
    with pytest.raises(
        ValueError, match="adapter=true needs a run with finetune=lora; this one has finetune=full"
    ):
        export(config)
    assert not (tmp_path / "x").exists()


def test_a_graph_has_its_adapters_merged(configure, tmp_path):
    config = configure(
        "checkpoint=x", f"output={tmp_path / 'x'}", "adapter=true", "format=onnx", verb="export"
    )
    with pytest.raises(ValueError, match="leave out adapter=true"):
        export(config)
