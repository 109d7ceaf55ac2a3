"""What cannot be exported: one sentence, with the override that mends it, and nothing is left behind."""

import re

import pytest
from safetensors.torch import load_file, save_file

from unimodal.hub.native.fit import best_fit, fit
from unimodal.hub.native.writing import write_native
from unimodal.hub.portable.write import write_portable
from unimodal.hub.trained import Trained
from unimodal.training.export import export as module
from unimodal.training.export.export import export

CLASSIC = ("block=classic",)
SOUNDS = ("modality=audio", *CLASSIC)
CLIPS = ("modality=video", *CLASSIC)
VIDEOMAE = (
    *CLIPS,
    "tokenizer.num_prefix_tokens=0",
    "tokenizer.learned_positions=false",
    "tokenizer.sincos_positions=true",
    "backbone.final_norm=false",
)
PASSAGES = ("modality=text", "data=reference_passages", "task=classification", "tokenizer=text_byte")


@pytest.fixture
def fitted(configure):
    """Whether what these overrides build is a stock model."""

    def _fitted(name, *overrides):
        config, [field] = configure(*overrides), _fields(overrides)
        tokenizer, weights = config["tokenizer"], {}
        if field == "text":
            weights["model.tokenizers.text.embedding.weight"] = [None] * 257
        trained = Trained(config["backbone"], {field: tokenizer}, config["task"], weights)
        return fit(trained, field, name) if name else best_fit(trained, field)

    return _fitted


def _fields(overrides):
    return [one.partition("=")[2] for one in overrides if one.startswith("modality=")] or ["image"]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("vit", (), "vit is made of other blocks; train with block=classic."),
        ("vit", (*CLASSIC, "task/pooling=mean"), "ViTForImageClassification has pooling=first 1 (mean here)"),
        ("vit", (*CLASSIC, "task/pooling=attention"), "pooling=first 1 (attention here)"),
        ("vit", (*CLASSIC, "task.head_norm=true"), "has head_norm=False (True here)"),
        (
            "vit",
            (*CLASSIC, "task.head_bias=false", "task.causal=true"),
            "has head_bias=True (False here), ca",
        ),
        ("vit", (*CLASSIC, "tokenizer=image_conv"), "ImagePatchTokenizer does; this model has ImageConvTok"),
        ("ast", (*SOUNDS, "task/pooling=first"), "has pooling=first 2 (first 1 here)"),
        ("ast", (*SOUNDS, "task.head_norm=false"), "has head_norm=True (False here)"),
        ("ast", (*SOUNDS, "task.head_norm_eps=1e-5"), "has head_norm_eps=1e-06 (1e-05 here)"),
        ("ast", (*SOUNDS, "tokenizer=audio_patch"), "this model has AudioPatchTokenizer"),
        ("vivit", (*CLIPS, "task/pooling=mean"), "VivitForVideoClassification has pooling=first 1 (mean"),
        ("vivit", (*CLIPS, "tokenizer=video_conv"), "this model has VideoConvTokenizer"),
        (
            "videomae",
            (*VIDEOMAE, "task/pooling=attention"),
            "has pooling=mean (attention here), head_norm=True",
        ),
        ("gpt2", ("modality=text",), "gpt2 is made of other blocks; train with block=classic."),
        ("qwen3", ("modality=text", *CLASSIC), "qwen3 is made of other blocks; train with block=modern."),
        (
            "qwen3",
            PASSAGES,
            "has pooling=last (mean_max here), head_bias=False (True here), causal=True (False here)",
        ),
        ("gpt2", (*PASSAGES, *CLASSIC, "task/pooling=last", "task.causal=true"), "has head_bias=False (True"),
    ],
)
def test_a_refusal_says_why_and_its_own_advice_mends_it(fitted, name, overrides, message):
    with pytest.raises(ValueError) as error:
        fitted(name, *overrides)
    said = str(error.value)
    assert message in said and "\n" not in said
    advice = said.partition("train with ")[2].removesuffix(".").split()
    assert advice
    keys = {one.partition("=")[0] for one in advice}
    kept = [one for one in overrides if one.partition("=")[0] not in keys]
    if "tokenizer" in keys or "block" in keys:  # one thing at a time
        assert fitted(name, *kept, *advice).family.name == name
    else:
        assert fitted(name, *kept, *advice).head.stock in said


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("deit", CLASSIC, "deit is another model: tokenizer.num_prefix_tokens=2 there, 1 here."),
        ("dinov2", CLASSIC, "dinov2 is another model: layer_scale=True there, False here."),
        ("llama", ("modality=text",), "llama is another model: qk_norm=False there, True here."),
        (
            "vit",
            (*CLASSIC, "backbone.num_registers=2"),
            "vit is another model: num_registers=0 there, 2 here.",
        ),
        ("qwen3", CLASSIC, "qwen3 reads text; this model reads image."),
        ("dinov3", CLASSIC, "dinov3 cannot be so: "),
        ("eurobert", PASSAGES, "eurobert is another model: qk_norm=False there, True here."),
    ],
)
def test_another_model_is_told_by_what_differs(fitted, name, overrides, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        fitted(name, *overrides)
    assert "\n" not in str(error.value)


def test_auto_says_what_the_nearest_class_lacks(fitted):
    found, why = fitted("", *CLASSIC, "task/pooling=mean")
    assert found is None and why.endswith("train with task/pooling=first")
    assert fitted("", *CLASSIC)[0].head.stock == "ViTForImageClassification"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["format=vitt"], r"format=vitt is unknown; did you mean vit\?"),
        (["format=gtp2"], r"format=gtp2 is unknown; did you mean gpt2\?"),
        (["format=qwen3"], "qwen3 reads text; this model reads image"),
        (["only=audio"], "modality=audio is not in this model; it reads image"),
        (["format=dinov2"], "dinov2 is another model"),
        (["num_metric_samples=-1"], "num_metric_samples=-1 must be 0 or more"),
    ],
)
def test_nothing_is_left_of_a_refused_export(refused, overrides, message):
    assert re.search(message, refused("image", *overrides))


def test_what_is_at_output_is_not_touched(configure, trained, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("kept")
    checkpoint = f"checkpoint={trained('image').path}"
    with pytest.raises(ValueError, match=r"output=.*folder exists already; name a new folder, or remove it"):
        export(configure(checkpoint, f"output={tmp_path / 'folder'}", verb="export"))
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "mine.txt"]


@pytest.mark.parametrize(("missing", "said"), [("checkpoint", "output=x"), ("output", "checkpoint=x")])
def test_what_is_not_set_is_named(configure, missing, said):
    with pytest.raises(ValueError, match=f"{missing} is not set: unimodal export checkpoint=RUN output=DIR"):
        export(configure(said, verb="export"))


def test_a_checkpoint_that_is_none_is_named(configure, tmp_path):
    config = configure(f"checkpoint={tmp_path / 'none'}", f"output={tmp_path / 'folder'}", verb="export")
    with pytest.raises(ValueError, match="none is no checkpoint and no run folder"):
        export(config)


def spoiled(monkeypatch, spoil):
    """The folder is written as ever, then something happens to it."""

    def write(folder, trained, fitted):
        write_native(folder, trained, fitted)
        spoil(folder)

    monkeypatch.setattr(module, "write_native", write)


def change(folder, by):
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"][3] += by
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_difference_leaves_no_folder(refused, monkeypatch):
    spoiled(monkeypatch, lambda folder: change(folder, 1e-3))
    said = refused("image")
    assert "outputs differ by up to 0.001 from the run's" in said and "no folder is left" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: change(folder, float("nan")), "outputs differ by up to nan from the run's"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "does not work in a clean process"),
    ],
)
def test_a_folder_that_is_broken_is_not_left(refused, monkeypatch, spoil, message):
    spoiled(monkeypatch, spoil)
    assert message in refused("image")


@pytest.mark.slow
def test_lines_of_the_card_that_do_not_run_leave_no_folder(refused, monkeypatch):
    monkeypatch.setattr("unimodal.hub.card.usage", lambda *_: "raise TypeError('no such\\nargument')")
    assert "the lines of its model card raise TypeError: no such argument" in refused("image")


@pytest.mark.slow
def test_a_language_model_that_generates_without_its_cache_leaves_no_folder(refused, monkeypatch):
    def write(folder, trained):
        write_portable(folder, trained)
        file = folder / "modeling_unimodal.py"
        source = file.read_text()
        assert "one_cache(past_key_values, cache)" in source
        file.write_text(source.replace("one_cache(past_key_values, cache)", "None"))  # one pass is right

    monkeypatch.setattr(module, "write_portable", write)
    said = refused("modern_text", "format=portable")
    assert "does not work in a clean process: ValueError: attention_mask has" in said


def test_what_is_interrupted_leaves_no_folder(configure, trained, monkeypatch, tmp_path):
    def interrupt(folder):
        assert (folder / "model.safetensors").exists()
        raise KeyboardInterrupt

    spoiled(monkeypatch, interrupt)
    checkpoint = f"checkpoint={trained('image').path}"
    with pytest.raises(KeyboardInterrupt):
        export(configure(checkpoint, f"output={tmp_path / 'folder'}", verb="export"))
    assert not list(tmp_path.iterdir())
